# SPDX-License-Identifier: Apache-2.0
"""Faults as they strike a cluster of processes in namespaces, and the hand that starts again what has ended."""
import collections
import signal
import threading
import time

import broker as brokers
import network

FIRST_SERVER = 101  # ZooKeeper's hosts are numbered from here on


class Keeper:
    """Keeps one broker running while nobody has a reason for the contrary."""

    def __init__(self, c, node, story):
        self.c, self.node, self.story = c, node, story
        self.reasons, self.going, self.ended_itself = [], True, []  # reasons: whatever keeps it down, one entry each
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while self.going:
            broker = self.c.running.get(self.node)
            if broker is None and not self.reasons:
                self.start()
            elif broker is not None and not broker.alive() and not self.reasons:
                words = f'broker {self.node} ended by itself with {broker.process.returncode}: {self.last_words()}'
                self.ended_itself.append(('ended', words, time.monotonic()))
                del self.c.running[self.node]
            time.sleep(0.05)

    def last_words(self):
        return brokers.last_words(f'{self.c.folder}/{self.node}')

    def start(self):
        """Without ZooKeeper it gives up, and is started again."""
        try:
            self.c.start(self.node)
        except RuntimeError:
            self.story.tell(f'  broker {self.node} did not start: {self.last_words()}')
            time.sleep(0.5)
            return
        self.story.tell(f'  broker {self.node} is ready')
        if self.reasons:
            self.kill()

    def kill(self):
        broker = self.c.running.pop(self.node, None)
        if broker:
            brokers.kill(broker)

    def stop(self):
        """TERM; False: it did not end as it should."""
        broker = self.c.running.pop(self.node, None)
        return broker is None or brokers.stop(broker) == 0

    def end(self):
        self.going = False
        self.thread.join()


class Nemesis:
    """Each kind of fault is a method that strikes and returns what ends it."""

    def __init__(self, c, net, story, watcher):
        self.c, self.net, self.story, self.watcher = c, net, story, watcher
        self.keepers = {node: Keeper(c, node, story) for node in c.address}
        self.servers_down, self.threads, self.findings = collections.Counter(), [], []

    # ---- whom ----

    def node(self, role):
        """Who has this role, as the watcher has last heard."""
        return int(role.split()[1]) if role.startswith('broker ') else self.watcher.roles.get(role, next(iter(self.c.address)))

    def others(self, node):
        return [other for other in self.c.address if other != node]

    def hosts(self):
        return [FIRST_SERVER + i for i in range(len(self.c.zookeeper.servers))]

    # ---- processes ----

    def down(self, nodes):
        for node in nodes:
            self.keepers[node].reasons.append('down')
        for node in nodes:
            self.keepers[node].kill()

        def up():
            for node in nodes:
                self.keepers[node].reasons.remove('down')
        return up

    def kill(self, role):
        node = self.node(role)
        return f'kill -9 of broker {node}', self.down([node])

    def kill_all(self):
        return 'kill -9 of all brokers', self.down(list(self.c.address))

    def pause(self, role):
        node = self.node(role)
        broker = self.c.running.get(node)
        if broker is None:
            return f'broker {node} is away: nobody to pause', lambda: None
        broker.process.send_signal(signal.SIGSTOP)
        return f'SIGSTOP of broker {node}', lambda: broker.process.send_signal(signal.SIGCONT)

    def restart(self):
        for node, keeper in self.keepers.items():
            if keeper.reasons or node not in self.c.running:
                continue
            keeper.reasons.append('restart')
            good = keeper.stop()
            self.story.tell(f'  broker {node} was stopped' + ('' if good else ', but not cleanly'))
            if not good:
                self.findings.append(('stop', f'broker {node} did not stop as it should', time.monotonic()))
            keeper.reasons.remove('restart')
            end = time.monotonic() + 10
            while node not in self.c.running and time.monotonic() < end:
                time.sleep(0.05)

    def rolling_restart(self):
        self.threads.append(threading.Thread(target=self.restart))
        self.threads[-1].start()
        return 'TERM of each broker in turn', lambda: None

    # ---- the network ----

    def cut(self, words, pairs):
        self.net.cut(pairs)
        return words, lambda: self.net.heal(pairs)

    def isolate(self, role):
        """From brokers and ZooKeeper; clients still reach it."""
        node = self.node(role)
        return self.cut(f'broker {node} is cut off from brokers and ZooKeeper', both_ways(node, self.others(node) + self.hosts()))

    def isolate_from_brokers(self, role):
        node = self.node(role)
        return self.cut(f'broker {node} is cut off from the other brokers', both_ways(node, self.others(node)))

    def unplug(self, role):
        node = self.node(role)
        return self.cut(f'broker {node} is cut off from everybody', both_ways(node, self.others(node) + self.hosts() + [network.HUB]))

    def one_way(self, first, second):
        source, target = self.node(first), self.node(second)
        return self.cut(f'nothing of broker {source} reaches broker {target}', [(source, target)])

    def part(self, first, second):
        one, other = self.node(first), self.node(second)
        return self.cut(f'brokers {one} and {other} are parted', both_ways(one, [other]))

    def mute_to_zookeeper(self, role):
        node = self.node(role)
        return self.cut(f'nothing of broker {node} reaches ZooKeeper', [(node, host) for host in self.hosts()])

    def deaf_to_zookeeper(self, role):
        node = self.node(role)
        return self.cut(f'nothing of ZooKeeper reaches broker {node}', [(host, node) for host in self.hosts()])

    # ---- ZooKeeper ----

    def servers(self, words, numbers):
        """Down, and up when everything that keeps one of them down has ended."""
        servers = self.c.zookeeper.servers
        for number in numbers:
            self.servers_down[number] += 1
            servers[number].kill()

        def up():
            for number in numbers:
                self.servers_down[number] -= 1
                if not self.servers_down[number]:
                    servers[number].launch()
        return words, up

    def server(self, role):
        """Its place in the list; the first one while none leads."""
        servers = self.c.zookeeper.servers
        leader = self.c.zookeeper.leader()
        number = servers.index(leader) if leader else 0
        return number if role == 'leader' else (number + 1) % len(servers)

    def kill_zookeeper(self, role):
        number = self.server(role)
        return self.servers(f'kill -9 of ZooKeeper {number + 1}, a {role} of {len(self.c.zookeeper.servers)}', [number])

    def part_zookeeper(self, role):
        number, hosts = self.server(role), self.hosts()
        return self.cut(f'ZooKeeper {number + 1}, a {role}, is cut off from the other servers',
                        both_ways(hosts[number], hosts[:number] + hosts[number + 1:]))

    def zookeeper_away(self):
        return self.servers('kill -9 of all of ZooKeeper', range(len(self.c.zookeeper.servers)))

    # ---- a schedule ----

    def play(self, faults, load_s):
        """Strikes and heals in time; when it returns, everything has ended that was begun."""
        began, due = time.monotonic(), sorted(((fault.at_s, fault) for fault in faults), reverse=True)
        ends = []
        while due or ends or time.monotonic() < began + load_s:
            now = time.monotonic() - began
            if due and due[-1][0] <= now:
                fault = due.pop()[1]
                words, end = getattr(self, fault.kind)(*fault.who)
                self.story.tell(f'>>> {words}, for {fault.lasts_s:.1f} s')
                ends.append((now + fault.lasts_s, words, end))
            for entry in [entry for entry in ends if entry[0] <= now]:
                ends.remove(entry)
                entry[2]()
                self.story.tell(f'<<< ended: {entry[1]}')
            time.sleep(0.02)
        for thread in self.threads:
            thread.join()

    def end(self):
        for keeper in self.keepers.values():
            keeper.end()
            self.findings += keeper.ended_itself


def both_ways(node, others):
    return [pair for other in others for pair in ((node, other), (other, node))]
