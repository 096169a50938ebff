# SPDX-License-Identifier: Apache-2.0
"""Produce, and what a batch may be and becomes."""

import gzip

import wire
from side import MIB, batch, check, now_ms, records_of, same

HOUR_MS = 3_600_000


def bad(answer):
    """[index of each bad record] as the answer names them."""
    return [error['batch_index'] for error in answer['record_errors']]


def refused(b, topic, data, error, what=''):
    end = b.offset(topic, -1)
    answer = b.produce(topic, data)
    same(answer['error_code'], error, what)
    same((answer['base_offset'], b.offset(topic, -1)), (-1, end), f'{what} base offset and end of the log')
    return answer


# ---- produce ----

def p1_acks_that_are_none(b):
    """acks of another kind than -1, 0 and 1 are INVALID_REQUIRED_ACKS, and nothing is written."""
    topic = b.topic()
    for acks in (2, -2, 32767):
        same(b.produce(topic, batch(b'x'), acks=acks)['error_code'], 21, f'acks {acks}')
    same(b.offset(topic, -1), 0)


def p2_acks_0_is_never_answered(b):
    """acks=0: written, and nothing comes back; what cannot be written closes the connection."""
    topic, link = b.topic(), b.link()
    tree = {'acks': 0, 'timeout_ms': 1000, 'topic_data': [{'name': topic, 'partition_data': [{'index': 0, 'records': batch(b'x')}]}]}
    link.send('produce', 9, tree)
    check(link.silent(0.5), 'it was answered')
    same(b.values(topic), [b'x'])
    tree['topic_data'][0]['partition_data'][0]['index'] = 7
    link.send('produce', 9, tree)
    check(link.closed_within(5), 'the connection is open after an error')


def p5_errors_are_of_a_partition(b):
    """Good partitions of a request are written beside bad ones."""
    topic = b.topic(partitions=2)
    answer = b.ask('produce', 9, {'acks': -1, 'timeout_ms': 1000, 'topic_data': [{'name': topic, 'partition_data': [
        {'index': 0, 'records': batch(b'a', crc=1)}, {'index': 1, 'records': batch(b'b')}, {'index': 2, 'records': batch(b'c')}]}]})
    same({partition['index']: partition['error_code'] for partition in answer['responses'][0]['partition_responses']}, {0: 2, 1: 0, 2: 3})
    same((b.offset(topic, -1), b.offset(topic, -1, 1)), (0, 1))


def p6_one_batch(b):
    """Exactly one batch of magic 2 with records."""
    topic = b.topic()
    refused(b, topic, batch(b'a') + batch(b'b'), 87, 'two')
    refused(b, topic, b'', 87, 'none')
    refused(b, topic, batch(b'a', magic=1), 87, 'magic 1')


def p6_no_records_at_all(b):
    """Null for records is INVALID_RECORD."""
    refused(b, b.topic(), None, 87)


def p7_zstd_before_version_7(b):
    """zstd in a version that did not know it is UNSUPPORTED_COMPRESSION_TYPE."""
    same(b.produce(b.topic(), batch(b'x', codec=4), version=6)['error_code'], 76)


def p8_what_the_answer_says(b):
    """The first offset that was given, -1 for the time that the producer gave, and the log's start."""
    topic = b.topic()
    b.put(topic, b'a', b'b')
    answer = b.produce(topic, batch(b'c'))
    same([answer[name] for name in ('base_offset', 'log_append_time_ms', 'log_start_offset', 'record_errors', 'error_message')],
         [2, -1, 0, [], None])


def p10_topics_by_id(b):
    """Version 13 names topics by id; an unknown one is UNKNOWN_TOPIC_ID."""
    topic = b.topic()
    for topic_id, error in ((b.topic_id(topic), 0), (bytes(range(16)), 100)):
        answer = b.ask('produce', 13, {'acks': -1, 'timeout_ms': 1000, 'topic_data': [
            {'topic_id': topic_id, 'partition_data': [{'index': 0, 'records': batch(b'x')}]}]})
        same(answer['responses'][0]['partition_responses'][0]['error_code'], error)


def p11_internal_topics(b):
    """Clients do not write to __consumer_offsets."""
    b.ask('find_coordinator', 3, {'key': 'semantics', 'key_type': 0})
    b.until('it is there', lambda: b.metadata('__consumer_offsets')['error_code'] == 0)
    same(b.produce('__consumer_offsets', batch((b'k', b'v')))['error_code'], 17)


# ---- batches ----

def b1_the_size_with_its_head(b):
    """max.message.bytes counts all bytes of the batch, the first twelve too."""
    one = batch(b'x' * 5000)
    topic = b.topic(max_message_bytes=len(one))
    same(b.produce(topic, one)['error_code'], 0, 'exactly as large')
    refused(b, topic, batch(b'x' * 5001), 10, 'one byte more')


def b1_larger_than_a_segment(b):
    """What no segment can hold is RECORD_LIST_TOO_LARGE."""
    topic = b.topic(segment_bytes=MIB, max_message_bytes=4 * MIB)
    refused(b, topic, batch(b'x' * (MIB + 1)), 18)


def b2_the_checksum(b):
    """A wrong CRC is CORRUPT_MESSAGE; the epoch lies outside of it and is nobody's business."""
    topic = b.topic()
    refused(b, topic, batch(b'x', crc=7), 2)
    same(b.produce(topic, batch(b'x', leader_epoch=77))['error_code'], 0)
    same(wire.batches(b.stored(topic))[0]['leader_epoch'], 0)


def b3_offsets_begin_at_0(b):
    """A base offset that is not 0, or a count that is not the last offset and one, is INVALID_RECORD."""
    topic = b.topic()
    refused(b, topic, batch(b'a', base_offset=5), 87, 'base offset')
    refused(b, topic, batch(b'a', b'b', last_offset_delta=2), 87, 'last offset')
    refused(b, topic, batch(b'a', b'b', count=1), 87, 'count')


def b4_what_clients_may_not_say(b):
    """The control bit, and a producer without a sequence."""
    topic = b.topic()
    refused(b, topic, batch(b'x', attributes=0x20), 87, 'control')
    refused(b, topic, batch(b'x', producer_id=1000, producer_epoch=0, base_sequence=-1), 87, 'no sequence')


def b4_gaps_in_a_compressed_batch(b):
    """Offsets that are not dense are INVALID_RECORD."""
    payload = gzip.compress(wire.record_bytes(0, b'k', b'a') + wire.record_bytes(5, b'k', b'b'), mtime=0)
    at = now_ms()
    refused(b, b.topic(), wire.batch([None] * 2, payload, 1, base_timestamp=at, max_timestamp=at), 87)


def b4_counts_that_lie(b):
    """Fewer records than said, or more."""
    topic, two = b.topic(), wire.record_bytes(0, b'k', b'a') + wire.record_bytes(1, b'k', b'b')
    refused(b, topic, wire.batch([None] * 3, two), 87, 'more said than there')
    refused(b, topic, wire.batch([None], two), 87, 'more there than said')


def b5_the_brokers_time(b):
    """A client that says it is the broker's time is INVALID_TIMESTAMP."""
    refused(b, b.topic(), batch(b'x', attributes=8), 32)


def b6_times_too_far_away(b):
    """Beyond the limits of the topic the whole batch is refused, and the bad records are named."""
    topic = b.topic(message_timestamp_after_max_ms=HOUR_MS, message_timestamp_before_max_ms=HOUR_MS)
    at = now_ms()
    answer = refused(b, topic, batch((b'k', b'a'), (b'k', b'b', 2 * HOUR_MS), (b'k', b'c'), at_ms=at), 32, 'ahead')
    same(bad(answer), [1], 'ahead')
    answer = refused(b, topic, batch((b'k', b'a'), (b'k', b'b', 2 * HOUR_MS), at_ms=at - 2 * HOUR_MS), 32, 'behind')
    same(bad(answer), [0], 'behind')
    same(b.produce(topic, batch(b'x', at_ms=-1))['error_code'], 0, 'no time')


def b6_an_hour_ahead_by_default(b):
    """Since 4.0 a record may be an hour ahead of the broker's clock, and as old as it likes."""
    topic = b.topic()
    same(b.produce(topic, batch(b'x', at_ms=now_ms() + HOUR_MS // 2))['error_code'], 0, 'half an hour')
    refused(b, topic, batch(b'x', at_ms=now_ms() + 2 * HOUR_MS), 32, 'two hours')
    same(b.produce(topic, batch(b'x', at_ms=1000))['error_code'], 0, 'long ago')


def b7_the_time_of_the_append(b):
    """LogAppendTime: bit 3, one time for all records, a right CRC, and the time in the answer."""
    topic = b.topic(message_timestamp_type='LogAppendTime')
    before = now_ms()
    answer = b.produce(topic, batch((b'k', b'a'), (b'k', b'b', 5), at_ms=1000))
    appended = answer['log_append_time_ms']
    check(before - 2 <= appended <= now_ms() + 2, f'{appended} is not now')
    data = b.stored(topic)
    head = wire.batches(data)[0]
    same((head['attributes'] & 8, head['max_timestamp']), (8, appended))
    same([ms for _, ms, _, _ in records_of(data)], [appended, appended])
    same(int.from_bytes(data[17:21], 'big'), wire.crc32c(data[21:]), 'the CRC')


def b8_a_wrong_greatest_time(b):
    """The greatest time is that of the records, whatever the head said."""
    topic, at = b.topic(), now_ms()
    same(b.produce(topic, batch((b'k', b'a'), (b'k', b'b', 5), at_ms=at, max_timestamp=at + 500))['error_code'], 0)
    data = b.stored(topic)
    same(wire.batches(data)[0]['max_timestamp'], at + 5)
    same(int.from_bytes(data[17:21], 'big'), wire.crc32c(data[21:]), 'the CRC')


def b9_offsets_and_epochs_are_given(b):
    """Each batch continues the log, stamped with the leader's epoch."""
    topic = b.topic()
    for values in ((b'a', b'b'), (b'c',), (b'd', b'e', b'f')):
        b.put(topic, *values)
    same([(head['base_offset'], head['last_offset'], head['leader_epoch']) for head in wire.batches(b.stored(topic))],
         [(0, 1, 0), (2, 2, 0), (3, 5, 0)])


def b10_the_codec_of_the_topic(b):
    """compression.type=producer keeps what came; another one has the batch made anew."""
    kept, none, gzipped = b.topic(), b.topic(compression_type='uncompressed'), b.topic(compression_type='gzip')
    for topic, codec, wanted in ((kept, 1, 1), (kept, 0, 0), (none, 1, 0), (gzipped, 0, 1), (gzipped, 1, 1)):
        b.put(topic, (b'k', b'v' * 100), codec=codec)
        same(wire.batches(b.stored(topic))[-1]['attributes'] & 7, wanted, f'{topic} codec {codec}')
    same([value for topic in (kept, none, gzipped) for value in b.values(topic)], [b'v' * 100] * 5)


def b11_what_cannot_be_opened(b):
    """A compressed batch whose payload is broken is INVALID_RECORD, of each codec."""
    topic = b.topic()
    for codec in (1, 2, 3, 4):
        at = now_ms()
        refused(b, topic, wire.batch([None], b'\xffnothing of the kind', codec, base_timestamp=at, max_timestamp=at), 87, f'codec {codec}')


def b12_compacted_topics_want_keys(b):
    """A record without a key, and its index."""
    topic = b.topic(cleanup_policy='compact')
    same(bad(refused(b, topic, batch((b'k', b'a'), (None, b'b'), (b'k', b'c')), 87)), [1])


def b13_nothing_is_lost_of_a_record(b):
    """Null and empty keys and values and headers come back as they went."""
    topic, at = b.topic(), now_ms()
    payload = b''.join(wire.record_bytes(i, key, value, i, headers) for i, (key, value, headers) in enumerate((
        (None, None, []), (b'', b'', [(b'', None), (b'h', b'')]), (b'k', None, [(b'h', b'1'), (b'h', b'2')]))))
    same(b.produce(topic, wire.batch([None] * 3, payload, base_timestamp=at, max_timestamp=at + 2))['error_code'], 0)
    same(b.stored(topic)[61:], payload)
