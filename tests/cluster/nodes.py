# SPDX-License-Identifier: Apache-2.0
"""A cluster as processes: ZooKeeper and brokers, and what is asked of them."""
import os
import signal
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, 'tests', 'interop'), os.path.join(ROOT, 'tools')]
import broker as brokers  # noqa: E402
import wire  # noqa: E402

PROGRAM = os.path.join(ROOT, os.environ.get('MILLRACE', 'build/release/millrace'))
SESSION_S = 2
# ZooKeeper ends a session after 0.8 to 1.3 of its timeout; the rest is what this machine may need when it is busy.
MISSED_S = 3 * SESSION_S
NOT_CONTROLLER = 41


def check(good, what):
    if not good:
        raise AssertionError(what)


class Chroot:
    """Another path in somebody's ZooKeeper, for a cluster beside his."""

    def __init__(self, zookeeper, path):
        self.address = zookeeper.address + path

    def kill(self):
        """It is not ours."""


class Cluster:
    """In a folder, of a ZooKeeper (one server or an ensemble) and the brokers that have these addresses."""

    def __init__(self, folder, zookeeper, address):
        self.folder, self.program, self.running = folder, PROGRAM, {}
        self.zookeeper, self.address = zookeeper, address
        self.topics = 0
        self.directories = {}  # of a node, beside folder/data
        self.more = {}  # arguments of a node
        self.before = {}  # of a node: the command that runs its program
        self.programs = {}  # of a node, where it is another one

    def arguments(self, node):
        return ['--node-id', str(node), '--zookeeper', self.zookeeper.address, '--cores', '1', '--memory', '256M',
                '--admin-listen', 'off', '--override', f'zookeeper.session.timeout.ms={SESSION_S * 1000}', '--override',
                'leader.imbalance.check.interval.seconds=5', *self.more.get(node, [])]

    def start(self, node):
        folder = os.path.join(self.folder, str(node))
        os.makedirs(folder, exist_ok=True)
        data_dir = ','.join([os.path.join(folder, 'data')] + ([self.directories[node]] if node in self.directories else []))
        self.running[node] = brokers.start(self.programs.get(node, PROGRAM), folder, self.address[node], 30, self.arguments(node), data_dir,
                                            self.before.get(node, ()))

    def log(self, node):
        with open(os.path.join(self.folder, str(node), 'broker.log'), errors='replace') as log:
            return log.read()

    def ends_saying(self, node, words, since=0, wait_s=15):
        """A broker that runs ends by itself, with these words behind `since` characters of its log."""
        try:
            code = self.running[node].process.wait(wait_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'broker {node} still runs after {wait_s} s') from None
        del self.running[node]
        said = self.log(node)[since:]
        check(code != 0 and words in said, f'broker {node} ended with {code}, and said {said[-600:]!r}')

    def refuses(self, node, words):
        """It does not start, and says so."""
        since = len(self.log(node))
        try:
            self.start(node)
        except RuntimeError:
            said = self.log(node)[since:]
            check(words in said, f'broker {node} said {said[-600:]!r}')
            return
        raise AssertionError(f'broker {node} has started')

    def metadata(self, node, topics=()):
        with wire.Connection(self.address[node]) as link:
            return wire.metadata(link, list(topics))

    def controller(self, node):
        """As this broker tells, if it is one that lives."""
        controller, known, _ = self.metadata(node)
        return controller if controller in known else None

    def live(self, node):
        return sorted(self.metadata(node)[1])

    def all_see(self, expected, wait_s=MISSED_S):
        for node in expected:
            brokers.until(f'broker {node} sees {expected}', lambda n=node: self.live(n) == sorted(expected), wait_s)

    def create(self, partitions=6, nodes=None, name=None, replicas=1, configs=None):
        """A topic, by the controller's hand, that every live broker (or these) knows."""
        nodes = nodes or list(self.running)
        self.topics += 1
        name = name or f'topic-{self.topics}'

        def created():
            controller = self.controller(nodes[0])
            if controller is None:
                return False
            with wire.Connection(self.address[controller], 30) as link:
                error, words = wire.create_topic(link, name, partitions, configs, replicas)
            check(error in (0, NOT_CONTROLLER), f'create at {controller}: {error} {words}')
            return error == 0
        # What a broker tells may be a moment old: then clients ask again, as they do.
        brokers.until(f'{name} is created', created, MISSED_S)
        for node in nodes:
            brokers.until(f'broker {node} knows {name}',
                          lambda n=node: self.metadata(n, [name])[2][name][0] == 0)
        return name

    def bootstrap(self, node):
        return '%s:%d' % self.address[node]

    def produce(self, node, topic, values, *options):
        subprocess.run(['kcat', '-P', '-b', self.bootstrap(node), '-t', topic, '-X', 'acks=all', *options],
                       input='\n'.join(values).encode(), check=True, timeout=60)

    def consume(self, node, topic):
        out = subprocess.run(['kcat', '-C', '-b', self.bootstrap(node), '-t', topic, '-e', '-q', '-o', 'beginning'],
                             stdout=subprocess.PIPE, check=True, timeout=60).stdout
        return sorted(out.decode().split())

    def stop(self):
        for broker in self.running.values():
            broker.process.send_signal(signal.SIGCONT)
        codes = {node: brokers.stop(broker) for node, broker in self.running.items()}
        self.zookeeper.kill()
        return codes
