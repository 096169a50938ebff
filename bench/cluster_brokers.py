# SPDX-License-Identifier: Apache-2.0
"""The two clusters of bench/cluster: Debian's ZooKeeper and three brokers of one make on this machine."""

import os
import shutil
import subprocess
import sys
import time

from peer_brokers import TOP, Kafka, Millrace, free_port, wire

sys.path.insert(0, os.path.join(TOP, 'tools'))
import zookeeper  # noqa: E402

KAFKA_VERSION = '3.9.2'  # the last one with ZooKeeper
NODES = (1, 2, 3)
SESSION_MS = 6000
# The rest is Kafka's default, but that no leader goes home while something is measured; so it is with Millrace.
KAFKA_PROPERTIES = '''broker.id={node}
zookeeper.connect={zookeeper}/kafka
zookeeper.session.timeout.ms={session}
listeners=PLAINTEXT://127.0.0.1:{port}
log.dirs={data}
auto.leader.rebalance.enable=false
'''


def until(what, condition, wait_s=120, pause_s=0.05):
    """Until the condition holds; a broker that is not there, or does not know yet, is asked again. What it was."""
    end = time.monotonic() + wait_s
    while True:
        try:
            if found := condition():
                return found
        except (OSError, KeyError, wire.Closed):
            pass
        if time.monotonic() > end:
            raise RuntimeError(f'{what}: not within {wait_s} s')
        time.sleep(pause_s)


class MillraceNode(Millrace):
    """With all cores, as Kafka's; without an admin listener, because all three would want the same."""

    root = '/millrace'

    def __init__(self, folder, options, node, servers):
        super().__init__(folder, options)
        self.arguments = ('--node-id', str(node), '--zookeeper', servers + self.root, '--memory', options.memory, '--admin-listen', 'off')
        self.overrides = {'zookeeper.session.timeout.ms': SESSION_MS, 'auto.leader.rebalance.enable': 'false'}


class KafkaNode(Kafka):
    root = '/kafka'

    def __init__(self, folder, options, node, servers):
        super().__init__(folder, options)
        self.node, self.servers = node, servers

    def format(self):
        """The first start makes the directory."""
        self.port = self.port or free_port()
        self.properties = os.path.join(self.folder, 'server.properties')
        with open(self.properties, 'w') as file:
            file.write(KAFKA_PROPERTIES.format(node=self.node, zookeeper=self.servers, session=SESSION_MS, port=self.port, data=self.data))


class Cluster:
    """brokers[node] are those of bench/peer; one that was killed has no process."""

    def __init__(self, make, folder, options):
        self.name, self.make, self.folder, self.options = make.name, make, folder, options
        self.zookeeper, self.brokers, self.topics = None, {}, 0

    def start(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        os.sync()
        self.zookeeper = zookeeper.ZooKeeper(os.path.join(self.folder, 'zookeeper'), free_port())
        self.zookeeper.start()
        self.brokers = {node: self.make(os.path.join(self.folder, str(node)), self.options, node, self.zookeeper.address) for node in NODES}
        for broker in self.brokers.values():
            os.makedirs(broker.folder)
            broker.start()
        self.await_all()

    def end(self):
        """Nothing of it is kept."""
        for node in self.living():
            self.kill(node)
        if self.zookeeper:
            self.zookeeper.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- what is asked of it ---

    def living(self):
        return [node for node, broker in self.brokers.items() if broker.process is not None]

    def address(self, node):
        return '127.0.0.1', self.brokers[node].port

    @property
    def bootstrap(self):
        return ','.join('%s:%d' % self.address(node) for node in self.brokers)

    def metadata(self, node, topics=()):
        with wire.Connection(self.address(node), 60) as link:
            return wire.metadata(link, list(topics))

    def sets(self, node, topic):
        """{partition: (leader, replicas, commit set)}."""
        with wire.Connection(self.address(node), 60) as link:
            return wire.commit_sets(link, topic)

    def controller(self):
        return until('a controller', lambda: next((one for one in [self.metadata(self.living()[0])[0]] if one in self.living()), None))

    def await_all(self):
        """Each has heard of each."""
        for node in NODES:
            until(f'{self.name} {node} knows all', lambda n=node: sorted(self.metadata(n)[1]) == list(NODES), 600)

    def await_full_sets(self, topics):
        for topic in topics:
            for node in NODES:
                until(f'full sets of {topic} at {self.name} {node}',
                      lambda n=node, t=topic: all(len(ids) == len(NODES) for _, _, ids in self.sets(n, t).values()), 600)

    # --- what is done to it ---

    def millrace(self, *arguments):
        """A command of Millrace's, which works with either; what it printed."""
        done = subprocess.run([self.options.binary, *map(str, arguments), '-b', self.bootstrap, '-q'], stdout=subprocess.PIPE, text=True)
        if done.returncode not in (0, 11):  # 11: the generator was the limit; it is told
            raise RuntimeError(f'failed ({done.returncode}): {" ".join(done.args)}')
        return done.stdout

    def create(self, partitions, count=1):
        """Topics with three replicas, two of which must have what is acknowledged; when all are there."""
        names = [f'topic-{self.topics + number}' for number in range(count)]
        self.topics += count
        for name in names:
            self.millrace('topic', 'create', name, '-p', partitions, '-r', len(NODES), '-c', 'min.insync.replicas=2', '--timeout', 600_000)
        self.await_full_sets(names)
        return names

    def kill(self, node):
        """When that was."""
        at, broker = time.monotonic(), self.brokers[node]
        broker.process.kill()
        broker.process.wait()
        broker.process = None
        return at

    def heal(self, node, topics):
        """One that was killed, or was stopped, comes back."""
        self.brokers[node].start()
        self.await_all()
        self.await_full_sets(topics)

    def cpu_s(self):
        return sum(self.brokers[node].cpu_s() for node in self.living())
