# SPDX-License-Identifier: Apache-2.0
"""The idempotent producer."""

from side import batch, check, same


def new_id(b):
    answer = b.ask('init_producer_id', 4, {'transactional_id': None, 'transaction_timeout_ms': 1000, 'producer_id': -1, 'producer_epoch': -1})
    same((answer['error_code'], answer['producer_epoch']), (0, 0))
    return answer['producer_id']


def send(b, topic, producer, sequence, epoch=0, count=1):
    answer = b.produce(topic, batch(*[b'%d' % (sequence + i) for i in range(count)], producer_id=producer, producer_epoch=epoch,
                                    base_sequence=sequence))
    return answer['error_code'], answer['base_offset']


def i1_ids_are_given_once(b):
    """Each one is new; an empty transactional id is INVALID_REQUEST."""
    ids = [new_id(b) for _ in range(20)]
    same(len(set(ids)), 20)
    same(b.ask('init_producer_id', 1, {'transactional_id': '', 'transaction_timeout_ms': 1000})['error_code'], 42)


def i2_the_last_five_are_known(b):
    """A batch that came already is answered with its offset and not appended."""
    topic, producer = b.topic(), new_id(b)
    for sequence in range(6):
        same(send(b, topic, producer, sequence), (0, sequence))
    for sequence in (5, 1, 3):
        same(send(b, topic, producer, sequence), (0, sequence), f'again {sequence}')
    same(send(b, topic, producer, 0)[0], 45, 'older than the last five')
    same(b.offset(topic, -1), 6)


def i2_as_a_whole_or_not(b):
    """The same first and last sequence make a duplicate; a part of it does not."""
    topic, producer = b.topic(), new_id(b)
    same(send(b, topic, producer, 0, count=3), (0, 0))
    same(send(b, topic, producer, 0, count=3), (0, 0))
    same(send(b, topic, producer, 0, count=2)[0], 45)
    same(send(b, topic, producer, 1, count=2)[0], 45)


def i3_in_sequence(b):
    """The next one, and after 2147483647 comes 0."""
    topic, producer = b.topic(), new_id(b)
    same(send(b, topic, producer, 2147483646, count=1), (0, 0), 'any sequence may be the first')
    same(send(b, topic, producer, 2147483647), (0, 1))
    same(send(b, topic, producer, 1)[0], 45)
    same(send(b, topic, producer, 0), (0, 2))


def i4_epochs(b):
    """A newer epoch begins at 0; an older one is INVALID_PRODUCER_EPOCH."""
    topic, producer = b.topic(), new_id(b)
    same(send(b, topic, producer, 0, epoch=3)[0], 0)
    same(send(b, topic, producer, 5, epoch=4)[0], 45)
    same(send(b, topic, producer, 0, epoch=4)[0], 0)
    same(send(b, topic, producer, 1, epoch=3)[0], 47)


def i9_order_in_flight(b):
    """When one of several requests on their way fails, those behind it do until it comes again."""
    topic, producer, link = b.topic(), new_id(b), b.link()

    def body(sequence):
        data = batch(b'%d' % sequence, producer_id=producer, producer_epoch=0, base_sequence=sequence)
        return {'acks': -1, 'timeout_ms': 5000, 'topic_data': [{'name': topic, 'partition_data': [{'index': 0, 'records': data}]}]}
    for sequence in (0, 2, 3):
        link.send('produce', 9, body(sequence))
    errors = []
    for number in (1, 2, 3):
        link.number = number
        errors.append(link.receive('produce', 9)['responses'][0]['partition_responses'][0]['error_code'])
    same(errors, [0, 45, 45])
    same([send(b, topic, producer, sequence) for sequence in (1, 2, 3)], [(0, 1), (0, 2), (0, 3)])
    same(b.values(topic), [b'0', b'1', b'2', b'3'])
    check(link.silent(0.1), 'it says more')
