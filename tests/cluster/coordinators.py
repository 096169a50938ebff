# SPDX-License-Identifier: Apache-2.0
"""A case of tests/cluster/run about a consumer group of KIP-848 whose coordinator has a slow follower."""
import os
import signal
import socket
import struct
import sys
import time

import broker as brokers
from replicated import await_first_leaders, await_full_sets, check

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'oracle'))
import frames  # noqa: E402

SLOW = 3  # the node that will be
NOT_AVAILABLE, OFFSETS = 15, '__consumer_offsets'


def ask(address, name, version, tree):
    api = frames.APIS[name]
    with socket.create_connection(address, timeout=20) as link:
        frame = api.frame(version, 1, 'groups', tree)
        link.sendall(struct.pack('>i', len(frame)) + frame)
        answers = link.makefile('rb')
        return api.answer(version, answers.read(struct.unpack('>i', answers.read(4))[0]))[1]


def coordinator(c, group):
    found = {}

    def is_known():
        found.update(ask(c.address[1], 'find_coordinator', 4, {'key_type': 0, 'coordinator_keys': [group]})['coordinators'][0])
        return found['error_code'] == 0
    brokers.until(f'{group} has a coordinator', is_known)
    return found['node_id']


def join(c, node, group, member, topic):
    return ask(c.address[node], 'consumer_group_heartbeat', 1, {
        'group_id': group, 'member_id': member, 'member_epoch': 0, 'rebalance_timeout_ms': 30_000, 'subscribed_topic_names': [topic],
        'topic_partitions': []})


def restart_with(c, *more):
    check(brokers.stop(c.running[SLOW]) == 0, 'the node did not stop as it should')
    c.more[SLOW] = list(more)
    c.start(SLOW)
    c.all_see([1, 2, 3], 30)


def slow_follower(c):
    """What a heartbeat has changed is in the log, but a follower sleeps: who asked is told to ask again after five seconds, and nothing is
    forgotten or read back."""
    restart_with(c, '--override', 'zookeeper.session.timeout.ms=20000')  # it is not missed while it sleeps
    topic = c.create(2)
    coordinator(c, 'first')  # now there is the topic of groups
    await_full_sets(c, OFFSETS)
    await_first_leaders(c, OFFSETS)  # else the coordinator may go back to the slow one meanwhile
    group = next(name for name in (f'slow-{number}' for number in range(50)) if coordinator(c, name) != SLOW)
    node = coordinator(c, group)
    brokers.until('one is in', lambda: join(c, node, group, 'one', topic)['error_code'] == 0)
    loaded = c.log(node).count('event=group.loaded')
    c.running[SLOW].process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        error = join(c, node, group, 'two', topic)['error_code']
        took = time.monotonic() - began
        check(error == NOT_AVAILABLE and 4 < took < 8, f'two is told {error} after {took:.1f} s')
    finally:
        c.running[SLOW].process.send_signal(signal.SIGCONT)
    brokers.until('two is in', lambda: join(c, node, group, 'two', topic)['error_code'] == 0)
    members = {m['member_id'] for m in ask(c.address[node], 'consumer_group_describe', 1, {'group_ids': [group]})['groups'][0]['members']}
    check(members == {'one', 'two'}, f'the members are {members}')
    check(c.log(node).count('event=group.loaded') == loaded, 'groups were read back')
    restart_with(c)
    return f'told after {took:.1f} s'


CASES = (slow_follower,)
