# SPDX-License-Identifier: Apache-2.0
"""Consumer groups with real clients: members are client processes of their own, polled side by side, so that each of
them takes part in a rebalance while another one waits in its own call.

`seed` is the story of two consumers and three partitions as it is usually told to beginners, in its own words. `away`
takes two minutes and is not in a brief run. Each of these two has a broker of its own."""

import concurrent.futures
import contextlib
import os
import socket
import struct
import sys
import threading
import time

import broker as brokers
import clients
import wire
from clients import Refused
from kcat import Failed
from matrix import check, make_topic, need
from records import Record

sys.path.insert(0, os.path.join(clients.TOP, 'tests', 'oracle'))
import frames  # noqa: E402

SESSION_MS = 6000  # the shortest that a broker allows


class Member:
    """One consumer in a group: a client process, what it was assigned, and what it has read."""

    def __init__(self, run, client, group, topic, reset='earliest', protocol='classic', commits=False):
        need(client, 'groups')
        self.client = clients.another(client, run.address)
        self.topic, self.assigned, self.read, self.failure, self.commits = topic, [], [], None, commits
        self.client.join(group, topic, reset, SESSION_MS, protocol)

    def poll(self, ms=300):
        try:
            self.assigned, read = self.client.poll(ms)
            self.read += read
            for partition, offset in dict(read).items() if self.commits else ():
                self.commit(offset + 1, partition)
        except (Refused, Failed) as refused:
            self.failure = refused

    def commit(self, offset, partition=0):
        self.client.commit(self.topic, partition, offset)

    def leave(self):
        changes = self.client.leave()
        self.client.close()
        return changes

    def kill(self):
        """kill -9: it says goodbye to nobody."""
        self.client.kill()


def poll_until(what, members, condition, wait_s=60):
    """Each member polls on its own, because older clients wait in poll() until all others have joined; so nobody stops
    before nobody waits."""
    begin, is_over, finished = time.monotonic(), threading.Event(), set()

    def run(member):
        while len(finished) < len(members):
            is_last = is_over.is_set()
            member.poll()
            if is_last:
                finished.add(member)

    with concurrent.futures.ThreadPoolExecutor(len(members)) as pool:
        done = [pool.submit(run, member) for member in members]
        try:
            while not condition():
                found = [(member.assigned, len(member.read), str(member.failure or '')) for member in members]
                check(time.monotonic() < begin + wait_s, f'{what}: not within {wait_s} s: {found}')
                time.sleep(0.1)
        finally:
            is_over.set()
        for future in done:
            future.result()


def share(members, partitions, alone=None):
    """Every partition has one owner, and nobody more than their share (or all of it, who is alone)."""
    def is_so():
        owned = sorted(partition for member in members for partition in member.assigned)
        sizes = [len(member.assigned) for member in members]
        return owned == list(range(partitions)) and (alone is not None or max(sizes) - min(sizes) <= 1)
    poll_until(f'{len(members)} members share {partitions} partitions', members, is_so)


def write(client, topic, first, count, partition=0):
    now_ms = int(time.time() * 1000)
    client.produce(topic, [Record(partition, now_ms, b'key', b'Message %d' % i) for i in range(first, first + count)])


def read_offsets(member, offsets, partition=0):
    poll_until(f'records {offsets}', [member], lambda: len(member.read) >= len(offsets) or member.failure)
    check(member.read == [(partition, offset) for offset in offsets], f'read {member.read}, {member.failure}')


def consume(run, client):
    """Reads, commits, goes, and the next one goes on where it was; also after a restart of the broker."""
    topic, group = make_topic(run, run.topic('group')), run.topic('consume')
    write(client, topic, 0, 6)
    member = Member(run, client, group, topic)
    read_offsets(member, range(6))
    member.commit(6)
    member.leave()
    write(client, topic, 6, 1)
    member = Member(run, client, group, topic)
    read_offsets(member, [6])
    member.leave()  # without a commit: it is read again
    if run.broker.process:
        brokers.kill(run.broker)
        run.start(run.address)
    member = Member(run, client, group, topic)
    read_offsets(member, [6])
    member.leave()


def rebalance(run, client):
    topic, group = make_topic(run, run.topic('group'), 3), run.topic('rebalance')
    members = [Member(run, client, group, topic)]
    share(members, 3)
    members.append(Member(run, client, group, topic))
    share(members, 3)
    members.append(Member(run, client, group, topic))
    share(members, 3)
    members.pop().leave()
    share(members, 3)
    members.pop().kill()
    share(members, 3)
    members.pop().leave()


def kip_848(run, client):
    """Members of the newer protocol share; a third one joins, one leaves, one is killed; what is committed is not read again."""
    need(client, 'kip-848')
    topic, group = make_topic(run, run.topic('group'), 3), run.topic('kip-848')

    def member():
        return Member(run, client, group, topic, protocol='consumer')
    members = [member()]
    share(members, 3)
    check(kind_of(run, group) == 'consumer', f'the group is of kind {kind_of(run, group)}')
    members += [member()]
    share(members, 3)
    members += [member()]
    share(members, 3)
    members.pop().leave()
    share(members, 3)
    members.pop().kill()
    share(members, 3)
    write(client, topic, 0, 6)
    read_offsets(members[0], range(6))
    members[0].commit(6)
    members.pop().leave()
    write(client, topic, 6, 1)
    members = [member()]
    read_offsets(members[0], [6])
    members.pop().leave()


def kind_of(run, group):
    """As ListGroups tells it: classic, consumer; None."""
    api = frames.APIS['list_groups']
    with socket.create_connection(run.address, timeout=10) as link:
        frame = api.frame(5, 1, 'interop', {'states_filter': [], 'types_filter': []})
        link.sendall(struct.pack('>i', len(frame)) + frame)
        answers = link.makefile('rb')
        answer = api.answer(5, answers.read(struct.unpack('>i', answers.read(4))[0]))[1]
    return next((found['group_type'].lower() for found in answer['groups'] if found['group_id'] == group), None)


class Stream:
    """Records that come without an end, to every partition, until somebody says so."""

    def __init__(self, run, topic, partitions):
        self.address, self.topic, self.partitions = run.address, topic, partitions
        self.ends, self.is_over = [0] * partitions, threading.Event()
        self.thread = threading.Thread(target=self.flow)
        self.thread.start()

    def flow(self):
        with wire.Connection(self.address) as connection:
            while not self.is_over.wait(0.02):
                for partition in range(self.partitions):
                    error, _ = wire.produce(connection, self.topic, partition, wire.batch([b'record']))
                    self.ends[partition] += error == 0

    def end(self):
        self.is_over.set()
        self.thread.join()


def owners_apart(histories):
    """Nobody is given a partition before the one who had it has given it back. What a member has when it goes it gives back then."""
    events = sorted((ns, how == '+', partition, member) for member, history in enumerate(histories) for how, partition, ns in history)
    owner = {}
    for _, is_given, partition, member in events:
        if is_given:
            check(owner.get(partition, member) == member, f'partition {partition} is given to member {member} while member {owner.get(partition)} has it')
            owner[partition] = member
        elif owner.get(partition) == member:
            del owner[partition]
    return len(events)


def migration(run, client):
    """A classic group is rolled to the newer protocol, member by member, and back, while it reads a stream: every record is read,
    and no partition has two readers at any time."""
    need(client, 'kip-848')
    if client.family != 'java':
        raise clients.Cannot('only Java tells when it is given what')
    partitions = 6
    topic, group = make_topic(run, run.topic('group'), partitions), run.topic('migration')
    gone, histories, kinds = [], [], []

    def member(protocol):
        return Member(run, client, group, topic, protocol=protocol, commits=True)

    def step(comes=None, goes=None):
        """Somebody comes, or goes, and the rest share."""
        if comes:
            members.append(member(comes))
        if goes is not None:
            gone.append(members.pop(goes))
            histories.append(gone[-1].leave())
        share(members, partitions)
        kinds.append(kind_of(run, group))
    members, stream = [], Stream(run, topic, partitions)
    try:
        for how in ({'comes': 'classic'}, {'comes': 'classic'},             # as it was
                    {'comes': 'consumer'}, {'goes': 0}, {'comes': 'consumer'}, {'goes': 0},  # up
                    {'comes': 'classic'}, {'goes': 0}, {'comes': 'classic'}, {'goes': 0}):  # and back
            step(**how)
    finally:
        stream.end()

    def all_read():
        read = {place for one in gone + members for place in one.read}
        return all((partition, offset) in read for partition in range(partitions) for offset in range(stream.ends[partition]))
    poll_until(f'every record up to {stream.ends}', members, all_read)
    histories += [one.leave() for one in members]
    check(kinds == ['classic'] * 2 + ['consumer'] * 7 + ['classic'], f'the group was {kinds}')
    return f'{sum(stream.ends)} records, {owners_apart(histories)} changes of owners'


def reset(run, client):
    topic = make_topic(run, run.topic('group'))
    write(client, topic, 0, 3)
    member = Member(run, client, run.topic('latest'), topic, 'latest')
    share([member], 1)
    for _ in range(3):
        member.poll()
    write(client, topic, 3, 1)
    read_offsets(member, [3])
    member.leave()
    member = Member(run, client, run.topic('earliest'), topic, 'earliest')
    read_offsets(member, range(4))
    member.leave()


def reset_none(run, client):
    need(client, 'reset-none')
    topic = make_topic(run, run.topic('group'))
    write(client, topic, 0, 3)
    member = Member(run, client, run.topic('none'), topic, 'none')
    poll_until('an error', [member], lambda: member.failure or member.read)
    check(member.failure and not member.read, f'without a reset {member.read} were read')
    check('offset' in str(member.failure).lower(), f'without a reset: {member.failure}')
    member.leave()


class Own:
    """A broker for one case, beside the one of the run; it may be killed."""

    def __init__(self, run, name, *settings):
        self.topic, self.binary, self.folder = run.topic, run.binary, os.path.join(clients.BUILD, f'broker-{name}')
        self.arguments = ['--admin-listen', 'off', '--cores', '1', *settings]
        self.broker = brokers.start(self.binary, self.folder, None, 30, self.arguments)
        self.address = self.broker.address

    def kill_and_restart(self):
        brokers.kill(self.broker)
        self.broker = brokers.start(self.binary, self.folder, self.address, 30, self.arguments)


@contextlib.contextmanager
def broker_of_its_own(run, name, *settings):
    own = Own(run, name, *settings)
    try:
        yield own
        check(brokers.stop(own.broker) == 0, 'the broker did not stop as it should')
    finally:
        brokers.kill(own.broker)


def seed(run, client):
    need(client, 'groups')
    if run.broker.process:
        with broker_of_its_own(run, f'seed-{client.name}') as own:
            seed_story(own, client, own.kill_and_restart)
    else:
        seed_story(run, client, lambda: None)


def seed_story(run, client, restart):
    client = clients.another(client, run.address)
    group = run.topic('my-group')
    # Two consumers in my-group on a topic with 1 partition: one of them reads, the other has nothing to do.
    topic = make_topic(run, run.topic('test-topic'))
    pair = [Member(run, client, group, topic), Member(run, client, group, topic)]
    poll_until('one of two owns the partition', pair, lambda: sorted(len(m.assigned) for m in pair) == [0, 1])
    for member in pair:
        member.leave()
    # And on 3 partitions; a third joins; one is killed, and the others take over what was its.
    topic = make_topic(run, run.topic('test-topic'), 3)
    members = [Member(run, client, group, topic), Member(run, client, group, topic)]
    share(members, 3)
    members.append(Member(run, client, group, topic))
    share(members, 3)
    members.pop(0).kill()
    share(members, 3)
    for member in members:
        member.leave()
    # A consumer that read the messages 0 to 5 commits 6, and another goes on at 6; the broker was killed in between.
    topic = make_topic(run, run.topic('test-topic'))
    write(client, topic, 0, 6)
    member = Member(run, client, group, topic)
    read_offsets(member, range(6))
    member.commit(6)
    member.leave()
    restart()
    write(client, topic, 6, 4)
    # It crashes after it has read 6 to 9 and before it commits: they are delivered again.
    member = Member(run, client, group, topic)
    read_offsets(member, range(6, 10))
    member.kill()
    member = Member(run, client, group, topic)
    read_offsets(member, range(6, 10))
    member.commit(10)
    member.leave()
    client.close()


def away(run, client):
    """Records are kept for a minute, and the consumer is away for two: what is gone is gone, it goes on as its reset says, and
    nobody else notices. On a broker of its own, which looks for old segments every second."""
    need(client, 'reset-none')
    if run.is_kafka or not run.broker.process:
        raise clients.Cannot('needs a broker of its own')
    with broker_of_its_own(run, f'away-{client.name}', '--override', 'log.retention.check.interval.ms=1000') as own:
        away_for_two_minutes(own, client)


def away_for_two_minutes(run, client):
    writer = clients.another(client, run.address)
    minute = make_topic(run, 'minute', 1, {'retention.ms': 60_000, 'segment.ms': 10_000})
    kept, resets = make_topic(run, 'kept'), ('earliest', 'latest', 'none')
    for topic, groups in ((minute, resets), (kept, ['kept'])):
        write(writer, topic, 0, 6)
        for group in groups:
            member = Member(run, client, group, topic)
            read_offsets(member, range(6))
            member.commit(6)
            member.leave()
    end = 6
    for _ in range(24):  # two minutes
        write(writer, minute, end, 1)
        end += 1
        time.sleep(5)
    write(writer, kept, 6, 3)
    with wire.Connection(run.address) as connection:
        start = wire.list_offset(connection, minute, 0, -2)[2]
    check(6 < start <= end - 12, f'a minute of {end} records begins at {start}')
    member = Member(run, client, 'earliest', minute, 'earliest')
    poll_until('what is left', [member], lambda: member.read and member.read[-1][1] == end - 1)
    first = member.read[0][1]  # a second went by
    check(start <= first <= start + 2 and member.read == [(0, offset) for offset in range(first, end)], f'from {start}: {member.read}')
    member.leave()
    member = Member(run, client, 'latest', minute, 'latest')
    share([member], 1)
    for _ in range(3):
        member.poll()
    write(writer, minute, end, 1)
    read_offsets(member, [end])
    member.leave()
    member = Member(run, client, 'none', minute, 'none')
    poll_until('an error', [member], lambda: member.failure or member.read)
    check(member.failure and not member.read, f'without a reset {member.read} were read')
    member.leave()
    member = Member(run, client, 'kept', kept)
    read_offsets(member, range(6, 9))
    member.leave()
    writer.close()


RESTARTING = [('consume', consume)]  # the broker, so nothing else may run beside it
CASES = [('rebalance', rebalance), ('kip-848', kip_848), ('migration', migration), ('reset', reset), ('reset-none', reset_none), ('seed', seed), ('away', away)]


# --- kcat --------------------------------------------------------------------------------------------------------

def kcat(run, client):
    """kcat -G reads to the count it was given and commits; the next one goes on."""
    topic, group = make_topic(run, run.topic('group')), run.topic('kcat')
    write(client, topic, 0, 6)
    for wanted in ([f'Message {i}' for i in range(6)], ['Message 6']):
        got = client.group_read(group, topic, len(wanted))
        check(got == wanted, f'read {got}, not {wanted}')
        write(client, topic, 6, 1)
