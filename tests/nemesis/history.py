# SPDX-License-Identifier: Apache-2.0
"""What clients did and saw, and what of it may not be: the checker.

A history is a file of one JSON array a line. Values are unique: CLIENT:NUMBER, numbers grow as the client sends. A write is
sent once by its client; only an idempotent producer sends again, in a way that must not show. Times are of the machine's
monotonic clock, in seconds. What is not known to have failed may be there or not; what was refused may not.
"""
import collections
import json
import threading
from typing import NamedTuple

UNSURE, REFUSED, SOMEWHERE = -1, -2, -3  # the last: acknowledged, and the client does not tell where


class Write(NamedTuple):
    client: str
    partition: int
    value: str
    began: float
    ended: float
    offset: int  # or one of those above
    node: int  # that answered; -1: the client does not tell
    idempotent: bool


class Read(NamedTuple):
    reader: str
    partition: int
    offset: int
    value: str


class End(NamedTuple):
    """A broker that leads has told the end of a partition."""
    node: int
    partition: int
    ended: float
    offset: int


class Final(NamedTuple):
    """A record that is there when everything has healed."""
    partition: int
    offset: int
    epoch: int
    producer: list  # its id and its epoch
    value: str


KINDS = {kind.__name__: kind for kind in (Write, Read, End, Final)}


def line_of(event):
    return json.dumps([type(event).__name__, *event]) + '\n'


def event_of(line):
    kind, *fields = json.loads(line)
    return KINDS[kind](*fields)


class Recorder:
    """A file that several threads append to."""

    def __init__(self, path):
        self.lock, self.file = threading.Lock(), open(path, 'a', buffering=1)

    def add(self, *events):
        with self.lock:
            self.file.write(''.join(line_of(event) for event in events))


def read(path):
    with open(path) as file:
        return [event_of(line) for line in file]


def number(value):
    return int(value.rsplit(':', 1)[1])


class History:
    def __init__(self, events):
        by_kind = collections.defaultdict(list)
        for event in events:
            by_kind[type(event)].append(event)
        self.writes, self.reads, self.ends, self.final = (by_kind[kind] for kind in (Write, Read, End, Final))
        self.acked = [write for write in self.writes if write.offset not in (UNSURE, REFUSED)]
        self.placed = [write for write in self.acked if write.offset >= 0]
        self.at = {(record.partition, record.offset): record for record in self.final}
        self.places, self.producers = collections.defaultdict(list), collections.defaultdict(list)
        for record in self.final:
            self.places[record.value].append((record.partition, record.offset))
            self.producers[record.value].append(tuple(record.producer))


def lost(h):
    """An acknowledged write is not there."""
    for write in h.acked:
        if write.value not in h.places:
            yield f'{write.value} was acknowledged at {write.partition}/{write.offset} by broker {write.node} and is gone', write.ended


def moved(h):
    """A write is there, but not where it was acknowledged."""
    for write in h.placed:
        places = h.places.get(write.value, [])
        if places and (write.partition, write.offset) not in places:
            yield f'{write.value} was acknowledged at {write.partition}/{write.offset} and is at {places}', write.ended


def unread(h):
    """Somebody has read what is not there, or something else at that offset."""
    for read in h.reads:
        there = h.at.get((read.partition, read.offset))
        if there is None or there.value != read.value:
            yield (f'{read.reader} has read {read.value} at {read.partition}/{read.offset}, '
                   f'where there is {there.value if there else "nothing"} now'), None


def renumbered(h):
    """What is there more than once because its idempotent producer has sent it again as something new, in another epoch of
    its own: no broker can know. librdkafka does so with everything in flight when one of several requests was refused and
    the next one was not (NOT_LEADER, then OUT_OF_ORDER_SEQUENCE_NUMBER), also with what a former leader has written."""
    return {value for value, producers in h.producers.items()
            if 1 < len(producers) == len(set(producers)) and all(producer >= 0 for producer, _ in producers)}


def twice(h):
    excused = renumbered(h)
    for value, places in h.places.items():
        if len(places) > 1 and value not in excused:
            yield f'{value} is there {len(places)} times: {places}', None


def strange(h):
    """A record is there that nobody sent, or that was refused."""
    sent = {write.value: write for write in h.writes}
    for value, places in h.places.items():
        if value not in sent:
            yield f'{value} at {places} was sent by nobody', None
        elif sent[value].offset == REFUSED:
            yield f'{value} at {places} was refused', sent[value].ended


def holes(h):
    """Offsets that nobody has; nothing here removes records."""
    ends = collections.Counter(record.partition for record in h.final)
    for partition, count in ends.items():
        last = max(offset for at, offset in h.at if at == partition)
        if last != count - 1:
            yield f'partition {partition} has {count} records up to offset {last}', None


def order(h):
    """An idempotent producer's records stand as it sent them."""
    last = {}
    idempotent = {write.client for write in h.writes if write.idempotent}
    for record in sorted(h.final, key=lambda record: (record.partition, record.offset)):
        client = record.value.rsplit(':', 1)[0]
        if client in idempotent:
            before = last.get((client, record.partition))
            if before and number(before.value) > number(record.value):
                yield f'{record.value} at {record.partition}/{record.offset} is behind {before.value} at {before.offset}', None
            last[client, record.partition] = record


def time_order(h):
    """What was sent after the acknowledgement of another write stands behind it."""
    for partition in {write.partition for write in h.placed}:
        writes = [write for write in h.placed if write.partition == partition]
        by_end = sorted(writes, key=lambda write: write.ended)
        highest, at = None, 0
        for write in sorted(writes, key=lambda write: write.began):
            while at < len(by_end) and by_end[at].ended < write.began:
                highest = by_end[at] if highest is None or by_end[at].offset > highest.offset else highest
                at += 1
            if highest and highest.offset > write.offset:
                yield (f'{write.value} was sent when {highest.value} was acknowledged at {partition}/{highest.offset}, and was '
                       f'acknowledged at {write.offset}'), write.ended


def jumps(h):
    """A reader goes back, or leaves out records."""
    last = {}
    for read in h.reads:
        before = last.get((read.reader, read.partition), -1)
        if read.offset != before + 1:
            yield f'{read.reader} has read {read.partition}/{read.offset} after {before}', None
        last[read.reader, read.partition] = read.offset


def ends_back(h):
    """A broker tells an end that lies before one it has told."""
    last = {}
    for end in h.ends:
        before = last.get((end.node, end.partition), 0)
        if end.offset < before:
            yield f'broker {end.node} told that partition {end.partition} ends at {end.offset}, before that {before}', end.ended
        last[end.node, end.partition] = end.offset


def two_leaders(h):
    """Two brokers have acknowledged records of one leader epoch."""
    by_epoch = {}
    for write in h.placed:
        there = h.at.get((write.partition, write.offset))
        if write.node >= 0 and there and there.value == write.value:
            first = by_epoch.setdefault((write.partition, there.epoch), write)
            if first.node != write.node:
                yield (f'brokers {first.node} and {write.node} have acknowledged {first.value} and {write.value} of partition '
                       f'{write.partition} in epoch {there.epoch}'), write.ended


def never_acked(h):
    """An idempotent producer that had all the time it needed gave up."""
    for write in h.writes:
        if write.idempotent and write.offset in (UNSURE, REFUSED):
            yield f'{write.value} of an idempotent producer was never acknowledged', write.ended


CHECKS = (lost, moved, unread, twice, strange, holes, order, time_order, jumps, ends_back, two_leaders, never_acked)


def anomalies(history):
    """[(name of the check, what is wrong, when or None)], by check."""
    return [(check.__name__, *found) for check in CHECKS for found in check(history)]
