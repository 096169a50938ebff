# SPDX-License-Identifier: Apache-2.0
"""Cases of tests/cluster/run about a node that was alone and becomes a cluster: its metadata moves from its data directory to
ZooKeeper (`millrace debug move-to-zookeeper`), a second broker joins, and a partition gets a replica there.
"""
import os
import shutil
import subprocess

import broker as brokers
import wire
from replicated import check

FIRST, SECOND = 11, 12
GROUP = 'stays'


class Node:
    """A broker beside the three of the cluster; `zookeeper`: None, or where."""

    def __init__(self, c, number, zookeeper=None):
        self.c, self.number, self.folder, self.address = c, number, os.path.join(c.folder, f'alone-{number}'), ('127.0.0.1', brokers.free_port())
        self.data, self.broker = os.path.join(self.folder, 'data'), None
        os.makedirs(self.folder, exist_ok=True)
        self.start(zookeeper)

    def arguments(self, zookeeper):
        return ['--node-id', str(self.number), '--cores', '1', '--memory', '256M', '--admin-listen', 'off', '--override',
                'offsets.topic.num.partitions=3', *(['--zookeeper', zookeeper] if zookeeper else [])]

    def start(self, zookeeper=None):
        self.broker = brokers.start(self.c.program, self.folder, self.address, 30, self.arguments(zookeeper), self.data)

    def stop(self):
        check(brokers.stop(self.broker) == 0, f'node {self.number} did not stop as it should')

    def refuses(self, words):
        out = subprocess.run([self.c.program, 'start', '--listen', '127.0.0.1:0', '--data-dir', self.data, *self.arguments(None)],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, text=True)
        check(out.returncode != 0 and words in out.stdout, f'{words!r} is not in {out.stdout!r}')

    def millrace(self, *arguments, good=True):
        out = subprocess.run([self.c.program, *arguments, '-b', '%s:%d' % self.address], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             timeout=60, text=True)
        check((out.returncode == 0) == good, f'{" ".join(arguments)}: {out.stdout}')
        return out.stdout

    def move(self, zookeeper, *more, words='', good=True):
        out = subprocess.run([self.c.program, 'debug', 'move-to-zookeeper', self.data, '--zookeeper', zookeeper, *more],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, text=True)
        check((out.returncode == 0) == good and words in out.stdout, f'{words!r} is not in {out.stdout!r} ({out.returncode})')


def kcat(node, *arguments, **more):
    return subprocess.run(['kcat', '-b', '%s:%d' % node.address, '-q', *arguments], stdout=subprocess.PIPE, check=True, timeout=60, **more).stdout


def values_of(node, topic):
    return kcat(node, '-C', '-t', topic, '-e', '-o', 'beginning').decode().split()


def becomes_a_cluster(c):
    """Topics, settings, records and committed offsets are those that were there; a second broker joins and takes a replica."""
    values = [f'v{i}' for i in range(500)]
    first = Node(c, FIRST)
    second = None
    place = c.zookeeper.address + '/was/alone'
    try:
        first.millrace('topic', 'create', 'kept', '-p', '1', '-c', 'retention.ms=7200000')
        kcat(first, '-P', '-t', 'kept', input='\n'.join(values).encode())
        got = kcat(first, '-G', GROUP, '-X', 'auto.offset.reset=earliest', '-c', '100', 'kept').decode().split()
        check(got == values[:100], f'the group read {len(got)}')
        lag = first.millrace('group', 'describe', GROUP, '--format', 'json')
        first.move(place, words='is used by another broker', good=False)  # it runs
        first.stop()
        first.move(c.zookeeper.address, words='belongs to another cluster', good=False)  # of the three
        first.move(place, words='nothing was changed')
        first.move(place, '--run', words='moved: ')
        first.move(place, '--run', good=False)  # there is nothing any more
        first.refuses('its metadata store is empty')
        moved_twice(first, place)
        first.start(place)
        check(values_of(first, 'kept') == values, 'not all records are there')
        check('7200000' in first.millrace('topic', 'describe', 'kept', '--format', 'json'), 'a setting is gone')
        check(first.millrace('group', 'describe', GROUP, '--format', 'json') == lag, 'the group is another one')
        kcat(first, '-P', '-t', 'kept', input=b'after')
        second = Node(c, SECOND, place)
        brokers.until('both are there', lambda: sorted(live(first)) == [FIRST, SECOND])
        second.millrace('cluster', 'reassign', 'kept', '--to', f'{FIRST},{SECOND}', '--wait')
        check(sets_of(second) == (FIRST, [FIRST, SECOND], [FIRST, SECOND]), f'after the move: {sets_of(second)}')
        first.stop()
        brokers.until('the second leads', lambda: sets_of(second)[0] == SECOND, 30)
        check(values_of(second, 'kept') == values + ['after'], 'not all records are at the second')
        check('under-replicated' in second.millrace('cluster', 'partitions', 'kept'), 'that one is away is not told')
        second.stop()
    finally:
        for node in filter(None, (first, second)):
            brokers.kill(node.broker)


def moved_twice(node, place):
    """Killed before the store got its other name, the command is given again; but not when the node has gone on with that store."""
    data, node.data = node.data, node.data + '-again'
    shutil.copytree(data, node.data)
    moved, store = (os.path.join(node.data, 'metadata', name) for name in ('store.moved', 'store'))
    os.rename(moved, store)
    node.move(place, '--run', words='moved: ')
    os.rename(moved, store)
    node.start()
    node.millrace('topic', 'create', 'made-later')
    node.stop()
    node.move(place, '--run', words='has gone on since', good=False)
    check(os.path.exists(store), 'a store that is newer than what was moved was put aside')
    node.data = data


def live(node):
    with wire.Connection(node.address) as link:
        return wire.metadata(link, [])[1]


def sets_of(node):
    with wire.Connection(node.address) as link:
        return wire.commit_sets(link, 'kept')[0]


CASES = (becomes_a_cluster,)
