# SPDX-License-Identifier: Apache-2.0
"""Cases of tests/cluster/run about where brokers stand (broker.rack): replicas are spread over racks, and consumers read from the
replica in their own (KIP-392).
"""
import subprocess
import time

import broker as brokers
import hints
import wire
from replicated import await_full_sets, bootstrap, check, check_once_in_order, read, sets

RACKS = {1: 'east', 2: 'east', 3: 'west'}
SELECTOR = 'org.apache.kafka.common.replica.RackAwareReplicaSelector'
NOT_LEADER, NOT_AVAILABLE = 6, 78


def restart(c, racks):
    """All of them, one after another."""
    for node in sorted(c.running):
        code = brokers.stop(c.running.pop(node))
        check(code == 0, f'broker {node} ended with {code}')
        c.more[node] = ['--override', f'broker.rack={racks[node]}', '--override', f'replica.selector.class={SELECTOR}'] if racks else []
        c.start(node)
        c.all_see(sorted(c.address))


def fetch(address, topic, offset, rack='', version=11, wait_ms=0):
    """(error, the replica that is named, the first offset of what came or None, the high watermark)."""
    answer = hints.ask_once(address, 'fetch', version, {
        'replica_id': -1, 'max_wait_ms': wait_ms, 'min_bytes': 1, 'max_bytes': 1 << 20, 'isolation_level': 0, 'rack_id': rack,
        'topics': [{'topic': topic, 'partitions': [{'partition': 0, 'fetch_offset': offset, 'partition_max_bytes': 1 << 20}]}]})
    told = answer['responses'][0]['partitions'][0]
    heads = wire.batches(told['records'] or b'')
    return told['error_code'], told.get('preferred_read_replica', -1), heads[0]['base_offset'] if heads else None, told['high_watermark']


def write(c, topic, leader, value):
    with wire.Connection(c.address[leader]) as link:
        error, base = wire.produce(link, topic, 0, wire.batch([value]))
    check(error == 0, f'produce: {error}')
    return base


def racks(c):
    """Each partition has a replica in each rack; a consumer is sent to the one in its own, which serves what is committed, at
    once; who does not say where it is stays with the leader."""
    restart(c, RACKS)
    try:
        return in_racks(c)
    finally:
        restart(c, None)


def in_racks(c):
    wide = c.create(12, replicas=2)
    for partition, (leader, ids, _) in sets(c, 1, wide).items():
        check({RACKS[node] for node in ids} == {'east', 'west'}, f'{wide}-{partition} lies on {ids}')
    topic = c.create(1, replicas=3, configs={'min.insync.replicas': 2})
    await_full_sets(c, topic)
    leader = sets(c, 1, topic)[0][0]
    near = next(node for node in (3, 1, 2) if RACKS[node] != RACKS[leader])
    rack = RACKS[near]
    base = write(c, topic, leader, b'00')
    check(base == 0, f'the first record is at {base}')
    check(fetch(c.address[leader], topic, 0)[1:3] == (-1, 0), 'the leader does not serve who says nothing')
    check(fetch(c.address[leader], topic, 0, RACKS[leader])[1:3] == (-1, 0), 'the leader sends its own rack away')
    check(fetch(c.address[leader], topic, 0, 'nowhere')[1:3] == (-1, 0), 'the leader sends another rack away')
    brokers.until(f'{rack} is sent to a replica there', lambda: RACKS.get(fetch(c.address[leader], topic, 0, rack)[1]) == rack)
    near = fetch(c.address[leader], topic, 0, rack)[1]
    check(fetch(c.address[leader], topic, 0, rack)[2] is None, 'the leader names a replica and gives records, too')
    brokers.until('the follower serves', lambda: fetch(c.address[near], topic, 0, rack) == (0, -1, 0, 1), 5)
    check(fetch(c.address[near], topic, 0, version=10)[0] == NOT_LEADER, 'a follower serves version 10')
    took = []
    for number in range(1, 21):  # each is the only one for a while: the follower must hear of it without another
        check(write(c, topic, leader, b'%02d' % number) == number, 'not the next offset')
        began = time.monotonic()
        error, _, first, watermark = fetch(c.address[near], topic, number, rack, wait_ms=5000)
        took.append(time.monotonic() - began)
        check((error, first, watermark) == (0, number, number + 1), f'{number}: {error} {first} {watermark}')
        time.sleep(0.05)
    check(max(took) < 0.45, f'a follower knew of a record after {max(took):.2f} s only')  # followers ask each 0.5 s anyway
    error, _, first, _ = fetch(c.address[near], topic, 100, rack)
    check((error, first) == (NOT_AVAILABLE, None), f'beyond its end: {error}')
    near_lost(c, topic, rack)
    values = ['%02d' % number for number in range(21)]
    got = subprocess.run(['kcat', '-C', '-b', bootstrap(c), '-t', topic, '-e', '-q', '-o', 'beginning', '-X', f'client.rack={rack}', '-f',
                          '%p %o %s\n'], stdout=subprocess.PIPE, check=True, timeout=60).stdout.decode()
    found = [(int(p), int(o), v) for p, o, v in (line.split() for line in got.splitlines())]
    check([value for _, _, value in found[:21]] == values, f'kcat in {rack}: {found[:3]}')
    check_once_in_order(read(c, leader, topic), [value for _, _, value in found])
    return f'a record is at the follower after {sorted(took)[len(took) // 2] * 1000:.1f} ms (median; at most {max(took) * 1000:.0f})'


def near_lost(c, topic, rack):
    """The replica there is gone: the leader serves instead."""
    leader = sets(c, 1, topic)[0][0]
    for node in [node for node in RACKS if RACKS[node] == rack and node != leader]:
        brokers.kill(c.running.pop(node))
    brokers.until('the leader serves', lambda: fetch(c.address[leader], topic, 0, rack)[1:3] == (-1, 0), 15)
    for node in sorted(set(RACKS) - set(c.running)):
        c.start(node)
    c.all_see(sorted(c.address))
    await_full_sets(c, topic)


CASES = (racks,)
