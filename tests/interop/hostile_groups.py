# SPDX-License-Identifier: Apache-2.0
"""Bad input about groups, as in hostile.py: crowds of members that are none, commits without end, names of odd bytes. The
group it is about gets well again, and neither another group nor anybody else notices.

Not seen with Apache Kafka yet, which reads names that are no UTF-8 as other names; here they are kept as they are.
"""

import os
import selectors
import socket
import struct
import sys
import threading
import time
import types

import broker as brokers
import clients
import wire
from broker import until
from hostile import MIB, small_broker
from matrix import Skip, check, make_topic

sys.path.insert(0, os.path.join(clients.TOP, 'tests', 'oracle'))
import frames  # noqa: E402

TOO_LARGE, NOT_AVAILABLE, ILLEGAL_GENERATION, UNKNOWN, REBALANCING, ID_REQUIRED, FENCED = 12, 15, 22, 25, 27, 79, 82
SESSION_MS = 6000  # the shortest that a broker allows
WAIT_S_MAX = 2


class Link(wire.Connection):
    """Requests and answers as trees."""

    def post(self, api, version, tree, client_id='interop'):
        self.correlation_id += 1
        self.socket.sendall(wire.frame(frames.APIS[api].frame(version, self.correlation_id, client_id, tree)))

    def read(self, api, version):
        return frames.APIS[api].answer(version, self._exactly(struct.unpack('>i', self._exactly(4))[0]))[1]

    def ask(self, api, version, tree, client_id='interop'):
        self.post(api, version, tree, client_id)
        return self.read(api, version)


def join_of(group, member_id='', instance=None, session_ms=SESSION_MS):
    return {'group_id': group, 'session_timeout_ms': session_ms, 'rebalance_timeout_ms': session_ms, 'member_id': member_id,
            'group_instance_id': instance, 'protocol_type': 'test', 'protocols': [{'name': 'any', 'metadata': b'wishes'}]}


def commit_of(group, topic, partitions, offset, metadata='', **whose):
    return {'group_id': group, 'generation_id_or_member_epoch': -1, 'member_id': '', **whose, 'topics': [{'name': topic, 'partitions': [
        {'partition_index': partition, 'committed_offset': offset, 'committed_metadata': metadata} for partition in partitions]}]}


def errors_of(answer):
    return {partition['error_code'] for topic in answer['topics'] for partition in topic['partitions']}


class Member:
    """One that does what it should."""

    def __init__(self, run, group, instance=None, session_ms=60_000):
        self.group, self.instance, self.session_ms, self.id, self.generation = group, instance, session_ms, '', -1
        self.link = Link(run.address, 60)
        key = {'key_type': 0, 'coordinator_keys': [group]}
        until('a coordinator', lambda: self.link.ask('find_coordinator', 4, key)['coordinators'][0]['error_code'] == 0)
        until('it has read', lambda: self.fetched() is not None)

    def fetched(self):
        answer = self.link.ask('offset_fetch', 7, {'group_id': self.group, 'topics': None, 'require_stable': False})
        return None if answer['error_code'] else {
            (topic['name'], p['partition_index']): (p['committed_offset'], p['metadata']) for topic in answer['topics'] for p in topic['partitions']}

    def whose(self):
        return {'group_id': self.group, 'generation_id': self.generation, 'member_id': self.id, 'group_instance_id': self.instance}

    def join(self):
        """How many are in it, or None for those that are led."""
        while True:
            answer = self.link.ask('join_group', 7, join_of(self.group, self.id, self.instance, self.session_ms))
            if answer['error_code'] == UNKNOWN:  # its session has ended while it was away
                self.id = ''
                continue
            check(answer['error_code'] in (0, ID_REQUIRED), f'a join answers {wire.name_of(answer["error_code"])}')
            self.id = answer['member_id']
            if answer['error_code'] == 0:
                self.generation = answer['generation_id']
                return len(answer['members']) if answer['leader'] == self.id else None

    def sync(self, assignment=b'all'):
        return self.link.ask('sync_group', 3, {**self.whose(), 'assignments': [{'member_id': self.id, 'assignment': assignment}]})['error_code']

    def beat(self):
        return self.link.ask('heartbeat', 3, self.whose())['error_code']

    def settle(self, wait_s=60):
        """Until it is alone in a stable group."""
        end = time.monotonic() + wait_s
        while True:
            count = self.join()
            if self.sync() == 0 and count == 1 and self.beat() == 0:
                return self
            check(time.monotonic() < end, f'not alone within {wait_s} s: {count} members')
            while self.beat() == 0:
                check(time.monotonic() < end, f'not alone within {wait_s} s: {count} members')
                time.sleep(0.2)


class Neighbour:
    """Another group, whose member beats all the time: nothing happens to it, and its answers come soon."""

    def __init__(self, run):
        self.member = Member(run, run.topic('neighbour'), session_ms=SESSION_MS).settle()
        self.errors, self.worst_s, self.over = set(), 0, threading.Event()
        self.thread = threading.Thread(target=self.live)

    def live(self):
        """Once at least, however soon it is over."""
        while True:
            begin = time.monotonic()
            self.errors.add(self.member.beat())
            self.worst_s = max(self.worst_s, time.monotonic() - begin)
            if self.over.wait(0.1):
                break

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.over.set()
        self.thread.join()
        if kind is None:
            check(self.errors == {0}, f'the other group heard {[wire.name_of(error) for error in self.errors]}')
            check(self.worst_s < WAIT_S_MAX, f'the other group waited {self.worst_s:.1f} s')
        self.member.link.socket.close()


# --- members -----------------------------------------------------------------------------------------------------

def zombies(run):
    """Who was fenced, who is of another generation, who was never there: each is told so, a hundred times in a row, and the
    member goes on."""
    topic = make_topic(run, run.topic('zombies'))
    old = Member(run, run.topic('zombies'), 'one').settle()
    member = Member(run, old.group, 'one')
    member.join()
    check(member.id != old.id and member.sync() == 0, 'it takes the place of the first')
    check(errors_of(member.link.ask('offset_commit', 7, commit_of(
        old.group, topic, [0], 7, generation_id_or_member_epoch=member.generation, member_id=member.id, group_instance_id='one'))) == {0}, 'commit')
    whose = {FENCED: old.whose(), ILLEGAL_GENERATION: {**member.whose(), 'generation_id': 99},
             UNKNOWN: {**member.whose(), 'member_id': 'nobody', 'group_instance_id': None}}
    with Neighbour(run), Link(run.address, 60) as link:
        for error, one in whose.items():
            asked = {'heartbeat': one, 'sync_group': {**one, 'assignments': [{'member_id': one['member_id'], 'assignment': b'mine'}]},
                     'offset_commit': commit_of(old.group, topic, [0], 99, generation_id_or_member_epoch=one['generation_id'], member_id=one['member_id'],
                                                group_instance_id=one['group_instance_id'])}
            for api, version in (('heartbeat', 3), ('sync_group', 3), ('offset_commit', 7)):
                for _ in range(100):
                    link.post(api, version, asked[api])
                answers = [link.read(api, version) for _ in range(100)]
                got = {e for answer in answers for e in (errors_of(answer) if api == 'offset_commit' else {answer['error_code']})}
                check(got == {error}, f'{api}: {[wire.name_of(e) for e in got]}, not {wire.name_of(error)}')
        got = {link.ask('join_group', 7, join_of(old.group, old.id, 'one'))['error_code'] for _ in range(100)}
        check(got == {FENCED}, f'join: {[wire.name_of(error) for error in got]}')
    check(member.beat() == 0 and member.fetched() == {(topic, 0): (7, '')}, f'the member: {member.beat()}, {member.fetched()}')


def half_joined(run):
    """2,000 members that were given an id and never came back, 200 that vanish while they wait to be let in: when their sessions
    are over, who stays is alone."""
    group = run.topic('half')
    member = Member(run, group)
    with Neighbour(run):
        for _ in range(20):
            with Link(run.address, 60) as link:
                for _ in range(100):
                    link.post('join_group', 7, join_of(group))
                got = {link.read('join_group', 7)['error_code'] for _ in range(100)}
                check(got == {ID_REQUIRED}, f'{[wire.name_of(error) for error in got]}')
        for _ in range(200):
            with Link(run.address) as link:
                link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                link.post('join_group', 3, join_of(group))
        member.settle()


def joins_and_leaves(run):
    """Members that come and go, 5,000 of them, while one would like to stay."""
    group, width, rounds = run.topic('revolving'), 50, 100
    member = Member(run, group).settle()
    names = [f'guest-{index}' for index in range(width)]
    guests, door = [Link(run.address, 60) for _ in names], Link(run.address, 60)
    begin = time.monotonic()
    with Neighbour(run):
        for _ in range(rounds):
            for guest, name in zip(guests, names):
                guest.post('join_group', 5, join_of(group, '', name))
            left = names
            while left:  # a connection of its own: who has not been let in yet is asked to leave again
                answer = door.ask('leave_group', 3, {'group_id': group, 'members': [{'member_id': '', 'group_instance_id': name} for name in left]})
                left = [gone['group_instance_id'] for gone in answer['members'] if gone['error_code']]
            for guest in guests:
                error = guest.read('join_group', 5)['error_code']
                check(error in (0, UNKNOWN), f'a join that was left answers {wire.name_of(error)}')
    took = time.monotonic() - begin
    member.settle()
    for link in guests + [door]:
        link.socket.close()
    return f'{2 * width * rounds / took * 60:,.0f} joins and leaves a minute'


def large_assignment(run):
    """A leader assigns 50 MB: no record of __consumer_offsets holds that. It is told so, again and again, and then is modest."""
    member = Member(run, run.topic('large')).settle()
    with Neighbour(run):
        for _ in range(3):
            member.join()
            error = member.sync(bytes(50 * MIB))
            check(error == -1, f'50 MB are answered with {wire.name_of(error)}')
    member.settle()
    with Link(run.address) as link:
        found = link.ask('describe_groups', 5, {'groups': [member.group]})['groups'][0]
    check([one['member_assignment'] for one in found['members']] == [b'all'], f'{found["group_state"]}')


# --- commits -----------------------------------------------------------------------------------------------------

def commit_flood(run):
    """32 MB of commits as fast as they go, with as many words as are allowed; with one more they are refused, and cost nothing."""
    partitions, times, words = range(100), 20, 'x' * 4096
    topic = make_topic(run, run.topic('flood'), len(partitions))
    writers = [Member(run, run.topic('flood')) for _ in range(4)]
    with Neighbour(run):
        for number in range(times):
            for writer in writers:
                writer.link.post('offset_commit', 7, commit_of(writer.group, topic, partitions, number, words))
        run.watch.look()
        for writer in writers:
            got = {error for _ in range(times) for error in errors_of(writer.link.read('offset_commit', 7))}
            check(got == {0}, f'commits answer {[wire.name_of(error) for error in got]}')
            for size in (4097, 32767):
                got = errors_of(writer.link.ask('offset_commit', 7, commit_of(writer.group, topic, partitions, 99, 'x' * size)))
                check(got == {TOO_LARGE}, f'{size} bytes: {[wire.name_of(error) for error in got]}')
            check(writer.fetched() == {(topic, partition): (times - 1, words) for partition in partitions}, 'what is committed')


def greedy_groups(run):
    """One client commits as many words in as many groups as there is memory for. Who has committed before goes on committing (it
    once heard INVALID_COMMIT_OFFSET_SIZE, which ends a consumer), who comes new is to come back, and when they are gone it is let in."""
    words, partitions = 'x' * 4096, range(100)
    with small_broker(run, '128M') as broker:
        there = types.SimpleNamespace(address=broker.address)
        topic = make_topic(there, 'topic', len(partitions))
        honest = Member(there, 'honest').settle()
        with Link(broker.address, 60) as link:
            def commit(group, parts, what, offset, **whose):
                return errors_of(link.ask('offset_commit', 7, commit_of(group, topic, parts, offset, what, **whose)))
            whose = {'generation_id_or_member_epoch': honest.generation, 'member_id': honest.id}
            check(commit('honest', [0, 1], 'note', 1, **whose) == {0}, 'a commit')
            greedy = [f'greedy-{number}' for number in range(60)]
            got = {error for group in greedy for error in commit(group, partitions, words, 1)}
            check(got == {0, NOT_AVAILABLE}, f'the greedy one: {[wire.name_of(error) for error in got]}')
            for number in range(100):
                check(commit('honest', [0, 1], 'note', number, **whose) == {0}, 'what was committed before')
            check(commit('honest', [2], '', 5, **whose) == {NOT_AVAILABLE}, 'another partition')
            check(commit('new', [0], '', 5) == {NOT_AVAILABLE}, 'another group')
            check(honest.beat() == 0 and honest.fetched() == {(topic, 0): (99, 'note'), (topic, 1): (99, 'note')}, f'{honest.fetched()}')
            link.ask('delete_groups', 1, {'groups_names': greedy})
            check(commit('new', [0], '', 5) == commit('honest', [2], '', 5, **whose) == {0}, 'there is room again')


NAMES = ('a\0b', 'line\nbreak', '\x1b[31mred', ' ', 'ü\U0001f98a', '../../etc/passwd', '"\\\'', '%s%n', 'x' * 32767)
NO_UTF8 = (b'\xff\xfe', b'\xc3(')


def odd_names(run):
    """Groups that are named with any bytes are groups: committed, fetched, listed, described, deleted, each under its name."""
    topic = make_topic(run, run.topic('names'))
    names = list(NAMES) + ([] if run.is_kafka else [name.decode('utf-8', 'surrogateescape') for name in NO_UTF8])
    with Neighbour(run), Link(run.address, 60) as link:
        for number, name in enumerate(names):
            Member(run, name)  # its coordinator is there
            got = errors_of(link.ask('offset_commit', 7, commit_of(name, topic, [0], number)))
            check(got == {0}, f'{name[:20]!r}: {[wire.name_of(error) for error in got]}')
        listed = [group['group_id'] for group in link.ask('list_groups', 4, {'states_filter': []})['groups']]
        check(set(names) <= set(listed), f'not listed: {[name[:20] for name in names if name not in listed]}')
        for number, name in enumerate(names):
            answer = link.ask('offset_fetch', 7, {'group_id': name, 'topics': None, 'require_stable': False})
            check([p['committed_offset'] for p in answer['topics'][0]['partitions']] == [number], f'{name[:20]!r}: another offset')
            found = link.ask('describe_groups', 5, {'groups': [name]})['groups'][0]
            check((found['group_id'], found['group_state']) == (name, 'Empty'), f'{name[:20]!r} is {found["group_state"]}')
        gone = link.ask('delete_groups', 1, {'groups_names': names})['results']
        check({(one['group_id'], one['error_code']) for one in gone} == {(name, 0) for name in names}, 'deleted')


# --- the rest ----------------------------------------------------------------------------------------------------

def connection_burst(run):
    """5,000 connections as fast as they can be made, each with a question: all are answered."""
    count, answered, selector = 5000, 0, selectors.DefaultSelector()
    question = wire.frame(wire.header(wire.API_VERSIONS, 0, 1))
    begin = time.monotonic()
    crowd = [socket.socket() for _ in range(count)]
    try:
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(run.address)
            selector.register(one, selectors.EVENT_WRITE)
        took = time.monotonic() - begin
        run.watch.look()
        while answered < count:
            check(time.monotonic() < begin + 30, f'{answered} of {count} are answered after 30 s')
            for key, mask in selector.select(1):
                if mask & selectors.EVENT_WRITE:
                    key.fileobj.sendall(question)
                    selector.modify(key.fileobj, selectors.EVENT_READ)
                else:
                    check(key.fileobj.recv(65536), 'a connection was closed')
                    selector.unregister(key.fileobj)
                    answered += 1
    finally:
        for one in crowd:
            one.close()
        selector.close()
    return f'{count} in {took:.1f} s, all answered after {time.monotonic() - begin:.1f} s'


def poisoned_offsets(run):
    """Records of __consumer_offsets that are none: the next start skips each with a warning that names its place, and all others are
    there."""
    if run.is_kafka:
        raise Skip('needs a broker of its own')
    folder, arguments = run.folder + '-poisoned', ('--memory', '128M', '--cores', '1')
    words = struct.pack('>h', 1) + wire.string('group') + wire.string('topic')
    offset = struct.pack('>hqihq', 3, 77, -1, 0, 0)
    poison = [(b'\0', offset), (words, offset), (words + wire.i32(0), b'\0\x09nonsense'), (struct.pack('>h', 2) + wire.string('group'), b'\0\3\0\5half')]
    broker = brokers.start(run.binary, folder, None, 30, arguments)
    try:
        there = types.SimpleNamespace(address=broker.address)
        topic = make_topic(there, 'topic')
        member = Member(there, 'group')
        check(errors_of(member.link.ask('offset_commit', 7, commit_of('group', topic, [0], 5))) == {0}, 'commit')
        with Link(broker.address) as link:
            home = next(p for p in range(50) if wire.list_offset(link, '__consumer_offsets', p, -1)[2])
            for key, value in poison:
                data = wire.batch([None], wire.record_bytes(0, key, value))
                answer = link.ask('produce', 9, {'acks': -1, 'timeout_ms': 9000, 'topic_data': [{'name': '__consumer_offsets', 'partition_data': [
                    {'index': home, 'records': data}]}]}, '__admin_client')
                check(answer['responses'][0]['partition_responses'][0]['error_code'] == 0, 'produce')
        check(brokers.stop(broker) == 0, 'a stop')
        broker = brokers.start(run.binary, folder, broker.address, 30, arguments)
        check(Member(there, 'group').fetched() == {(topic, 0): (5, '')}, 'what was committed')
        with open(os.path.join(folder, 'broker.log')) as log:
            told = [line for line in log if 'event=group.record_skipped' in line]
        check(len(told) == len(poison) and all(f'partition={home} offset=' in line and 'reason=' in line for line in told), f'{told}')
    finally:
        status = brokers.stop(broker)
    check(status == 0, f'after TERM the broker exits with {status}')


CASES = [(case.__name__.replace('_', '-'), case) for case in (
    zombies, half_joined, joins_and_leaves, large_assignment, commit_flood, greedy_groups, odd_names, connection_burst, poisoned_offsets)]
