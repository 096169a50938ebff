# SPDX-License-Identifier: Apache-2.0
"""The log of a partition: segments, indexes, retention, compaction, and what is there after a stop; offsets by time."""

import os
import time

import wire
from side import MIB, alone, batch, check, now_ms, records_of, same

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
# Values that fill a segment of 1 MiB with two.
HALF = 600_000


def fill(b, topic, count, at_ms=None, **fields):
    """Batches of one record, a segment each two; the i-th begins with i."""
    for i in range(count):
        b.put(topic, b'%08d' % i + bytes(HALF // 2) + b'x' * (HALF // 2), at_ms=at_ms, **fields)


# ---- offsets by time ----

def l1_special_times(b):
    """-1 the end, -2 the start, -3 the record of the greatest time (from 7 on), -4 and -5 of storage elsewhere (8, 9)."""
    topic, at = b.topic(), now_ms()
    b.put(topic, (b'k', b'a'), (b'k', b'b', 900), (b'k', b'c', 100), at_ms=at)
    b.put(topic, (b'k', b'd', 500), at_ms=at)
    b.delete_records(topic, 1)
    same([b.offset(topic, -1), b.offset(topic, -2)], [4, 1])
    answer = b.list_offset(topic, -3)
    same((answer['offset'], answer['timestamp']), (1, at + 900))
    same(b.list_offset(topic, -4, version=8)['offset'], 1)
    answer = b.list_offset(topic, -5, version=9)
    same((answer['error_code'], answer['offset']), (0, -1))
    same([b.list_offset(topic, time_ms, version=version)['error_code'] for time_ms, version in ((-3, 6), (-4, 7), (-5, 8), (-9, 10))],
         [35] * 4)


def l2_the_first_record_at_or_after(b):
    """Inside of batches, with its own time; nothing so late: -1, and no error."""
    topic, at = b.topic(), now_ms() - DAY_MS
    b.put(topic, (b'k', b'a'), (b'k', b'b', 10), (b'k', b'c', 20), at_ms=at)
    b.put(topic, (b'k', b'd'), (b'k', b'e', 10), at_ms=at + 100)
    for after_ms, offset, found_ms in ((-5, 0, 0), (0, 0, 0), (1, 1, 10), (10, 1, 10), (11, 2, 20), (21, 3, 100), (110, 4, 110)):
        answer = b.list_offset(topic, at + after_ms)
        same((answer['error_code'], answer['offset'], answer['timestamp']), (0, offset, at + found_ms), f'{after_ms} ms')
    answer = b.list_offset(topic, at + 111)
    same((answer['error_code'], answer['offset'], answer['timestamp']), (0, -1, -1))


def l2_times_over_segments(b):
    """Found in whichever segment it is, and in codecs that must be opened."""
    topic, at = b.topic(segment_bytes=MIB), now_ms() - DAY_MS
    for i in range(5):
        b.put(topic, (b'k', b'x' * HALF), (b'k', b'y', 5), at_ms=at + 10 * i, codec=i & 1)
    for i in range(5):
        same([b.offset(topic, at + 10 * i), b.offset(topic, at + 10 * i + 1)], [2 * i, 2 * i + 1], f'batch {i}')


def l3_what_has_no_time(b):
    """-1 and -2 answer no time, and the epoch from version 4 on; a partition that is named twice is INVALID_REQUEST."""
    topic = b.topic()
    b.put(topic, b'a')
    for time_ms in (-1, -2):
        answer = b.list_offset(topic, time_ms)
        same((answer['timestamp'], answer['leader_epoch']), (-1, 0))
    one = {'partition_index': 0, 'timestamp': -1}
    answer = b.ask('list_offsets', 4, {'replica_id': -1, 'topics': [{'name': topic, 'partitions': [one, one]}]})
    same({partition['error_code'] for partition in answer['topics'][0]['partitions']}, {42})


def l5_ends_of_epochs(b):
    """The current one ends at the end, a newer one is not known; fenced like a fetch."""
    topic = b.topic()
    b.put(topic, b'a', b'b')

    def ask(epoch, current=-1):
        answer = b.ask('offset_for_leader_epoch', 3, {'replica_id': -1, 'topics': [{'topic': topic, 'partitions': [
            {'partition': 0, 'current_leader_epoch': current, 'leader_epoch': epoch}]}]})['topics'][0]['partitions'][0]
        return answer['error_code'], answer['leader_epoch'], answer['end_offset']
    same([ask(0), ask(1), ask(-1)], [(0, 0, 2), (0, -1, -1), (0, -1, -1)])
    same(ask(0, current=5)[0], 75)


# ---- fetch ----

def f3_at_least_one_batch(b):
    """Limits are soft for the first batch; what follows fits."""
    topic = b.topic(partitions=2)
    for partition in (0, 1):
        for _ in range(2):
            same(b.produce(topic, batch(b'x' * 5000), partition)['error_code'], 0)
    same(len(wire.batches(b.fetch(topic, 0, max_bytes=1)['records'])), 1)
    same(len(wire.batches(b.fetch(topic, 0, partition_max_bytes=1)['records'])), 1)


def f5_the_batch_that_has_the_offset(b):
    """An answer begins with the whole batch in which the offset lies."""
    topic = b.topic()
    b.put(topic, b'a', b'b', b'c')
    same([head['base_offset'] for head in wire.batches(b.fetch(topic, 2)['records'])], [0])


def f6_beyond_the_ends(b):
    """At the end nothing, and no error; past it, or before the start, OFFSET_OUT_OF_RANGE and no offsets."""
    topic = b.topic()
    b.put(topic, b'a', b'b', b'c')
    b.delete_records(topic, 1)
    answer = b.fetch(topic, 3, wait_ms=0)
    same((answer['error_code'], answer['records'] or b'', answer['high_watermark'], answer['log_start_offset']), (0, b'', 3, 1))
    for offset in (4, 0, -1):
        same(b.fetch(topic, offset)['error_code'], 1, f'offset {offset}')


def f8_epochs_of_a_fetch(b):
    """An older or newer epoch than the leader's is refused."""
    topic = b.topic()
    b.put(topic, b'a')
    same([b.fetch(topic, 0, current_leader_epoch=epoch)['error_code'] for epoch in (-1, 0, 3)], [0, 0, 75])


# ---- segments ----

def bases(b, topic):
    return [int(name[:20]) for name in b.files(topic)]


def begins(b, topic, wanted):
    """A segment's file may be made after what is in it was acknowledged: until then that is in the journal."""
    end = time.monotonic() + 10
    while bases(b, topic) != wanted and time.monotonic() < end:
        time.sleep(0.05)
    same(bases(b, topic), wanted)


def d1_names_of_files(b):
    """Twenty digits, as Kafka's tools expect them."""
    topic = b.topic(segment_bytes=MIB)
    fill(b, topic, 3)
    begins(b, topic, [0, 1, 2])
    same(b.files(topic), [f'{offset:020}.log' for offset in (0, 1, 2)])


def d2_a_new_segment_by_size(b):
    """Before a segment would grow beyond segment.bytes; its name is the next offset."""
    topic = b.topic(segment_bytes=MIB)
    b.put(topic, b'x' * 500_000, b'y' * 400_000)
    begins(b, topic, [0])
    b.put(topic, b'x' * 100_000)
    begins(b, topic, [0])
    b.put(topic, b'x' * 100_000)
    begins(b, topic, [0, 3])


def d2_a_new_segment_by_time(b):
    """When the record that comes is segment.ms younger than the segment's first; the records' times count."""
    topic, at = b.topic(segment_ms=10_000), now_ms() - DAY_MS
    for after_ms in (0, 9_000, 10_500, 20_000):
        b.put(topic, b'x' * HALF, at_ms=at + after_ms)  # so much that it is written now
    begins(b, topic, [0, 2])


# ---- retention ----

def d4_by_time(b):
    """Whole segments, the oldest first, by the greatest time of their records, and none behind one that stays."""
    topic, at = b.topic(segment_bytes=MIB, retention_ms=HOUR_MS), now_ms()
    fill(b, topic, 2, at - 2 * HOUR_MS)
    fill(b, topic, 1, at)
    fill(b, topic, 1, at - 2 * HOUR_MS)
    fill(b, topic, 1, at)
    b.until('the first two are gone', lambda: b.offset(topic, -2) == 2)
    same([offset for offset, _, _, _ in b.records(topic)], [2, 3, 4])


def d4_by_size(b):
    """While what stays is at least retention.bytes."""
    topic = b.topic(segment_bytes=MIB, retention_bytes=1_500_000)
    fill(b, topic, 5)
    b.until('two are gone', lambda: b.offset(topic, -2) >= 2)
    same([offset for offset, _, _, _ in b.records(topic)], [2, 3, 4])


def d4_the_last_segment_goes_too(b):
    """When all of it is too old; the log goes on where it ended."""
    topic = b.topic(retention_ms=HOUR_MS)
    b.put(topic, b'a', b'b', at_ms=now_ms() - 2 * HOUR_MS)
    b.until('all is gone', lambda: b.offset(topic, -2) == 2)
    same(b.put(topic, b'c'), 2)
    same(b.values(topic), [b'c'])


def d5_one_record_from_the_future(b):
    """It keeps its segment, and with it those behind."""
    topic, at = b.topic(segment_bytes=MIB, retention_ms=HOUR_MS), now_ms()
    b.put(topic, (b'k', b'x' * HALF), (b'k', b'y', 2 * HOUR_MS + 600_000), at_ms=at - 2 * HOUR_MS)
    fill(b, topic, 2, at - 2 * HOUR_MS)
    other = b.topic(retention_ms=HOUR_MS)  # looked at not before the one above
    b.put(other, b'a', at_ms=at - 2 * HOUR_MS)
    b.until('the other is empty', lambda: b.offset(other, -2) == 1)
    same(b.offset(topic, -2), 0)


def d6_files_go_later(b):
    """What is deleted is not offered any more and its files go after file.delete.delay.ms at the latest."""
    topic = b.topic(segment_bytes=MIB, file_delete_delay_ms=0)
    fill(b, topic, 3)
    b.delete_records(topic, 2)
    b.until('their files are gone', lambda: bases(b, topic) == [2])


# ---- compaction ----

def compacted(b, **more):
    return b.topic(**{'cleanup_policy': 'compact', 'segment_bytes': MIB, 'min_cleanable_dirty_ratio': '0.01', **more})


def roll(b, topic, at_ms=None):
    """Another segment begins; what was written so far can be cleaned."""
    for key in (b'roll-1', b'roll-2'):
        b.put(topic, (key, b'x' * HALF), at_ms=at_ms)


def of_key(b, topic, key):
    return [(offset, value) for offset, _, found, value in b.records(topic) if found == key]


def d7_compact_only_keeps_what_is_old(b):
    """Neither time nor size deletes where the policy is compact; where it is both, both do."""
    old = now_ms() - 2 * HOUR_MS
    only = compacted(b, retention_ms=HOUR_MS, retention_bytes=1)
    both = compacted(b, cleanup_policy='compact,delete', retention_ms=HOUR_MS)
    for topic in (only, both):
        b.put(topic, (b'k', b'v'), at_ms=old)
        roll(b, topic, old)
    b.until('the one with both is empty', lambda: b.offset(both, -2) == 3)
    same((b.offset(only, -2), of_key(b, only, b'k')), (0, [(0, b'v')]))


def d8_the_last_of_each_key(b):
    """In order, at their offsets; the active segment is left alone."""
    topic = compacted(b)
    for i in range(6):
        b.put(topic, (b'k%d' % (i % 2), b'%d' % i))
    roll(b, topic)
    b.put(topic, (b'k0', b'new'))
    b.until('the old ones are gone', lambda: of_key(b, topic, b'k1') == [(5, b'5')])
    same(of_key(b, topic, b'k0'), [(4, b'4'), (8, b'new')])
    same((b.offset(topic, -2), b.offset(topic, -1)), (0, 9))


def d8_the_last_offset_stays(b):
    """A batch that loses records keeps its first and last offset."""
    topic = compacted(b)
    b.put(topic, (b'a', b'1'), (b'k', b'2'), (b'a', b'3'), (b'k', b'4'))
    b.put(topic, (b'k', b'5'))
    roll(b, topic)
    b.until('the old ones are gone', lambda: of_key(b, topic, b'k') == [(4, b'5')])
    head = wire.batches(b.stored(topic))[0]
    same((head['base_offset'], head['last_offset'], head['count']), (0, 3, 1))


def d9_nothing_younger_than_the_lag(b):
    """min.compaction.lag.ms: what is younger stays, whatever came after."""
    young, old = compacted(b, min_compaction_lag_ms=HOUR_MS), compacted(b, min_compaction_lag_ms=HOUR_MS)
    for topic, at in ((young, now_ms()), (old, now_ms() - 2 * HOUR_MS)):
        for i in range(3):
            b.put(topic, (b'k', b'%d' % i), at_ms=at)
        roll(b, topic, at)
    b.until('the old ones are gone', lambda: of_key(b, old, b'k') == [(2, b'2')])
    same(len(of_key(b, young, b'k')), 3)


def d10_a_tombstone_has_its_time(b):
    """It stays, with the end of its time noted in the batch (KIP-534), and goes when that is over."""
    stays, goes = compacted(b), compacted(b, delete_retention_ms=500)
    for topic in (stays, goes):
        b.put(topic, (b'k', b'v'))
        b.put(topic, (b'k', None))
        roll(b, topic)
        b.until('the value is gone', lambda t=topic: of_key(b, t, b'k') in ([(1, None)], []))
    same(of_key(b, stays, b'k'), [(1, None)])
    head = next(head for head in wire.batches(b.stored(stays)) if head['base_offset'] == 1)
    check(head['attributes'] & 0x40, 'no horizon')
    check(abs(head['base_timestamp'] - now_ms() - DAY_MS) < 60_000, f'the horizon is {head["base_timestamp"]}')
    # Somebody has to write: a log without dirt is not looked at.
    def gone():
        roll(b, goes)
        return of_key(b, goes, b'k') == []
    b.until('the tombstone is gone', gone, 30)


def d11_a_producer_goes_on(b):
    """The last batch of a producer stays when all of its records are gone, so that its sequence is known."""
    topic = compacted(b)
    producer = b.ask('init_producer_id', 1, {'transactional_id': None, 'transaction_timeout_ms': 1000})['producer_id']

    def sequence(number, value):
        return b.produce(topic, batch((b'k', value), producer_id=producer, producer_epoch=0, base_sequence=number))
    same([sequence(0, b'a')['error_code'], sequence(1, b'b')['error_code']], [0, 0])
    b.put(topic, (b'k', b'c'))
    roll(b, topic)
    b.until('the old ones are gone', lambda: of_key(b, topic, b'k') == [(2, b'c')])
    answer = sequence(1, b'b')
    same((answer['error_code'], answer['base_offset']), (0, 1), 'a duplicate')
    same(sequence(5, b'f')['error_code'], 45)
    same(sequence(2, b'd')['error_code'], 0)


def d16_a_fetch_in_a_gap(b):
    """Of offsets that compaction has removed, the next batch comes."""
    topic = compacted(b)
    for i in range(4):
        b.put(topic, (b'k', b'%d' % i))
    roll(b, topic)
    b.until('the old ones are gone', lambda: of_key(b, topic, b'k') == [(3, b'3')])
    for offset in (0, 1, 2):
        answer = b.fetch(topic, offset)
        same((answer['error_code'], [o for o, _, _, _ in records_of(answer['records']) if o >= offset][0]), (0, 3), f'at {offset}')


# ---- what is there after a stop; these have the broker for themselves ----

@alone
def d13_a_clean_stop(b):
    """Records, offsets by time and producers are there again, and nothing was cut."""
    after_a_stop(b, kill=False)


@alone
def d13_a_death(b):
    """What was acknowledged is there after kill -9, too."""
    after_a_stop(b, kill=True)


@alone
def d15_deleted_records(b):
    """They stay deleted over a clean stop."""
    start_after_a_stop(b, kill=False)


@alone
def d15_deleted_records_and_a_death(b):
    """They stay deleted over kill -9, too."""
    start_after_a_stop(b, kill=True)


def start_after_a_stop(b, kill):
    topic = b.topic()
    b.put(topic, b'a', b'b', b'c')
    same(b.delete_records(topic, 2)['low_watermark'], 2)
    b.restart(kill)
    b.until('it is led', lambda: b.list_offset(topic, -1)['error_code'] == 0)
    same((b.offset(topic, -2), b.fetch(topic, 0)['error_code']), (2, 1))


def after_a_stop(b, kill):
    topic, at = b.topic(segment_bytes=MIB), now_ms() - HOUR_MS
    producer = b.ask('init_producer_id', 1, {'transactional_id': None, 'transaction_timeout_ms': 1000})['producer_id']

    def sequence(number):
        return b.produce(topic, batch(b'%d' % number + b'x' * HALF, at_ms=at + number, producer_id=producer, producer_epoch=0,
                                      base_sequence=number))
    same([sequence(number)['error_code'] for number in range(4)], [0] * 4)
    topic_id, before = b.topic_id(topic), b.records(topic)
    b.restart(kill)
    b.until('it is led', lambda: b.list_offset(topic, -1)['error_code'] == 0)
    same((b.topic_id(topic), b.records(topic)), (topic_id, before))
    same([b.offset(topic, -2), b.offset(topic, -1), b.offset(topic, at + 3)], [0, 4, 3])
    answer = sequence(3)
    same((answer['error_code'], answer['base_offset']), (0, 3), 'a duplicate')
    same([sequence(9)['error_code'], sequence(4)['error_code']], [45, 0])
    same(b.ask('init_producer_id', 1, {'transactional_id': None, 'transaction_timeout_ms': 1000})['producer_id'] > producer, True)


def after_lost_indexes(b, harm):
    """Indexes are only hints: what has become of them in a stop is nobody's loss."""
    topic, at = b.topic(segment_bytes=MIB), now_ms() - DAY_MS
    for i in range(4):
        b.put(topic, b'x' * HALF, at_ms=at + i)
    b.broker.stop()
    for ending in ('index', 'timeindex'):
        for name in b.paths(topic, ending):
            harm(name)
    b.start()
    b.until('it is led', lambda: b.list_offset(topic, -1)['error_code'] == 0)
    same([b.offset(topic, at + i) for i in range(4)], [0, 1, 2, 3])
    same(len(b.records(topic)), 4)


@alone
def d3_missing_indexes(b):
    """Indexes that are gone are made again."""
    after_lost_indexes(b, os.remove)


@alone
def d3_broken_indexes(b):
    """Indexes of a length that none can have are made again."""
    def cut(name):
        with open(name, 'wb') as file:
            file.write(b'broken!')
    after_lost_indexes(b, cut)


@alone
def d12_a_death_in_compaction(b):
    """kill -9 while segments take the place of others: each key has its last value, once, at its offset."""
    topic, last = compacted(b), {}
    for number in range(120):
        if number % 30 == 29:
            b.restart(kill=True)
            b.until('it is led', lambda: b.list_offset(topic, -1)['error_code'] == 0)
        key = b'k%d' % (number % 7)
        last[key] = b.put(topic, (key, b'%d' % number + b'x' * (HALF // 4)))
    roll(b, topic)
    b.until('the old ones are gone', lambda: len(b.records(topic)) == len(last) + 2)
    same({key: offset for offset, _, key, _ in b.records(topic) if key in last}, last)
    offsets = [offset for offset, *_ in b.records(topic)]
    same(offsets, sorted(set(offsets)))
