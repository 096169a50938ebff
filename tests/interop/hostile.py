# SPDX-License-Identifier: Apache-2.0
"""Bad input over raw sockets: the broker answers clearly or closes, and nobody else suffers.

After each case a connection that was open before it still works, a new one works, and the broker's resident memory has
not grown past a bound (Linux, a broker on this machine). Every expectation that Apache Kafka shares was seen with Apache
Kafka 4.3.1; where Millrace is meant to differ, the case asks run.is_kafka and says why:

  oversized-slowly   Kafka reserves a frame's memory when its length arrives; here only what has arrived is kept.
  half-closed        Kafka drops the answer of a peer that has closed its sending side; here it gets it.
  bomb               Kafka inflates without bound as it walks the records; here output is bounded, so an error is as
                     good as an acknowledgement, and only time and memory are judged.
  lying-batches      Kafka says UNKNOWN_SERVER_ERROR (-1) to what it cannot inflate or parse, which producers retry; here it
                     is CORRUPT_MESSAGE or INVALID_RECORD. Kafka stores offsets that skip inside a batch, and its own
                     dumper then complains of the segment; here they are refused.
  invalid-names      Kafka's own sentence about a name of 32,767 bytes does not fit its answer (-1).
  too-many           Kafka says POLICY_VIOLATION to more than 10,000 partitions; INVALID_PARTITIONS is as clear.
  never-reads        memory is judged only here; so it is in cases that start a small broker of their own.
"""

import contextlib
import gzip
import os
import socket
import struct
import threading
import time
import zlib

import broker as brokers
import wire
from broker import until
from matrix import Skip, check, make_topic

MIB = 1 << 20
GROWTH_BYTES_MAX = 192 * MIB
SETTLE_S = 5


# --- the watch ---------------------------------------------------------------------------------------------------

class Watch:
    """A well-behaved client that is there the whole time."""

    def __init__(self, run):
        self.run, self.offset = run, 0
        self.topic = make_topic(run, run.topic('watch'))
        self.connection = wire.Connection(run.address)
        self.resident_bytes = run.broker.resident_bytes()

    def round_trip(self, connection, size=10):
        data = wire.batch([b'still here'.ljust(size, b'.')])
        got = wire.produce(connection, self.topic, 0, data)
        check(got == (0, self.offset), f'produce answers {got}, offset {self.offset} was next')
        error, _, _, records = wire.fetch(connection, self.topic, 0, self.offset)
        found = wire.batches(records)
        check(error == 0 and found and found[0]['base_offset'] == self.offset, 'fetch of what was just written')
        self.offset += 1

    def look(self):
        check(self.run.broker.alive(), 'the broker has ended')
        begin = time.monotonic()
        self.round_trip(self.connection)
        with wire.Connection(self.run.address) as fresh:
            self.round_trip(fresh)
            self.round_trip(fresh, 300_000)  # comes in several pieces
        took = time.monotonic() - begin
        check(took < 2, f'well-behaved clients waited {took:.1f} s')

    def note_memory(self):
        """What a case costs counts from here on: the cases before have filled caches that are planned."""
        self.resident_bytes = self.run.broker.resident_bytes()

    def check_memory(self):
        """What stays: what was freed a moment ago goes back to the system within seconds."""
        end = time.monotonic() + SETTLE_S
        while True:
            now = self.run.broker.resident_bytes()
            if not now or not self.resident_bytes or self.run.is_kafka or now - self.resident_bytes < GROWTH_BYTES_MAX:
                return
            check(time.monotonic() < end, f'resident memory grew from {self.resident_bytes // MIB} to {now // MIB} MiB')
            time.sleep(0.2)


def watched(run, case):
    """Runs one case beside a well-behaved client; what was bad about the watch is the case's failure too."""
    if getattr(run, 'watch', None) is None:
        run.watch = Watch(run)
    run.watch.note_memory()
    try:
        note = case(run)
    except Exception:
        run.watch = None  # the next case starts with a fresh watch
        raise
    try:
        run.watch.look()
        run.watch.check_memory()
    except Exception as error:
        run.watch = None
        raise AssertionError(f'afterwards: {error}') from error
    return note


def connect(run, timeout_s=15):
    return wire.Connection(run.address, timeout_s)


def closes(run, data, what, wait_s=5):
    """The broker closes a connection that says this, and says nothing before."""
    with connect(run) as connection:
        connection.socket.sendall(data)
        check(connection.closed_within(wait_s), f'{what}: still open after {wait_s} s')


# --- frames ------------------------------------------------------------------------------------------------------

def truncated(run):
    """Every served request, its body cut to nothing and to one byte. A request whose body may be empty is answered."""
    with connect(run) as connection:
        _, served = wire.api_versions(connection)
    for key, (low, _) in sorted(served.items()):
        if key in (wire.API_VERSIONS, 16) or key > 60:
            continue
        version = max(low, 3) if key == wire.PRODUCE else low
        closes(run, wire.frame(wire.header(key, version, 1) + b'\0'), f'key {key} version {version} of one byte')


def truncated_header(run):
    for size in range(8):
        closes(run, wire.frame(wire.header(wire.METADATA, 1, 1)[:size]), f'a header of {size} bytes')


def oversized(run):
    for size in (0x7fffffff, 100 * MIB + 1):
        closes(run, wire.i32(size) + b'x' * 1000, f'a frame of {size} bytes')


def negative_length(run):
    for size in (-1, -0x80000000):
        closes(run, wire.i32(size) + b'x' * 1000, f'a frame of {size} bytes')


def empty_frame(run):
    closes(run, wire.i32(0), 'a frame of nothing')


def oversized_slowly(run):
    """Frames of 90 MiB of which 4 KiB arrive."""
    open_ones = [connect(run) for _ in range(2 if run.is_kafka else 100)]
    for one in open_ones:
        one.socket.sendall(wire.i32(90 * MIB) + wire.header(wire.PRODUCE, 3, 1) + b'\0' * 4096)
    time.sleep(0.5)
    run.watch.look()
    run.watch.check_memory()
    for one in open_ones:
        one.socket.close()


def absurd_counts(run):
    many = (0x7fffffff, 0x01000000, 100_000)
    for count in many:
        closes(run, wire.frame(wire.header(wire.METADATA, 1, 1) + wire.i32(count)), f'Metadata of {count} topics')
        closes(run, wire.frame(wire.header(wire.FETCH, 4, 1) + wire.i32(-1) + wire.i32(0) + wire.i32(0) +
                               wire.i32(MIB) + wire.i8(0) + wire.i32(count)), f'Fetch of {count} topics')
        closes(run, wire.frame(wire.header(wire.PRODUCE, 3, 1) + wire.string(None) + wire.i16(1) + wire.i32(1000) +
                               wire.i32(count)), f'Produce of {count} topics')
        closes(run, wire.frame(wire.header(wire.CREATE_TOPICS, 2, 1) + wire.i32(count)), f'CreateTopics of {count}')
        closes(run, wire.frame(wire.header(wire.LIST_OFFSETS, 1, 1) + wire.i32(-1) + wire.i32(1) + wire.string('t') +
                               wire.i32(count)), f'ListOffsets of {count} partitions')


def absurd_lengths(run):
    """A string and a record set that claim more than the frame holds, or less than nothing."""
    for size in (0x7fff, -2):
        closes(run, wire.frame(wire.header(wire.METADATA, 1, 1) + wire.i32(1) + wire.i16(size) + b'abc'),
               f'a topic name of {size} bytes')
    head = (wire.header(wire.PRODUCE, 3, 1) + wire.string(None) + wire.i16(1) + wire.i32(1000) + wire.i32(1) +
            wire.string(run.watch.topic) + wire.i32(1) + wire.i32(0))
    closes(run, wire.frame(head + wire.i32(0x7fffffff) + b'x' * 100), 'records of 2 GiB')
    closes(run, wire.frame(head + wire.i32(101) + b'x' * 100), 'records one byte longer than the frame')


def unknown_key(run):
    for key in (999, -1, 0x7fff):
        closes(run, wire.frame(wire.header(key, 0, 1) + b'\0' * 8), f'key {key}')


def unknown_version(run):
    for key, version in ((wire.METADATA, 99), (wire.METADATA, -1), (wire.FETCH, 99), (wire.FETCH, 3),
                         (wire.PRODUCE, 99), (wire.LIST_OFFSETS, 0), (wire.CREATE_TOPICS, 1)):
        closes(run, wire.frame(wire.header(key, version, 1) + b'\0' * 64), f'key {key} version {version}')


def future_api_versions(run):
    """The one request that is answered whatever its version: with body v0, error 35 and the range of key 18."""
    for version in (5, 6, 99, 0x7fff):
        with connect(run) as connection:
            reader = connection.call(wire.API_VERSIONS, version, b'\x00' + b'garbage' * 9)
            error = reader.i16()
            if version == 5 and error != 35:
                continue  # a broker may serve it
            ranges = reader.array(lambda: (reader.i16(), reader.i16(), reader.i16()))
            check(error == 35, f'version {version}: {wire.name_of(error)}')
            check([r for r in ranges if r[0] == 18], f'version {version}: no range of key 18 in {ranges}')
            check(reader.at == len(reader.data), f'version {version}: {len(reader.data) - reader.at} bytes left over')
            check(wire.api_versions(connection)[0] == 0, 'version 0 afterwards on the same connection')


def garbage_after_frame(run):
    """The good request is answered, then the garbage is read as a length and closes the connection."""
    with connect(run) as connection:
        good = wire.frame(wire.header(wire.METADATA, 1, 7) + wire.i32(0))
        connection.socket.sendall(good + b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
        check(connection.receive()[0] == 7, 'the answer before the garbage')
        check(connection.closed_within(5), 'still open after garbage')


def other_protocols(run):
    for words in (b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + b'\0' * 600,
                  b'SSH-2.0-OpenSSH_9.2\r\n'):
        closes(run, words, repr(words[:12]))


def byte_by_byte(run):
    with connect(run) as connection:
        for byte in wire.frame(wire.header(wire.METADATA, 1, 7) + wire.i32(0)):
            connection.socket.sendall(bytes([byte]))
            time.sleep(0.002)
        check(connection.receive()[0] == 7, 'no answer')


def long_client_id(run):
    with connect(run) as connection:
        for name in ('', None, 'x' * 32767, 'ключ \u0001"\n'):
            connection.socket.sendall(wire.frame(wire.header(wire.API_VERSIONS, 0, 9, name)))
            check(connection.receive()[0] == 9, f'client id {str(name)[:10]}')


# --- silence and greed -------------------------------------------------------------------------------------------

def half_a_frame(run):
    whole = wire.frame(wire.header(wire.PRODUCE, 3, 1) + wire.produce_body(run.watch.topic, 0, wire.batch([b'x' * 9999])))
    open_ones = [connect(run) for _ in range(200)]
    for index, one in enumerate(open_ones):
        one.socket.sendall(whole[:1 + index * len(whole) // 200])
    run.watch.look()
    for one in open_ones[:100]:
        one.socket.close()
    run.watch.look()
    for one in open_ones[100:]:
        one.socket.close()


def lengths_alone(run):
    """The beginnings of the largest requests there may be: a length is a claim, and no memory is kept for it."""
    start = wire.i32(100 << 20) + wire.header(wire.PRODUCE, 3, 1)
    open_ones = [connect(run) for _ in range(100)]
    for one in open_ones:
        one.socket.sendall(start)
    run.watch.look()
    for one in open_ones:
        one.socket.sendall(bytes(100_000))
    run.watch.look()
    for one in open_ones:
        one.socket.close()


def silent_connections(run):
    """10,000 connections that say nothing, or as many as this machine's descriptors allow."""
    open_ones = []
    try:
        for _ in range(1000 if run.is_kafka else 10_000):
            try:
                open_ones.append(socket.create_connection(run.address, timeout=5))
            except OSError:
                break
        check(len(open_ones) >= 500, f'only {len(open_ones)} connections')
        run.watch.look()
        run.watch.check_memory()
    finally:
        for one in open_ones:
            one.close()
    until('a connection after the crowd has left', lambda: connect(run).socket.close() is None)


def never_reads(run):
    """Readers that ask for megabytes again and again and never read the answers."""
    topic, batch = make_topic(run, run.topic('never')), wire.batch([b'0123456789abcdef' * 60_000])
    with connect(run) as connection:
        for _ in range(16):
            error, _ = wire.produce(connection, topic, 0, batch)
            check(error == 0, f'produce: {wire.name_of(error)}')
    question = wire.frame(wire.header(wire.FETCH, 4, 1) + wire.fetch_body(topic, 0, 0, 8 * MIB))
    open_ones = []
    for _ in range(20 if run.is_kafka else 300):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.settimeout(5)
        one.connect(run.address)
        one.sendall(question)
        one.setblocking(False)
        try:
            one.send(question * 20)
        except BlockingIOError:
            pass
        open_ones.append(one)
    time.sleep(1)
    run.watch.look()
    run.watch.check_memory()
    for one in open_ones:
        one.close()


def half_closed(run):
    with connect(run) as connection:
        for _ in range(3):
            connection.send(wire.METADATA, 1, wire.i32(0))
        connection.socket.shutdown(socket.SHUT_WR)
        if run.is_kafka:
            return
        check([connection.receive()[0] for _ in range(3)] == [1, 2, 3], 'answers after a half-close')
        check(connection.closed_within(5), 'still open after the last answer')


def reset_in_flight(run):
    """Connections reset with requests and parked fetches in flight."""
    for _ in range(100):
        one = socket.create_connection(run.address, timeout=5)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        one.sendall(wire.frame(wire.header(wire.METADATA, 1, 1) + wire.i32(-1)) +
                    wire.frame(wire.header(wire.FETCH, 4, 2) + wire.fetch_body(run.watch.topic, 0, run.watch.offset,
                                                                             wait_ms=5000, min_bytes=MIB)))
        one.close()


# --- order -------------------------------------------------------------------------------------------------------

def pipelined(run):
    """300 requests of five kinds in one write, a parked fetch among them: answers come in the order of the questions."""
    topic = make_topic(run, run.topic('pipelined'))
    batch, bodies = wire.batch([b'x']), []
    for index in range(300):
        bodies.append([(wire.METADATA, 1, wire.i32(0)), (wire.PRODUCE, 3, wire.produce_body(topic, 0, batch)),
                       (wire.API_VERSIONS, 0, b''), (wire.FETCH, 4, wire.fetch_body(topic, 0, 0)),
                       (wire.LIST_OFFSETS, 1, wire.i32(-1) + wire.array([wire.string(topic) + wire.array(
                           [wire.i32(0) + wire.i64(-1)])]))][index % 5])
    bodies[150] = (wire.FETCH, 4, wire.fetch_body(topic, 0, 30, wait_ms=1000, min_bytes=MIB))
    with connect(run) as connection:
        connection.socket.sendall(b''.join(wire.frame(wire.header(key, version, index) + body)
                                           for index, (key, version, body) in enumerate(bodies)))
        produced = []
        for index, (key, _, _) in enumerate(bodies):
            got, reader = connection.receive()
            check(got == index, f'answer {got} where {index} was next')
            if key == wire.PRODUCE:
                produced.append(wire.produce_answer(reader))
        check(produced == [(0, offset) for offset in range(len(produced))], f'produced {produced[:5]}...')


def acks_0(run):
    """No answer to acks=0, not even to a bad batch, which closes the connection instead."""
    topic = make_topic(run, run.topic('acks0'))
    with connect(run) as connection:
        for _ in range(10):
            connection.send(wire.PRODUCE, 3, wire.produce_body(topic, 0, wire.batch([b'x']), acks=0))
        wanted = connection.send(wire.METADATA, 1, wire.i32(0))
        check(connection.receive()[0] == wanted, 'an answer to acks=0')
        until('ten records', lambda: wire.list_offset(connection, topic, 0, -1)[2] == 10)
        check(connection.silent(0.2), 'something more was said')
    with connect(run) as connection:
        connection.send(wire.PRODUCE, 3, wire.produce_body('no-such-topic', 7, wire.batch([b'x']), acks=0))
        check(connection.closed_within(5), 'acks=0 to an unknown partition leaves the connection open')


def parked_fetch(run):
    """A fetch waits for its minimum, and a record that arrives meanwhile ends the wait."""
    topic = make_topic(run, run.topic('parked'))
    with connect(run) as connection, connect(run) as writer:
        begin = time.monotonic()
        connection.call(wire.FETCH, 4, wire.fetch_body(topic, 0, 0, wait_ms=700))
        waited = time.monotonic() - begin
        check(0.6 < waited < 2, f'an empty fetch of 700 ms took {waited:.2f} s')
        connection.send(wire.FETCH, 4, wire.fetch_body(topic, 0, 0, wait_ms=10_000))
        check(connection.silent(0.3), 'answered before there was anything')
        begin = time.monotonic()
        check(wire.produce(writer, topic, 0, wire.batch([b'x'])) == (0, 0), 'produce')
        error, _, _, data = wire.fetch_answer(connection.receive()[1])
        check(error == 0 and wire.batches(data) and time.monotonic() - begin < 2, 'the parked fetch was not woken')


def parked_by_the_thousand(run):
    """Fetches that wait on every shard hold nothing that others need: topics are made, connections come (they once used
    up the mail between shards)."""
    topic = make_topic(run, run.topic('thousand'), partitions=8)
    parked = [connect(run) for _ in range(2600)]
    try:
        for index, connection in enumerate(parked):
            connection.send(wire.FETCH, 4, wire.fetch_body(topic, index % 8, 0, wait_ms=300_000))
        run.watch.look()
        another = make_topic(run, run.topic('another'), partitions=8)
        with connect(run) as writer:
            for partition in range(8):
                check(wire.produce(writer, another, partition, wire.batch([b'x']))[0] == 0, 'produce beside the parked')
                check(wire.produce(writer, topic, partition, wire.batch([b'x']))[0] == 0, 'produce for the parked')
        for connection in parked:
            error, _, _, data = wire.fetch_answer(connection.receive()[1])
            check(error == 0 and wire.batches(data), 'a parked fetch was not woken')
    finally:
        for connection in parked:
            connection.socket.close()


def parked_half_closed(run):
    """A peer that has said all is answered with what there is: the wait it asked for could be weeks."""
    topic = make_topic(run, run.topic('parkedhalf'))
    with connect(run) as connection:
        connection.send(wire.FETCH, 4, wire.fetch_body(topic, 0, 0, wait_ms=300_000))
        check(connection.silent(0.3), 'answered before there was anything')
        connection.socket.shutdown(socket.SHUT_WR)
        if run.is_kafka:
            return
        check(wire.fetch_answer(connection.receive()[1])[0] == 0, 'the parked fetch of a half-closed peer')
        check(connection.closed_within(5), 'still open after the last answer')


@contextlib.contextmanager
def small_broker(run, memory):
    """A broker of its own with one core and little memory: what would fill a large one takes long to send."""
    if run.is_kafka:
        raise Skip('memory is judged only here')
    broker = brokers.start(run.binary, run.folder + '-small', None, 30, ('--memory', memory, '--cores', '1'))
    try:
        yield broker
    finally:
        status = brokers.stop(broker)
    check(status == 0, f'after TERM the small broker exits with {status}')


def parked_with_many_partitions(run):
    """Fetches of 20,000 partitions each that wait for ever (three of them once stopped a broker of 256 MiB for everybody):
    others are served at once, memory stays, and what had to make room was answered."""
    entry = wire.i32(0) + wire.i64(0) + wire.i32(MIB)
    with small_broker(run, '256M') as broker, wire.Connection(broker.address) as before:
        error, text = wire.create_topic(before, 'many', 1)
        check(error == 0, f'create: {text}')
        body = (wire.i32(-1) + wire.i32(0x7fffffff) + wire.i32(MIB) + wire.i32(MIB) + wire.i8(0) + wire.i32(1) +
                wire.string('many') + wire.i32(20_000) + entry * 20_000)
        parked = [wire.Connection(broker.address, 15) for _ in range(12)]
        for connection in parked:
            connection.send(wire.FETCH, 4, body)
            time.sleep(0.2)
            begin = time.monotonic()
            with wire.Connection(broker.address, 5) as fresh:
                check(wire.api_versions(fresh)[0] == 0, 'ApiVersions beside the parked')
                check(wire.fetch(fresh, 'many', 0, 0, wait_ms=0)[0] == 0, 'Fetch beside the parked')
            took = time.monotonic() - begin
            check(took < 2, f'beside the parked others waited {took:.1f} s')
        reader = parked[0].receive()[1]
        reader.i32()
        check(reader.i32() == 1 and reader.string() == 'many' and reader.i32() == 20_000, 'the first, before its time')
        resident = broker.resident_bytes()
        check(resident < 160 * MIB, f'resident: {resident // MIB} MiB')
        for connection in parked:
            connection.socket.close()


def large_frames_behind_a_parked_one(run):
    """Requests of 10 MiB behind a fetch that waits for ever: what was taken in counts until it is over (one connection
    once took 540 MiB from a broker of 128)."""
    with small_broker(run, '128M') as broker, wire.Connection(broker.address) as before:
        error, text = wire.create_topic(before, 'large', 1)
        check(error == 0, f'create: {text}')
        parked = wire.Connection(broker.address, 3)
        parked.send(wire.FETCH, 4, wire.fetch_body('large', 0, 0, wait_ms=0x7fffffff, min_bytes=MIB))
        large = wire.frame(wire.header(wire.METADATA, 1, 2) + wire.i32(0) + bytes(10 * MIB))
        try:
            for _ in range(30):
                parked.socket.sendall(large)
        except OSError:
            pass  # it is not read any more
        resident = broker.resident_bytes()
        check(resident < 128 * MIB, f'resident: {resident // MIB} MiB')
        begin = time.monotonic()
        check(wire.produce(before, 'large', 0, wire.batch([b'x' * 900_000]))[0] == 0, 'produce beside them')
        took = time.monotonic() - begin
        check(took < 2, f'beside them others waited {took:.1f} s')
        parked.socket.close()


def few_descriptors(run):
    """As many connections as there may be, and more partitions than files may be open: files that are being opened count
    like those that are open (64 at a time and core once did not: the log directory went offline, and the broker ended)."""
    if run.is_kafka:
        raise Skip('a limit that is planned with is Millrace\'s')
    limited = run.folder + '-limited'
    with open(limited, 'w') as script:
        script.write(f'#!/bin/sh\nulimit -n 400\nexec {os.path.abspath(run.binary)} "$@"\n')
    os.chmod(limited, 0o755)
    broker = brokers.start(limited, run.folder + '-few', None, 30, ('--memory', '128M', '--cores', '2'))
    try:
        with wire.Connection(broker.address) as before:
            error, text = wire.create_topic(before, 'few', 300)
            check(error == 0, f'create: {text}')
            crowd = [socket.create_connection(broker.address) for _ in range(300)]
            until('the crowd is let in', lambda: len(os.listdir(f'/proc/{broker.pid}/fd')) >= 160)
            for partition in range(300):
                got = wire.produce(before, 'few', partition, wire.batch([b'x']))
                check(got == (0, 0), f'produce to {partition} answers {got}')
            for partition in range(300):
                check(wire.fetch(before, 'few', partition, 0)[0] == 0, f'fetch of {partition}')
            for one in crowd:
                one.close()
    finally:
        status = brokers.stop(broker)
    check(status == 0, f'after TERM the broker exits with {status}')


# --- batches -----------------------------------------------------------------------------------------------------

def fetch_of_nothing(run):
    """A fetch that names no partition and would wait is answered at once, whatever it waits for (it once spun a core)."""
    body = wire.i32(-1) + wire.i32(10_000) + wire.i32(1) + wire.i32(MIB) + wire.i8(0) + wire.array([])
    with connect(run) as connection:
        begin = time.monotonic()
        connection.call(wire.FETCH, 4, body)
        check(time.monotonic() - begin < 5, 'an empty fetch waited')


def fetch_more_than_there_is(run):
    """One partition has more than its share of min_bytes, all have less than it: the fetch waits, and costs no core."""
    topic = make_topic(run, run.topic('min-bytes'), partitions=4)
    with connect(run) as connection:
        for index in range(10):
            error, _ = wire.produce(connection, topic, 0, wire.batch([b'x' * 60]))
            check(error == 0, f'produce {index} answers {error}')
        parts = [wire.i32(partition) + wire.i64(0) + wire.i32(MIB) for partition in range(4)]
        body = (wire.i32(-1) + wire.i32(1500) + wire.i32(2000) + wire.i32(MIB) + wire.i8(0) +
                wire.array([wire.string(topic) + wire.array(parts)]))
        connection.socket.sendall(wire.frame(wire.header(wire.FETCH, 4, 77) + body))
        with connect(run) as other:  # both cores of a small machine still answer
            for partition in range(4):
                error, _ = wire.produce(other, topic, partition, wire.batch([b'y']))
                check(error == 0, f'partition {partition} answers {error} while the fetch waits')
        begin = time.monotonic()
        got, _ = connection.receive()
        check(got == 77 and time.monotonic() - begin < 5, 'the fetch did not end at its deadline')


def refused_batches():
    """(what, batch, the errors that Kafka answers)"""
    good = wire.batch([b'a', b'b', b'c'])
    two = b''.join(wire.record_bytes(i, None, b'x') for i in range(2))
    now_ms = int(time.time() * 1000)
    name = wire.ERROR
    corrupt, invalid = {name['CORRUPT_MESSAGE']}, {name['INVALID_RECORD']}
    either = corrupt | invalid
    yield 'a flipped bit in the records', good[:-3] + bytes([good[-3] ^ 1]) + good[-2:], corrupt
    yield 'a flipped bit in the CRC', good[:17] + bytes([good[17] ^ 1]) + good[18:], corrupt
    yield 'a flipped bit in the timestamps', good[:30] + bytes([good[30] ^ 1]) + good[31:], corrupt
    yield 'a count too high', wire.batch([], two, count=5, last_offset_delta=4), invalid
    yield 'a count too low', wire.batch([], two, count=1, last_offset_delta=0), invalid
    yield 'count and offsets at odds', wire.batch([], two, count=2, last_offset_delta=7), invalid
    yield 'a negative count', wire.batch([], two, count=-1, last_offset_delta=-2), either
    yield 'no records', wire.batch([], b'', count=0, last_offset_delta=-1), either
    yield 'a huge count', wire.batch([], two, count=0x7fffffff, last_offset_delta=0x7ffffffe), invalid
    yield 'offsets that skip', wire.batch([], wire.record_bytes(0, None, b'x') + wire.record_bytes(5, None, b'x'),
                                          count=2, last_offset_delta=1), invalid
    yield 'a base offset', wire.batch([b'x'], base_offset=5), invalid
    yield 'an unknown codec', wire.batch([b'x'], codec=5), either | {76}
    yield 'a control batch', wire.batch([b'x'], attributes=0x20), either
    yield 'magic 1', wire.batch([b'x'], magic=1), either
    yield 'magic 3', wire.batch([b'x'], magic=3), either | {name['UNSUPPORTED_FOR_MESSAGE_FORMAT']}
    yield 'magic -1', wire.batch([b'x'], magic=-1), either | {name['UNSUPPORTED_FOR_MESSAGE_FORMAT']}
    yield 'a length too small', wire.batch([b'x'], length=10), either
    yield 'a length too large', wire.batch([b'x'], length=100_000), either
    yield 'a negative length', wire.batch([b'x'], length=-5), either
    yield 'half a header', good[:30], either
    yield 'two batches', wire.batch([b'x']) + wire.batch([b'y']), invalid
    yield 'a time far in the future', wire.batch([b'x'], base_timestamp=now_ms + 10 * 86_400_000,
                                                 max_timestamp=now_ms + 10 * 86_400_000), {name['INVALID_TIMESTAMP']}
    yield 'a record longer than the batch', wire.batch([], b'\xfe\xff\x03' + two, count=1, last_offset_delta=0), invalid
    yield 'a record of negative length', wire.batch([], b'\x03' + two, count=1, last_offset_delta=0), invalid
    yield 'a varint without end', wire.batch([], b'\xff' * 20, count=1, last_offset_delta=0), invalid
    yield 'gzip of nothing sensible', wire.batch([], b'not gzip at all', codec=1, count=1, last_offset_delta=0), either
    yield 'gzip cut short', wire.batch([], gzip.compress(two * 1000)[:30], codec=1, count=2000,
                                       last_offset_delta=1999), either
    yield 'snappy of nothing sensible', wire.batch([], b'\xff' * 50, codec=2, count=1, last_offset_delta=0), either
    yield 'lz4 of nothing sensible', wire.batch([], b'\x04\x22\x4d\x18' + b'\xff' * 50, codec=3, count=1,
                                                last_offset_delta=0), either
    yield 'zstd of nothing sensible', wire.batch([], b'\x28\xb5\x2f\xfd' + b'\xff' * 50, codec=4, count=1,
                                                 last_offset_delta=0), either
    yield 'gzip with a count that lies', wire.batch([], gzip.compress(two), codec=1, count=3, last_offset_delta=2), invalid


def lying_batches(run):
    topic, wrong, stored = make_topic(run, run.topic('lies')), [], 0
    for what, data, errors in refused_batches():
        with connect(run) as connection:
            try:
                error, _ = wire.produce(connection, topic, 0, data, version=7)
            except wire.Closed:
                wrong.append(f'{what}: closed instead of answered')
                continue
            stored += 2 if error == 0 else 0
            if error not in (errors | {-1, 0} if run.is_kafka else errors):
                wrong.append(f'{what}: {wire.name_of(error)}')
    with connect(run) as connection:
        end = wire.list_offset(connection, topic, 0, -1)[2]
    check(not wrong, '; '.join(wrong))
    check(end == stored, f'{end} records stored, {stored} acknowledged')


def bomb(run):
    """A batch of 400 KB that holds one record of 400 MB of zeros."""
    topic, size = make_topic(run, run.topic('bomb')), 400_000_000
    body = wire.i8(0) + wire.varint(0) + wire.varint(0) + wire.varint(-1) + wire.varint(size)
    head = wire.varint(len(body) + size + 1) + body
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    payload = deflate.compress(head) + b''.join(deflate.compress(bytes(MIB)) for _ in range(size // MIB))
    payload += deflate.compress(bytes(size % MIB) + wire.varint(0)) + deflate.flush()
    data = wire.batch([], payload, codec=1, count=1, last_offset_delta=0)
    answer, begin = [], time.monotonic()

    def send():
        with connect(run, 30) as connection:
            answer.append(wire.produce(connection, topic, 0, data))
    thread = threading.Thread(target=send)
    thread.start()
    time.sleep(0.05)
    run.watch.look()
    thread.join(30)
    check(answer, 'no answer')
    check(time.monotonic() - begin < 20, f'{time.monotonic() - begin:.0f} s for one batch')


def invalid_acks(run):
    with connect(run) as connection:
        for acks in (2, -2, 100):
            error, _ = wire.produce(connection, run.watch.topic, 0, wire.batch([b'x']), acks=acks)
            check(error == wire.ERROR['INVALID_REQUIRED_ACKS'], f'acks={acks}: {wire.name_of(error)}')


# --- names and places --------------------------------------------------------------------------------------------

BAD_NAMES = ('', '.', '..', 'a/b', 'a b', 'a\0b', '../../etc/passwd', 'ü', 'x' * 250, 'a:b', 'a\nb', 'x' * 32767)


def invalid_names(run):
    wanted = wire.ERROR['INVALID_TOPIC_EXCEPTION']
    with connect(run) as connection:
        for name in BAD_NAMES[:-1] if run.is_kafka else BAD_NAMES:
            error, _ = wire.create_topic(connection, name)
            check(error == wanted, f'CreateTopics {name[:20]!r}: {wire.name_of(error)}')
            error, _ = wire.metadata(connection, [name])[2][name]
            check(error == wanted, f'Metadata {name[:20]!r}: {wire.name_of(error)}')
            for error in (wire.produce(connection, name, 0, wire.batch([b'x']))[0],
                          wire.fetch(connection, name, 0, 0)[0], wire.list_offset(connection, name, 0, -1)[0]):
                check(error in (wanted, wire.ERROR['UNKNOWN_TOPIC_OR_PARTITION']),
                      f'{name[:20]!r}: {wire.name_of(error)}')
        check(wire.create_topic(connection, 'x' * 249)[0] in (0, wire.ERROR['TOPIC_ALREADY_EXISTS']), 'a name of 249')
        wire.delete_topic(connection, 'x' * 249)


def longest_name(run):
    """A deleted topic with the longest name leaves nothing behind, and can come again (its directory once stayed, and the
    next topic of that name was never written: no checkpoint ended any more, and no change of metadata)."""
    name, batch = (run.topic('longest') + 'x' * 249)[:249], wire.batch([b'x' * 200_000])
    with connect(run) as connection:
        for _ in range(2):
            check(wire.create_topic(connection, name)[0] == 0, 'create')
            until('produce', lambda: wire.produce(connection, name, 0, batch)[0] == 0)
            if run.broker.data_dir:
                folder = os.path.join(run.broker.data_dir, name + '-0')
                until('its file', lambda: os.path.exists(os.path.join(folder, '0' * 20 + '.log')))
            check(wire.delete_topic(connection, name) == 0, 'delete')
            if run.broker.data_dir:
                left = [entry for entry in os.listdir(run.broker.data_dir) if entry.startswith(name[:100])]
                check(not left, f'left behind: {left}')


def named_by_the_thousand(run):
    """One request names more unknown topics than anybody means: some are made, nobody waits, no memory goes."""
    stem = run.topic('storm')
    names = [f'{stem}-{index}' for index in range(3000)]
    with connect(run) as connection:
        wire.metadata(connection, names)
        run.watch.look()
        made = [name for name in wire.metadata(connection)[2] if name.startswith(stem)]
        if not run.is_kafka:
            check(0 < len(made) <= 1024, f'{len(made)} topics of {len(names)} at once')
        reader = connection.call(wire.DELETE_TOPICS, 1, wire.array([wire.string(name) for name in made]) + wire.i32(30_000))
        reader.i32()
        errors = {error for _, error in reader.array(lambda: (reader.string(), reader.i16()))}
        check(errors <= {0}, f'DeleteTopics: {errors}')


def session_body(partitions):
    return (wire.i32(-1) + wire.i32(0) + wire.i32(1) + wire.i32(MIB) + wire.i8(0) + wire.i32(0) + wire.i32(0) +
            wire.array([wire.string(topic) + wire.array([wire.i32(index) + wire.i64(0) + wire.i64(-1) + wire.i32(MIB)
                                                         for index in range(count)]) for topic, count in partitions]) +
            wire.array([]))


def fat_sessions(run):
    """Fetch sessions that name what no broker has: what is remembered of them is bounded."""
    bodies = [session_body([('n' * 32_000 + str(index), 1) for index in range(500)]), session_body([('nowhere', 50_000)])]
    for index in range(10 if run.is_kafka else 60):
        with connect(run) as connection:
            reader = connection.call(wire.FETCH, 7, bodies[index % 2])
            reader.i32()
            check(reader.i16() == 0, 'a fetch that opens a session')
    run.watch.look()


def odd_session_epochs(run):
    """Only 0 and -1 begin without a session; any other epoch is about the one that is named, and there is none."""
    for session_id, epoch in ((0, -2), (0, 1), (7, -0x80000000), (0x7fffffff, 0x7fffffff)):
        body = (wire.i32(-1) + wire.i32(0) + wire.i32(1) + wire.i32(MIB) + wire.i8(0) + wire.i32(session_id) +
                wire.i32(epoch) + wire.array([]) + wire.array([]))
        with connect(run) as connection:
            reader = connection.call(wire.FETCH, 7, body)
            reader.i32()
            error = reader.i16()
            check(error == 70, f'session {session_id} epoch {epoch}: {wire.name_of(error)}')


def alter_answer(connection, resources):
    """IncrementalAlterConfigs, version 0: the errors; a resource is (topic, key, operation, value)."""
    body = wire.array([wire.i8(2) + wire.string(topic) + wire.array([wire.string(key) + wire.i8(operation) +
                                                                     wire.string(value)])
                       for topic, key, operation, value in resources]) + wire.i8(0)
    reader = connection.call(44, 0, body)
    reader.i32()
    return [error for error, _, _, _ in reader.array(lambda: (reader.i16(), reader.string(), reader.i8(), reader.string()))]


def heavy_settings(run):
    """Requests about settings cost what they hold, not its square (each of these once held a core for seconds, the last
    one for hours); a resource that is named twice is refused."""
    topic, key = make_topic(run, run.topic('heavy')), 'leader.replication.throttled.replicas'
    with connect(run) as connection:
        begin = time.monotonic()
        for operation, tail in ((0, ':1'), (2, ':2'), (3, ':1'), (0, ':1')):
            value = ','.join(f'{index}{tail}' for index in range(2300))
            check(alter_answer(connection, [(topic, key, operation, value)]) == [0], f'operation {operation}')
        for _ in range(50):
            check(alter_answer(connection, [(topic, 'retention.ms', 0, '1000000')]) == [0], 'beside a long list')
        got = alter_answer(connection, [(topic, 'retention.ms', 0, '1000000')] * 20_000)
        check(set(got) == {wire.ERROR['INVALID_REQUEST']}, f'one resource 20,000 times: {set(got)}')
        if not run.is_kafka:
            reader = connection.call(32, 1, wire.i32(1) + wire.i8(2) + wire.string(topic) +
                                     wire.array([wire.string('retention.ms')] * 500_000) + wire.i8(0))
            reader.i32()
            reader.i32()
            check(reader.i16() == wire.ERROR['INVALID_REQUEST'], 'DescribeConfigs of 500,000 keys')
        took = time.monotonic() - begin
        check(took < 10, f'{took:.1f} s')


def too_many_topics(run):
    """More topics than one request may create: none is, and each is answered for."""
    stem = run.topic('crowd')
    body = wire.array([wire.string(f'{stem}-{index}') + wire.i32(1) + wire.i16(1) + wire.array([]) + wire.array([])
                       for index in range(10_001)]) + wire.i32(10_000) + wire.i8(0)
    with connect(run) as connection:
        reader = connection.call(wire.CREATE_TOPICS, 2, body)
        reader.i32()
        got = reader.array(lambda: (reader.string(), reader.i16(), reader.string()))
        check({error for _, error, _ in got} == {wire.ERROR['POLICY_VIOLATION']}, f'{got[0]}')
        check(len(got) == 10_001, f'{len(got)} answers')
        check(not [name for name in wire.metadata(connection)[2] if name.startswith(stem)], 'some were created')


def sync_without_protocol(run):
    """SyncGroup 5 has to say which protocol it means, before anything else is looked at."""
    body = b'\0\2g' + wire.i32(0) + b'\1' + b'\0' * 3 + b'\1\0'
    with connect(run) as connection:
        reader = connection.call(14, 5, body)
        reader.i8()
        reader.i32()
        error = reader.i16()
        check(error == 23, f'{wire.name_of(error)}')


def colliding_names(run):
    """`a.b` and `a_b` would share metric names: Kafka refuses the second."""
    with connect(run) as connection:
        stem = run.topic('collide')
        check(wire.create_topic(connection, stem + '.x')[0] == 0, 'the first')
        until('the first', lambda: wire.metadata(connection, [stem + '.x'])[2][stem + '.x'][0] == 0)
        error, text = wire.create_topic(connection, stem + '_x')
        check(error == wire.ERROR['INVALID_TOPIC_EXCEPTION'], f'the second: {wire.name_of(error)} {text}')


def unknown_places(run):
    wanted = wire.ERROR['UNKNOWN_TOPIC_OR_PARTITION']
    with connect(run) as connection:
        for topic, partition in (('it-nobody-made-this', 0), (run.watch.topic, 1), (run.watch.topic, -1),
                                 (run.watch.topic, 0x7fffffff)):
            for what, error in (('Produce', wire.produce(connection, topic, partition, wire.batch([b'x']))[0]),
                                ('Fetch', wire.fetch(connection, topic, partition, 0)[0]),
                                ('ListOffsets', wire.list_offset(connection, topic, partition, -1)[0])):
                check(error == wanted, f'{what} {topic} {partition}: {wire.name_of(error)}')
        check(wire.delete_topic(connection, 'it-nobody-made-this') == wanted, 'DeleteTopics')
        for offset in (-1, 1 << 40, 0x7fffffffffffffff):
            error = wire.fetch(connection, run.watch.topic, 0, offset)[0]
            check(error == wire.ERROR['OFFSET_OUT_OF_RANGE'], f'Fetch at {offset}: {wire.name_of(error)}')


def too_many(run):
    name = wire.ERROR
    with connect(run) as connection:
        for partitions, replicas, wanted in ((0, 1, {name['INVALID_PARTITIONS']}), (-5, 1, {name['INVALID_PARTITIONS']}),
                                             (1, 3, {name['INVALID_REPLICATION_FACTOR']}),
                                             (1, 0, {name['INVALID_REPLICATION_FACTOR']}),
                                             (0x7fffffff, 1, {name['INVALID_PARTITIONS'], name['POLICY_VIOLATION']}),
                                             (1_000_000, 1, {name['INVALID_PARTITIONS'], name['POLICY_VIOLATION']})):
            error, text = wire.create_topic(connection, run.topic('many'), partitions, None, replicas)
            check(error in wanted, f'{partitions} partitions, {replicas} replicas: {wire.name_of(error)} {text}')
        error, text = wire.create_topic(connection, run.topic('config'), 1, {'max.message.bytes': 'many'})
        check(error == 40, f'a word for a number: {wire.name_of(error)} {text}')
        error, text = wire.create_topic(connection, run.topic('config'), 1, {'no.such.key': '1'})
        check(error == 40, f'an unknown key: {wire.name_of(error)} {text}')


CASES = [(case.__name__.replace('_', '-'), case) for case in (
    truncated, truncated_header, oversized, negative_length, empty_frame, oversized_slowly, absurd_counts,
    absurd_lengths, unknown_key, unknown_version, future_api_versions, garbage_after_frame, other_protocols,
    byte_by_byte, long_client_id, half_a_frame, lengths_alone, silent_connections, never_reads, half_closed, reset_in_flight,
    pipelined, acks_0, parked_fetch, parked_by_the_thousand, parked_half_closed,
    parked_with_many_partitions, large_frames_behind_a_parked_one, few_descriptors, fetch_of_nothing, fetch_more_than_there_is, lying_batches,
    bomb, invalid_acks, invalid_names, longest_name, named_by_the_thousand, fat_sessions, odd_session_epochs, heavy_settings,
    too_many_topics, sync_without_protocol, colliding_names, unknown_places, too_many)]
