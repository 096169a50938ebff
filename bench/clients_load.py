# SPDX-License-Identifier: Apache-2.0
"""What loads a broker for bench/clients: some processes, each with an epoll loop over its share of the connections.

Requests are bytes that were made beforehand, patched where they differ, and answers are read by place, not by schema: so
a process sends and hears some ten thousand requests a second and is not what is measured. Each call tells what it used.
"""

import collections
import gc
import heapq
import itertools
import math
import multiprocessing
import os
import random
import resource
import select
import socket
import struct
import sys
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TOP, 'tests', 'interop'), os.path.join(TOP, 'tests', 'oracle')]
import frames  # noqa: E402
import wire  # noqa: E402

JOIN, HEARTBEAT, LEAVE, SYNC, COMMIT = 11, 12, 13, 14, 8
LOADING, NOT_AVAILABLE, NOT_COORDINATOR, ILLEGAL_GENERATION, UNKNOWN_MEMBER, REBALANCING, MEMBER_ID_REQUIRED = 14, 15, 16, 22, 25, 27, 79
TOPIC, PARTITIONS = 'clients', 12
# As consumers write them: Kafka reads them, and says so when it cannot.
SUBSCRIPTION = wire.i16(0) + wire.array([wire.string(TOPIC)]) + wire.blob(None)
ASSIGNMENT = wire.i16(0) + wire.array([wire.string(TOPIC) + wire.array([wire.i32(0)])]) + wire.blob(None)
REBALANCE_MS = 60_000
BEAT_S = 0.2  # while a group is not as it should be; how soon its members hear of that
RECONNECT_S = 0.05  # reconnect.backoff.ms
FIRES_MAX = 16  # what is due before answers are looked for again


class Failed(Exception):
    pass


def request(key, version, body):
    return wire.frame(wire.header(key, version, 0, 'clients') + body)


# --- the loop -----------------------------------------------------------------------------------------------------------

class Loop:
    def __init__(self):
        self.epoll = select.epoll()
        self.connections, self.timers, self.order = {}, [], itertools.count()
        self.over = False

    def at(self, due, what):
        heapq.heappush(self.timers, (due, next(self.order), what))

    def stop(self):
        self.over = True

    def run(self, until=math.inf):
        """Until stop(), or that time; False: the time came first."""
        self.over = False
        while not self.over:
            now, due = time.monotonic(), []
            while self.timers and self.timers[0][0] <= now:
                due.append(heapq.heappop(self.timers)[2])
            for what in due:  # what is due again by then comes after answers
                what()
            if now >= until:
                return False
            if self.over:
                break
            self.wait(min(until, self.timers[0][0] if self.timers else math.inf))
        return True

    def wait(self, until):
        rest = until - time.monotonic()
        if 0 < rest < 0.02:  # epoll's own time has milliseconds
            select.select([self.epoll], [], [], rest)
            rest = 0
        for fd, mask in self.epoll.poll(None if rest == math.inf else max(0, rest), 4096):
            connection = self.connections.get(fd)
            if connection:
                connection.ready(mask)


class Connection:
    """Answers come in order, so each request leaves behind who hears its own."""

    def __init__(self, loop, port, connected, lost=None):
        """lost: hears of a broker that refuses, resets or closes it; else that is a failure."""
        self.loop, self.connected, self.heard, self.out, self.waiting, self.lost = loop, connected, b'', b'', collections.deque(), lost
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex(('127.0.0.1', port))
        loop.connections[self.socket.fileno()] = self
        loop.epoll.register(self.socket, select.EPOLLIN | select.EPOLLOUT)

    def close(self):
        del self.loop.connections[self.socket.fileno()]
        self.socket.close()

    def ask(self, frame, hear):
        self.waiting.append(hear)
        if self.out or self.connected:
            self.out += frame
            return
        sent = self.send(frame)
        if sent < len(frame):
            self.out = bytes(frame[sent:])
            self.loop.epoll.modify(self.socket, select.EPOLLIN | select.EPOLLOUT)

    def send(self, data):
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0

    def ready(self, mask):
        try:
            if mask & select.EPOLLOUT:
                self.writable()
            if mask & ~select.EPOLLOUT:
                self.readable()
        except (Failed, ConnectionError):
            if not self.lost:
                raise
            self.close()
            self.lost()

    def writable(self):
        if self.connected:
            error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise Failed(f'connect: {os.strerror(error)}')
            connected, self.connected = self.connected, None
            connected(self)
        if self.out:
            self.out = self.out[self.send(self.out):]
        if not self.out:
            self.loop.epoll.modify(self.socket, select.EPOLLIN)

    def readable(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise Failed('the broker has closed a connection')
        if self.heard:
            data = self.heard + data
        at, size = 0, len(data)
        while size - at >= 4:
            end = at + 4 + int.from_bytes(data[at:at + 4], 'big')
            if end > size:
                break
            self.waiting.popleft()(data[at + 4:end])
            at = end
        self.heard = data[at:]


class Pacer:
    """An open loop: number k is due k / rate after its start, whatever became of those before."""

    def __init__(self, loop, start, rate, end, fire):
        self.loop, self.start, self.rate, self.end, self.fire, self.number, self.over = loop, start, rate, end, fire, 0, False
        loop.at(start, self.due)

    def due(self):
        for _ in range(FIRES_MAX):
            due = self.start + self.number / self.rate
            if due >= self.end:
                self.over = True
                return
            if due > time.monotonic():
                break
            self.fire(self.number, due)
            self.number += 1
        self.loop.at(self.start + self.number / self.rate, self.due)


# --- groups -------------------------------------------------------------------------------------------------------------

class Group:
    def __init__(self, load, name, session_ms):
        self.load, self.name, self.session_ms, self.members, self.at, self.done = load, name, session_ms, [], {}, False

    def unsettled(self):
        self.at, self.done = {}, False

    def has_become(self, member):
        """Stable is a group when as many members as it has are in one generation."""
        self.at[member.generation] = self.at.get(member.generation, 0) + 1
        if not self.done and self.at[member.generation] == len(self.members):
            self.done = True
            self.load.group_is_stable()


class Member:
    """A member of a classic group as clients since 2.2 are (KIP-394): the first JoinGroup brings the id."""

    def __init__(self, connection, group):
        self.connection, self.group, self.id, self.generation, self.beating = connection, group, '', -1, False
        group.members.append(self)

    def later(self, what):
        self.group.load.loop.at(time.monotonic() + 0.1, what)

    def who(self):
        return wire.string(self.group.name) + wire.i32(self.generation) + wire.string(self.id)

    def join(self):
        self.connection.ask(request(JOIN, 5, wire.string(self.group.name) + wire.i32(self.group.session_ms) + wire.i32(REBALANCE_MS)
                                    + wire.string(self.id) + wire.string(None) + wire.string('consumer')
                                    + wire.array([wire.string('range') + wire.blob(SUBSCRIPTION)])), self.joined)

    def joined(self, answer):
        reader = wire.Reader(answer)
        reader.take(8)
        error, self.generation, _, leader, given = reader.i16(), reader.i32(), reader.string(), reader.string(), reader.string()
        if error in (LOADING, NOT_AVAILABLE, NOT_COORDINATOR):
            self.later(self.join)
        elif error in (MEMBER_ID_REQUIRED, UNKNOWN_MEMBER):
            self.id = given if error == MEMBER_ID_REQUIRED else ''
            self.join()
        elif error:
            raise Failed(f'JoinGroup: {wire.name_of(error)}')
        else:
            self.id = given
            members = reader.array(lambda: (reader.string(), reader.string(), reader.blob())) if leader == given else ()
            self.connection.ask(request(SYNC, 3, self.who() + wire.string(None)
                                        + wire.array([wire.string(name) + wire.blob(ASSIGNMENT) for name, _, _ in members])), self.synced)

    def synced(self, answer):
        if self.told('SyncGroup', answer):
            self.group.has_become(self)
            self.beat_later(BEAT_S)

    def told(self, what, answer):
        """Joins again when told so."""
        error = struct.unpack_from('>h', answer, 8)[0]
        if error in (REBALANCING, ILLEGAL_GENERATION, UNKNOWN_MEMBER):
            if error == UNKNOWN_MEMBER:
                self.id = ''
            self.join()
        elif error:
            raise Failed(f'{what}: {wire.name_of(error)}')
        return not error

    def beat_later(self, rest):
        if not self.beating and not self.group.done:
            self.beating = True
            self.group.load.loop.at(time.monotonic() + rest, self.beat)

    def beat(self):
        if self.group.done:
            self.beating = False
        else:
            self.connection.ask(self.beat_frame(), self.beaten)

    def beat_frame(self):
        return request(HEARTBEAT, 3, self.who() + wire.string(None))

    def beaten(self, answer):
        self.beating = False
        if self.told('Heartbeat', answer):
            self.beat_later(BEAT_S)

    def leave_frame(self):
        return request(LEAVE, 2, wire.string(self.group.name) + wire.string(self.id))


# --- what a process does --------------------------------------------------------------------------------------------------

class Load:
    def __init__(self, port, share, shares):
        """share: which of them."""
        self.port, self.share, self.loop, self.connections, self.groups = port, share, Loop(), [], []
        self.shares, self.missing, self.asked, self.again, self.seen = shares, 0, 0, 0, {}

    def part(self, count):
        return range(self.share, count, self.shares)

    def one_less(self, *_):
        self.missing -= 1
        if self.missing == 0:
            self.loop.stop()

    def until_none_misses(self, count, patience_s, what):
        """When it was."""
        self.missing = count
        if count and not self.loop.run(time.monotonic() + patience_s):
            raise Failed(f'{what}: {self.missing:,} of {count:,} were missing after {patience_s} s')
        return time.monotonic()

    def connect(self, count, each=1):
        mine = len(self.part(count)) * each
        self.connections += [Connection(self.loop, self.port, self.one_less) for _ in range(mine)]
        self.until_none_misses(mine, 120, 'connections')

    def close(self):
        for connection in list(self.loop.connections.values()):
            connection.close()
        self.connections, self.groups, self.loop.timers = [], [], []

    # --- storm

    def storm(self, count, start):
        questions = [('api_versions', 2, {}), ('metadata', 8, {'topics': [{'name': TOPIC}], 'allow_auto_topic_creation': False})]
        asked = [(name, version, wire.frame(frames.APIS[name].frame(version, 1, 'clients', tree))) for name, version, tree in questions]

        def hear_metadata(answer):
            self.same_as_the_first(*asked[1][:2], answer)
            self.one_less()

        def connected(connection):
            def hear_versions(answer):
                self.same_as_the_first(*asked[0][:2], answer)
                connection.ask(asked[1][2], hear_metadata)
            connection.ask(asked[0][2], hear_versions)
        def come():
            self.connections.append(Connection(self.loop, self.port, connected, lost))

        def lost():
            """As clients do: not at once, and until it works."""
            self.again += 1
            self.loop.at(time.monotonic() + RECONNECT_S, come)
        self.seen, self.again = {}, 0
        sleep_until(start)
        for _ in self.part(count):
            come()
        return self.until_none_misses(len(self.part(count)), 120, 'metadata'), self.again

    def same_as_the_first(self, name, version, answer):
        """That one is read whole."""
        if name not in self.seen:
            tree = frames.APIS[name].answer(version, answer)[1]
            topics = tree.get('topics', [])
            if tree.get('error_code') or any(topic['error_code'] or len(topic['partitions']) != PARTITIONS for topic in topics):
                raise Failed(f'{name}: {tree}')
            self.seen[name] = answer
        elif self.seen[name] != answer:
            raise Failed(f'{name}: not what others were told')

    # --- groups

    def group_is_stable(self):
        self.one_less()

    def form(self, count, each, name, session_ms, start):
        """Groups of `each` members; the members of each connection have different groups, those of a group different
        connections; one member of each connection after the other, as a broker takes no request of a connection
        before the one in front of it has been answered. Returns when the last group was stable."""
        at_once, end = len(self.connections) // each, start
        names = [f'{name}-{number}' for number in self.part(count)]
        sleep_until(start)
        for first in range(0, len(names), at_once):
            groups = [Group(self, text, session_ms) for text in names[first:first + at_once]]
            self.groups += groups
            members = [Member(self.connections[number * each + i], group) for number, group in enumerate(groups) for i in range(each)]
            for member in members:
                member.join()
            end = self.until_none_misses(len(groups), 240, 'stable groups')
        return end

    def join_more(self, start):
        """One more member for each group, while those that are there beat; from connections that come now."""
        old, count = len(self.connections), len(self.groups)
        for group in self.groups:
            group.unsettled()
            for member in group.members:
                member.beat_later(random.random() * BEAT_S)
        self.connect(count * self.shares)
        self.loop.run(start)
        for connection, group in zip(self.connections[old:], self.groups):
            group.unsettled()
            Member(connection, group).join()
        return self.until_none_misses(count, 240, 'stable groups')

    def members(self):
        return [member for group in self.groups for member in group.members]

    def beat(self, every_s, start, seconds):
        """All members, evenly over that time. How many beats were answered, and how late the latest was."""
        members = self.members()
        asked = [(member.connection, member.beat_frame()) for member in members]
        answered = [0]

        def heard(answer):
            if answer[8:10] != b'\0\0':
                raise Failed(f'Heartbeat: {wire.name_of(struct.unpack_from(">h", answer, 8)[0])}')
            answered[0] += 1

        def fire(number, _):
            connection, frame = asked[number % len(asked)]
            connection.ask(frame, heard)
        Pacer(self.loop, start + self.share / self.shares * every_s / len(members), len(members) / every_s, start + seconds, fire)
        self.loop.run(start + seconds + 1)
        return answered[0]

    def leave(self):
        members = self.members()
        for member in members:
            member.connection.ask(member.leave_frame(), self.one_less)
        self.until_none_misses(len(members), 240, 'members that leave')
        self.groups = []

    # --- commits

    def commit(self, rate, start, warm, seconds):
        """Each member of a group commits in turn. Milliseconds from when each was due, and those of the client's own delay."""
        members, topic = self.members(), wire.string(TOPIC) + wire.i32(1) + wire.i32(0)
        # At the end: the offset, the leader's epoch, the note.
        asked = [(member.connection, bytearray(request(COMMIT, 7, member.who() + wire.string(None) + wire.i32(1) + topic + wire.i64(0)
                                                       + wire.i32(-1) + wire.string('')))) for member in members]
        late, took, begin = [], [], start + warm

        def fire(number, due):
            connection, frame = asked[number % len(asked)]
            struct.pack_into('>q', frame, len(frame) - 14, number)

            def heard(answer):
                if answer[-2:] != b'\0\0':
                    raise Failed(f'OffsetCommit: {wire.name_of(struct.unpack_from(">h", answer, len(answer) - 2)[0])}')
                if due >= begin:
                    took.append((time.monotonic() - due) * 1e3)
            if due >= begin:
                late.append((time.monotonic() - due) * 1e3)
            connection.ask(frame, heard)
        pacer = Pacer(self.loop, start + self.share / rate, rate / self.shares, begin + seconds, fire)
        self.loop.run(begin + seconds)
        while (not pacer.over or len(took) < len(late)) and time.monotonic() < begin + 2 * seconds + 10:
            self.loop.run(time.monotonic() + 0.02)
        return took, late

    # --- idle

    def park(self, max_wait_ms):
        """Each connection has a fetch of nothing under way; answered, it is asked again."""
        frame = wire.frame(frames.APIS['fetch'].frame(4, 1, 'clients', {
            'replica_id': -1, 'max_wait_ms': max_wait_ms, 'min_bytes': 1, 'max_bytes': 50 << 20, 'isolation_level': 0,
            'topics': [{'topic': TOPIC, 'partitions': [{'partition': number, 'fetch_offset': 0, 'partition_max_bytes': 1 << 20}
                                                       for number in range(PARTITIONS)]}]}))
        place = 4 + 4 + 4 + 2 + len(TOPIC) + 4 + 4  # of the first partition's error

        def hear(connection, answer):
            if answer[place:place + 2] != b'\0\0':
                raise Failed('Fetch: ' + wire.name_of(struct.unpack_from('>h', answer, place)[0]))
            self.asked += 1
            connection.ask(frame, lambda answer: hear(connection, answer))
        self.asked = 0
        for connection in self.connections:
            connection.ask(frame, lambda answer, connection=connection: hear(connection, answer))

    def serve(self, until):
        """How many were asked again."""
        before = self.asked
        self.loop.run(until)
        return self.asked - before


def sleep_until(when):
    time.sleep(max(0, when - time.monotonic()))


# --- the processes --------------------------------------------------------------------------------------------------------

def used_s():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def work(pipe, port, share, shares):
    load = Load(port, share, shares)
    gc.disable()
    while True:
        try:
            name, arguments = pipe.recv()
        except EOFError:
            return
        gc.collect()
        before = used_s()
        try:
            result = getattr(load, name)(*arguments)
            pipe.send((True, result, used_s() - before))
        except (Failed, OSError) as reason:
            pipe.send((False, f'{name}: {reason}', 0))
        except Exception:  # a mistake of ours: the other side says where
            pipe.send((False, traceback.format_exc(), 0))


class Crew:
    """The processes. A call goes to all of them; results come as a list, and used_s is their processor time."""

    def __init__(self, port, processes):
        self.pipes, self.workers, self.used_s = [], [], 0.0
        for share in range(processes):
            ours, theirs = multiprocessing.Pipe()
            self.pipes.append(ours)
            worker = multiprocessing.get_context('fork').Process(target=self.begin, args=(theirs, port, share, processes), daemon=True)
            worker.start()
            theirs.close()
            self.workers.append(worker)

    def begin(self, theirs, *arguments):
        for pipe in self.pipes:  # else nobody's end were ever seen
            pipe.close()
        work(theirs, *arguments)

    def start(self, name, *arguments):
        for pipe in self.pipes:
            pipe.send((name, arguments))

    def results(self):
        told = [pipe.recv() for pipe in self.pipes]
        bad = [result for good, result, _ in told if not good]
        if bad:
            raise Failed('; '.join(bad))
        self.used_s = sum(used for _, _, used in told)
        return [result for _, result, _ in told]

    def call(self, name, *arguments):
        self.start(name, *arguments)
        return self.results()

    def end(self):
        for pipe in self.pipes:
            pipe.close()
        for worker in self.workers:
            worker.join(10)
            if worker.is_alive():
                worker.kill()
                worker.join()
