# SPDX-License-Identifier: Apache-2.0
"""A broker under test, Millrace or Apache Kafka: both are asked the same way (net/kafka.wire, by tests/oracle/frames.py), restarted,
killed, and looked at in their directories."""

import glob
import gzip
import itertools
import os
import socket
import struct
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(TOP, 'tests', part) for part in ('oracle', 'interop')] + [os.path.join(TOP, 'bench')]
import frames  # noqa: E402
import peer_brokers  # noqa: E402
import wire  # noqa: E402

MIB = 1 << 20
# What is looked after by and by is looked after at once, on both.
SETTINGS = {'log.retention.check.interval.ms': '200', 'log.cleaner.backoff.ms': '100', 'group.initial.rebalance.delay.ms': '0', 'group.max.size': '4',
            'offsets.topic.replication.factor': '1', 'offsets.retention.check.interval.ms': '3000',
            'log.cleaner.min.cleanable.ratio': '0.01', 'group.consumer.session.timeout.ms': '9000',
            'group.consumer.heartbeat.interval.ms': '1000'}
KAFKA_ONLY = {'log.initial.task.delay.ms': '100',
              'group.consumer.min.session.timeout.ms': '1000', 'group.consumer.min.heartbeat.interval.ms': '500',
              'group.consumer.assignment.interval.ms': '0',
              'group.consumer.assignor.offload.enable': 'false'}
NO_ANSWER_S = 30
NOT_LEADER = 6


class Rule(AssertionError):
    """The broker does otherwise."""


def check(good, what):
    if not good:
        raise Rule(what)


def same(got, wanted, what=''):
    check(got == wanted, f'{f"{what}: " if what else ""}{repr(got):.200}, not {repr(wanted):.200}')


def alone(rule):
    """It restarts the broker or means others, too: nothing runs beside it."""
    rule.alone = True
    return rule


class Kafka(peer_brokers.Kafka):
    overrides = SETTINGS | KAFKA_ONLY


class Millrace(peer_brokers.Millrace):
    arguments, overrides = ('--admin-listen', 'off', '--memory', '512M'), SETTINGS


class Link:
    """A connection of somebody who asks one thing after another."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=NO_ANSWER_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = 0

    def exactly(self, size):
        data = bytearray()
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            check(part, f'the connection is closed after {len(data)} of {size} bytes')
            data += part
        return bytes(data)

    def send(self, api, version, tree, client_id='semantics'):
        self.number += 1
        frame = frames.APIS[api].frame(version, self.number, client_id, tree)
        self.socket.sendall(struct.pack('>i', len(frame)) + frame)

    def receive(self, api, version):
        number, tree = frames.APIS[api].answer(version, self.exactly(struct.unpack('>i', self.exactly(4))[0]))
        same(number, self.number, 'correlation id')
        return tree

    def ask(self, api, version, tree, client_id='semantics'):
        self.send(api, version, tree, client_id)
        return self.receive(api, version)

    def silent(self, wait_s):
        """Nothing comes, and it stays open."""
        self.socket.settimeout(wait_s)
        try:
            return self.socket.recv(1) is None
        except socket.timeout:
            return True
        finally:
            self.socket.settimeout(NO_ANSWER_S)

    def closed_within(self, wait_s):
        self.socket.settimeout(wait_s)
        try:
            return not self.socket.recv(1)
        except socket.timeout:
            return False
        except ConnectionResetError:
            return True


# ---- batches and records -----------------------------------------------------------------------------------------------

def now_ms():
    return int(time.time() * 1000)


def batch(*records, codec=0, at_ms=None, **lie):
    """Records are values, or (key, value), or (key, value, ms after the first), or a record's bytes in a list of one."""
    at_ms = now_ms() if at_ms is None else at_ms
    payload, last_ms = b'', at_ms
    for number, record in enumerate(records):
        if isinstance(record, list):
            payload += record[0]
            continue
        key, value, after_ms = (*record, 0)[:3] if isinstance(record, tuple) else (None, record, 0)
        payload += wire.record_bytes(number, key, value, after_ms)
        last_ms = max(last_ms, at_ms + after_ms)
    if codec == 1:
        payload = gzip.compress(payload, mtime=0)
    fields = {'base_timestamp': at_ms, 'max_timestamp': last_ms, **lie}
    return wire.batch([None] * len(records), payload, codec, **fields)


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value >> 1 ^ -(value & 1), at


def nullable(data, at):
    size, at = varint(data, at)
    return (None, at) if size < 0 else (data[at:at + size], at + size)


def records_of(data):
    """[(offset, ms, key, value)] of batches that are not compressed or by gzip; control batches left out."""
    found, begin = [], 0
    for head in wire.batches(data):
        payload = data[begin + 61:begin + head['size']]
        begin += head['size']
        if head['attributes'] & 0x20:
            continue
        payload = gzip.decompress(payload) if head['codec'] == 'gzip' else payload
        at = 0
        for _ in range(head['count']):
            size, at = varint(payload, at)
            end = at + size
            after_ms, at = varint(payload, at + 1)
            delta, at = varint(payload, at)
            key, at = nullable(payload, at)
            value, at = nullable(payload, at)
            ms = head['max_timestamp'] if head['attributes'] & 8 else head['base_timestamp'] + after_ms
            found.append((head['base_offset'] + delta, ms, key, value))
            at = end
    return found


# ---- the broker --------------------------------------------------------------------------------------------------------

class Side:
    def __init__(self, broker):
        self.broker, self.name, self.local, self.numbers = broker, broker.name, threading.local(), itertools.count(1)
        self.generation = 0

    @property
    def address(self):
        return '127.0.0.1', self.broker.port

    def link(self):
        return Link(self.address)

    def start(self, wait_s=120):
        self.broker.start()
        end = time.monotonic() + wait_s
        while True:
            try:
                self.generation += 1
                # Its first producer id means that whatever it looks after by itself is there.
                if self.ask('init_producer_id', 1, {'transactional_id': None, 'transaction_timeout_ms': 1000})['error_code'] == 0:
                    return
            except (OSError, Rule):
                self.broker.check()
            check(time.monotonic() < end, 'it does not start')
            time.sleep(0.05)

    def restart(self, kill=False, **settings):
        """settings: for this start only; with _ for '.'."""
        self.broker.overrides = type(self.broker).overrides | {name.replace('_', '.'): value for name, value in settings.items()}
        if kill:
            self.broker.process.kill()
            self.broker.process.wait()
        else:
            self.broker.stop()
        self.start()

    def ask(self, api, version, tree):
        """On this thread's own connection."""
        if getattr(self.local, 'generation', None) != self.generation:
            self.local.link, self.local.generation = self.link(), self.generation
        try:
            return self.local.link.ask(api, version, tree)
        except (OSError, Rule):
            self.local.generation = None
            raise

    # ---- topics ----

    def create(self, name, partitions=1, replicas=1, configs=None, version=7, **more):
        """The answer about the topic."""
        entries = [{'name': key, 'value': None if value is None else str(value)} for key, value in (configs or {}).items()]
        topic = {'name': name, 'num_partitions': partitions, 'replication_factor': replicas, 'configs': entries,
                 'assignments': more.pop('assignments', [])}
        tree = {'topics': [topic], 'timeout_ms': 10_000, 'validate_only': False, **more}
        return self.ask('create_topics', version, tree)['topics'][0]

    def topic(self, partitions=1, **configs):
        """A new one; configs with _ for '.'."""
        name = f'topic-{next(self.numbers)}'
        made = self.create(name, partitions, configs={key.replace('_', '.'): value for key, value in configs.items()})
        same(made['error_code'], 0, f'{name} {made["error_message"]}')
        self.until(f'{name} is led', lambda: not self.metadata(name)['error_code'] and not any(
            partition['error_code'] for partition in self.metadata(name)['partitions']))
        return name

    def metadata(self, name):
        return self.ask('metadata', 8, {'topics': [{'name': name}], 'allow_auto_topic_creation': False})['topics'][0]

    def topic_id(self, name):
        return self.ask('metadata', 12, {'topics': [{'name': name}], 'allow_auto_topic_creation': False})['topics'][0]['topic_id']

    def configs(self, kind, name, keys=None, version=4, **more):
        """{key: the entry}."""
        tree = {'resources': [{'resource_type': kind, 'resource_name': name, 'configuration_keys': keys}],
                'include_synonyms': True, **more}
        found = self.ask('describe_configs', version, tree)['results'][0]
        same(found['error_code'], 0, found['error_message'])
        return {entry['name']: entry for entry in found['configs']}

    def alter(self, kind, name, *changes, validate_only=False):
        """changes: (key, operation 0 to 3, value). The answer about the resource."""
        entries = [{'name': key, 'config_operation': operation, 'value': value} for key, operation, value in changes]
        return self.ask('incremental_alter_configs', 1, {'resources': [{'resource_type': kind, 'resource_name': name, 'configs': entries}],
                                                         'validate_only': validate_only})['responses'][0]

    # ---- records ----

    def produce(self, topic, data, partition=0, acks=-1, version=9):
        """The answer about the partition."""
        tree = {'acks': acks, 'timeout_ms': 10_000,
                'topic_data': [{'name': topic, 'partition_data': [{'index': partition, 'records': data}]}]}
        end = time.monotonic() + 10
        while True:
            answer = self.ask('produce', version, tree)['responses'][0]['partition_responses'][0]
            if answer['error_code'] != NOT_LEADER or time.monotonic() > end:
                return answer
            time.sleep(0.05)  # a leader that is new may not know it yet

    def put(self, topic, *records, **fields):
        """As one batch; its base offset."""
        answer = self.produce(topic, batch(*records, **fields))
        same(answer['error_code'], 0, f'produce to {topic}')
        return answer['base_offset']

    def fetch(self, topic, offset, partition=0, version=11, max_bytes=8 * MIB, wait_ms=500, min_bytes=1, **more):
        """The answer about the partition."""
        of_partition = {'partition': partition, 'fetch_offset': offset, 'partition_max_bytes': more.pop('partition_max_bytes', max_bytes),
                        **{key: more.pop(key) for key in ('current_leader_epoch', 'last_fetched_epoch') if key in more}}
        tree = {'replica_id': -1, 'max_wait_ms': wait_ms, 'min_bytes': min_bytes, 'max_bytes': max_bytes, 'isolation_level': 0,
                'topics': [{'topic': topic, 'partitions': [of_partition]}], 'rack_id': '', **more}
        answer = self.ask('fetch', version, tree)
        same(answer['error_code'], 0, 'fetch')
        return answer['responses'][0]['partitions'][0]

    def stored(self, topic, partition=0):
        """All of its batches as bytes, from the start to the end."""
        data, end = b'', self.offset(topic, -1, partition)
        offset = self.offset(topic, -2, partition)
        while offset < end:
            answer = self.fetch(topic, offset, partition)
            same(answer['error_code'], 0, f'fetch of {topic} at {offset}')
            heads = wire.batches(answer['records'] or b'')
            check(heads, f'nothing at {offset} of {topic}, whose end is {end}')
            data += answer['records'][:sum(head['size'] for head in heads)]
            offset = heads[-1]['last_offset'] + 1
        return data

    def records(self, topic, partition=0):
        return records_of(self.stored(topic, partition))

    def values(self, topic):
        return [value for _, _, _, value in self.records(topic)]

    def list_offset(self, topic, time_ms, partition=0, version=7, **more):
        of_partition = {'partition_index': partition, 'timestamp': time_ms, **more}
        return self.ask('list_offsets', version, {'replica_id': -1, 'topics': [{'name': topic, 'partitions': [of_partition]}],
                                                  'timeout_ms': 10_000})['topics'][0]['partitions'][0]

    def offset(self, topic, time_ms, partition=0):
        answer = self.list_offset(topic, time_ms, partition)
        same(answer['error_code'], 0, f'ListOffsets of {topic}')
        return answer['offset']

    def delete_records(self, topic, offset, partition=0):
        return self.ask('delete_records', 1, {'topics': [{'name': topic, 'partitions': [{'partition_index': partition, 'offset': offset}]}],
                                              'timeout_ms': 10_000})['topics'][0]['partitions'][0]

    # ---- time and files ----

    def until(self, what, condition, wait_s=20):
        end = time.monotonic() + wait_s
        while not condition():
            check(time.monotonic() < end, f'{what}: not within {wait_s} s')
            time.sleep(0.05)

    def paths(self, topic, ending='log', partition=0):
        """Of its files in the data directory, in the order of their offsets."""
        return sorted(glob.glob(os.path.join(self.broker.data, '**', f'{topic}-{partition}', f'*.{ending}'), recursive=True))

    def files(self, topic, ending='log'):
        return [os.path.basename(path) for path in self.paths(topic, ending)]
