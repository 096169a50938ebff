# SPDX-License-Identifier: Apache-2.0
"""Metadata, coordinators, the versions that are offered, and sessions of fetches."""

import time

import frames
import wire
from side import batch, check, records_of, same


def ask_metadata(b, topics, version=9, create=False):
    tree = {'topics': None if topics is None else [{'name': name} for name in topics], 'allow_auto_topic_creation': create}
    return b.ask('metadata', version, tree)


# ---- versions ----

def a1_a_version_from_the_future(b):
    """Answered in version 0, with the error and the versions of this one request, or of all."""
    link = b.link()
    link.number = 1
    link.socket.sendall(wire.frame(frames.APIS['api_versions'].frame(99, 1, 'semantics', None, b'\1\2\3')))
    answer = link.receive('api_versions', 0)
    same(answer['error_code'], 35)
    check(18 in [key['api_key'] for key in answer['api_keys']], 'its own versions are not told')


def a3_who_asks(b):
    """From version 3 on the client says what it is, in letters, digits, '-' and '.'."""
    def ask(name, version):
        return b.ask('api_versions', 3, {'client_software_name': name, 'client_software_version': version})
    same(ask('semantics-1.0', '2')['error_code'], 0)
    for name, version in (('', '1'), ('a b', '1'), ('-a', '1'), ('a', ''), ('a', '1!')):
        answer = ask(name, version)
        same((answer['error_code'], answer['api_keys']), (42, []), f'{name!r} {version!r}')


# ---- metadata ----

def m1_all_or_none(b):
    """Version 0: an empty list asks for all; later null does, and an empty list for none."""
    topic = b.topic()
    same(ask_metadata(b, [])['topics'], [])
    check(topic in [found['name'] for found in ask_metadata(b, None)['topics']], 'null')
    check(topic in [found['name'] for found in ask_metadata(b, [], 0)['topics']], 'version 0')


def m2_what_is_not_there(b):
    """By its name unknown, or not a name at all; neither is made unless it was asked for."""
    same({found['name']: found['error_code'] for found in ask_metadata(b, ['not-there', 'no name'])['topics']},
         {'not-there': 3, 'no name': 17})
    same(ask_metadata(b, ['not-there'])['topics'][0]['error_code'], 3)


def m3_made_when_asked_for(b):
    """Where the broker and the request allow it; the first answer has no leader yet."""
    same(ask_metadata(b, ['by-itself'], create=True)['topics'][0]['error_code'] in (3, 5), True)
    b.until('it is there', lambda: ask_metadata(b, ['by-itself'])['topics'][0]['error_code'] == 0)


def m4_by_id(b):
    """From version 12 on, instead of names; an unknown one is UNKNOWN_TOPIC_ID and has no name; before, all is refused."""
    topic, other = b.topic(), b.topic()
    topic_id = b.topic_id(topic)

    def ask(topic_id, version=12, name=None):
        return b.ask('metadata', version, {'topics': [{'topic_id': topic_id, 'name': name}]})['topics'][0]
    same((ask(topic_id)['name'], ask(topic_id)['error_code']), (topic, 0))
    same((ask(bytes(range(16)))['name'], ask(bytes(range(16)))['error_code']), (None, 100))
    both = {'topics': [{'topic_id': topic_id, 'name': None}, {'topic_id': bytes(16), 'name': other}]}
    same([found['name'] for found in b.ask('metadata', 12, both)['topics']], [topic])
    both['topics'][0]['name'] = topic
    answer = b.ask('metadata', 11, both)
    same(([found['error_code'] for found in answer['topics']], answer['brokers'], answer['controller_id']), ([42, 42], [], -1))


def m7_who_is_there(b):
    """The broker under the address that it was asked at, as controller and leader; no bits of rights unless asked for."""
    topic = b.topic()
    answer = ask_metadata(b, [topic])
    nodes = {broker['node_id']: (broker['host'], broker['port']) for broker in answer['brokers']}
    same(list(nodes.values()), [b.address])
    partition = answer['topics'][0]['partitions'][0]
    same([partition['leader_id'], partition['replica_nodes'], partition['isr_nodes'], partition['offline_replicas']],
         [answer['controller_id'], [answer['controller_id']], [answer['controller_id']], []])
    same(answer['topics'][0]['topic_authorized_operations'], -2147483648)


def m9_coordinators(b):
    """Of groups, one or (from version 4 on) several; a kind that is none is INVALID_REQUEST."""
    names = ['m9-a', 'm9-b', 'm9-ü']

    def found():
        answer = b.ask('find_coordinator', 4, {'key_type': 0, 'coordinator_keys': names})['coordinators']
        return {one['key']: (one['error_code'], one['host'], one['port']) for one in answer}
    b.until('they have coordinators', lambda: found() == {name: (0, *b.address) for name in names})
    answer = b.ask('find_coordinator', 2, {'key': names[0], 'key_type': 0})
    same((answer['error_code'], answer['host'], answer['port']), (0, *b.address))
    same(b.ask('find_coordinator', 2, {'key': 'x', 'key_type': 9})['error_code'], 42)


# ---- fetch ----

def f1_waiting(b):
    """Until there is enough, or the time is over; at once for a time of 0 or an error."""
    topic, link = b.topic(), b.link()
    b.put(topic, b'x' * 1000)

    def timed(offset, **more):
        begin = time.monotonic()
        b.fetch(topic, offset, **more)
        return time.monotonic() - begin
    check(timed(0, wait_ms=5000) < 1, 'there was something')
    check(timed(1, wait_ms=0) < 1, 'no time to wait')
    check(timed(99, wait_ms=5000) < 1, 'an error')
    check(0.4 < timed(1, wait_ms=500) < 2, 'nothing there')
    check(0.4 < timed(0, wait_ms=500, min_bytes=100_000) < 2, 'not enough there')
    link.send('fetch', 4, {'replica_id': -1, 'max_wait_ms': 10_000, 'min_bytes': 1, 'max_bytes': 1 << 20, 'isolation_level': 0, 'topics': [
        {'topic': topic, 'partitions': [{'partition': 0, 'fetch_offset': 1, 'partition_max_bytes': 1 << 20}]}]})
    check(link.silent(0.2), 'it did not wait')
    b.put(topic, b'now')
    begin = time.monotonic()
    answer = link.receive('fetch', 4)['responses'][0]['partitions'][0]
    same([value for _, _, _, value in records_of(answer['records'])], [b'now'])
    check(time.monotonic() - begin < 1, 'it was not woken')


class Session:
    """A fetch session, asked step by step."""

    def __init__(self, b):
        self.b, self.id, self.epoch, self.link = b, 0, 0, b.link()

    def ask(self, wanted=None, forgotten=None, **more):
        """wanted, forgotten: {topic: {partition: offset}}, {topic: [partition]}."""
        topics = [{'topic': topic, 'partitions': [{'partition': partition, 'fetch_offset': offset, 'partition_max_bytes': 1 << 20}
                                                  for partition, offset in partitions.items()]} for topic, partitions in (wanted or {}).items()]
        answer = self.link.ask('fetch', 11, {
            'replica_id': -1, 'max_wait_ms': 0, 'min_bytes': 1, 'max_bytes': 1 << 20, 'isolation_level': 0, 'session_id': self.id,
            'session_epoch': self.epoch, 'topics': topics, 'rack_id': '',
            'forgotten_topics_data': [{'topic': topic, 'partitions': partitions} for topic, partitions in (forgotten or {}).items()], **more})
        if answer['error_code'] == 0:
            self.id, self.epoch = answer['session_id'], self.epoch + 1
        return answer

    def values(self, *arguments, **more):
        answer = self.ask(*arguments, **more)
        same(answer['error_code'], 0)
        return {(topic['topic'], p['partition_index']): [value for _, _, _, value in records_of(p['records'] or b'')]
                for topic in answer['responses'] for p in topic['partitions']}


def s1_full_and_incremental(b):
    """The first answer has every partition; later ones those with something new, of partitions that were not named again."""
    topic, session = b.topic(partitions=2), Session(b)
    same(session.values({topic: {0: 0, 1: 0}}), {(topic, 0): [], (topic, 1): []})
    check(session.id != 0, 'no session')
    same(session.values(), {}, 'nothing new')
    same(b.produce(topic, batch(b'a'), 1)['error_code'], 0)
    same(session.values(), {(topic, 1): [b'a']})
    same(session.values({topic: {1: 1}}, {topic: [0]}), {}, 'one is read on, the other forgotten')
    same(b.produce(topic, batch(b'b'), 0)['error_code'], 0)
    same(session.values(), {}, 'the forgotten one')


def s3_what_is_no_session(b):
    """An id that nobody has, an epoch out of order; said of the whole request."""
    topic, session = b.topic(), Session(b)
    session.values({topic: {0: 0}})
    same((session.ask(session_epoch=7)['error_code'], session.ask(session_id=session.id ^ 1)['error_code']), (71, 70))
    session.epoch = -1
    session.ask()
    session.epoch = 2
    same(session.ask()['error_code'], 70, 'closed by epoch -1')
