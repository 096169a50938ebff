# SPDX-License-Identifier: Apache-2.0
"""Kafka's protocol by hand: just enough to see what is really stored and to say what no client would say.

Fixed, old, non-flexible versions on purpose (ApiVersions 0, Metadata 1, Produce 3 and 7, Fetch 4, ListOffsets 1,
CreateTopics 2, DeleteTopics 1, DeleteRecords 0): every broker since Kafka 2.1 serves them, and a reader can check them with a pencil.
"""

import socket
import struct
import time

PRODUCE, FETCH, LIST_OFFSETS, METADATA, CREATE_TOPICS, DELETE_TOPICS, API_VERSIONS = 0, 1, 2, 3, 19, 20, 18
DELETE_RECORDS = 21
CODECS = ('none', 'gzip', 'snappy', 'lz4', 'zstd')
ERROR = {
    'NONE': 0, 'OFFSET_OUT_OF_RANGE': 1, 'CORRUPT_MESSAGE': 2, 'UNKNOWN_TOPIC_OR_PARTITION': 3,
    'LEADER_NOT_AVAILABLE': 5, 'MESSAGE_TOO_LARGE': 10, 'INVALID_TOPIC_EXCEPTION': 17, 'RECORD_LIST_TOO_LARGE': 18,
    'INVALID_REQUIRED_ACKS': 21, 'INVALID_TIMESTAMP': 32, 'UNSUPPORTED_VERSION': 35, 'TOPIC_ALREADY_EXISTS': 36,
    'INVALID_PARTITIONS': 37, 'INVALID_REPLICATION_FACTOR': 38, 'INVALID_REQUEST': 42,
    'UNSUPPORTED_FOR_MESSAGE_FORMAT': 43, 'POLICY_VIOLATION': 44, 'OUT_OF_ORDER_SEQUENCE_NUMBER': 45,
    'KAFKA_STORAGE_ERROR': 56, 'INVALID_RECORD': 87,
}
ERROR_NAME = {code: name for name, code in ERROR.items()}


def name_of(code):
    return ERROR_NAME.get(code, f'error {code}')


class Closed(Exception):
    """The broker closed the connection where an answer was awaited."""


# --- primitive types ---------------------------------------------------------------------------------------------

def i8(value): return struct.pack('>b', value)
def i16(value): return struct.pack('>h', value)
def i32(value): return struct.pack('>i', value)
def i64(value): return struct.pack('>q', value)
def string(text): return i16(-1) if text is None else i16(len(text.encode())) + text.encode()
def blob(data): return i32(-1) if data is None else i32(len(data)) + data
def array(items): return i32(len(items)) + b''.join(items)


def varint(value):
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7f:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        if size < 0 or self.at + size > len(self.data):
            raise ValueError(f'answer ends early: {size} bytes wanted at {self.at} of {len(self.data)}')
        self.at += size
        return self.data[self.at - size:self.at]

    def i8(self): return struct.unpack('>b', self.take(1))[0]
    def i16(self): return struct.unpack('>h', self.take(2))[0]
    def i32(self): return struct.unpack('>i', self.take(4))[0]
    def i64(self): return struct.unpack('>q', self.take(8))[0]

    def string(self):
        size = self.i16()
        return None if size < 0 else self.take(size).decode()

    def blob(self):
        size = self.i32()
        return None if size < 0 else self.take(size)

    def array(self, item):
        return [item() for _ in range(self.i32())]


# --- connection --------------------------------------------------------------------------------------------------

def header(key, version, correlation_id, client_id='interop'):
    return i16(key) + i16(version) + i32(correlation_id) + string(client_id)


def frame(payload):
    return i32(len(payload)) + payload


class Connection:
    def __init__(self, address, timeout_s=15):
        self.socket = socket.create_connection(address, timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation_id = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, key, version, body):
        """Sends one request and returns its correlation id; the answer is read by receive()."""
        self.correlation_id += 1
        self.socket.sendall(frame(header(key, version, self.correlation_id) + body))
        return self.correlation_id

    def _exactly(self, size):
        parts, have = [], 0
        while have < size:
            try:
                part = self.socket.recv(min(size - have, 1 << 20))
            except ConnectionResetError:
                raise Closed('connection reset') from None
            if not part:
                raise Closed(f'connection closed after {have} of {size} bytes')
            parts.append(part)
            have += len(part)
        return b''.join(parts)

    def receive(self):
        """The next answer: (correlation id, reader behind the response header v0)."""
        size = struct.unpack('>i', self._exactly(4))[0]
        reader = Reader(self._exactly(size))
        return reader.i32(), reader

    def call(self, key, version, body):
        wanted = self.send(key, version, body)
        got, reader = self.receive()
        if got != wanted:
            raise ValueError(f'answer to request {got} came where {wanted} was awaited')
        return reader

    def silent(self, wait_s):
        """True when nothing arrives for wait_s and the connection stays open."""
        self.socket.settimeout(wait_s)
        try:
            data = self.socket.recv(1)
            if not data:
                raise Closed('connection closed')
            return False
        except socket.timeout:
            return True
        finally:
            self.socket.settimeout(15)

    def closed_within(self, wait_s):
        """True when the broker closes the connection within wait_s; whatever it says before is thrown away."""
        end = time.monotonic() + wait_s
        while time.monotonic() < end:
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                if not self.socket.recv(65536):
                    return True
            except socket.timeout:
                return False
            except (ConnectionResetError, BrokenPipeError):
                return True
        return False


# --- requests ----------------------------------------------------------------------------------------------------

def api_versions(connection):
    reader = connection.call(API_VERSIONS, 0, b'')
    error = reader.i16()
    return error, {key: (low, high) for key, low, high in
                   reader.array(lambda: (reader.i16(), reader.i16(), reader.i16()))}


def _metadata(connection, topics):
    """As metadata(), but {partition: (error, leader, replicas, commit set)}."""
    reader = connection.call(METADATA, 1, i32(-1) if topics is None else array([string(t) for t in topics]))
    brokers = {}
    for _ in range(reader.i32()):
        node, host, port = reader.i32(), reader.string(), reader.i32()
        reader.string()
        brokers[node] = (host, port)
    controller = reader.i32()
    found = {}
    for _ in range(reader.i32()):
        error, name = reader.i16(), reader.string()
        reader.i8()
        partitions = {}
        for _ in range(reader.i32()):
            partition_error, partition, leader = reader.i16(), reader.i32(), reader.i32()
            partitions[partition] = (partition_error, leader, reader.array(reader.i32), reader.array(reader.i32))
        found[name] = (error, partitions)
    return controller, brokers, found


def metadata(connection, topics=None):
    """(controller id, {broker id: (host, port)}, {topic: (error, {partition: (error, leader)})}); None asks for all."""
    controller, brokers, found = _metadata(connection, topics)
    return controller, brokers, {name: (error, {partition: told[:2] for partition, told in partitions.items()})
                                 for name, (error, partitions) in found.items()}


def commit_sets(connection, topic):
    """{partition: (leader, replicas, commit set)}."""
    _, _, found = _metadata(connection, [topic])
    return {partition: told[1:] for partition, told in found[topic][1].items()}


def create_topic(connection, topic, partitions=1, configs=None, replication_factor=1):
    entries = array([string(name) + string(str(value)) for name, value in (configs or {}).items()])
    body = array([string(topic) + i32(partitions) + i16(replication_factor) + i32(0) + entries]) + i32(10_000) + i8(0)
    reader = connection.call(CREATE_TOPICS, 2, body)
    reader.i32()
    return reader.array(lambda: (reader.string(), reader.i16(), reader.string()))[0][1:]


def delete_topic(connection, topic):
    reader = connection.call(DELETE_TOPICS, 1, array([string(topic)]) + i32(10_000))
    reader.i32()
    return reader.array(lambda: (reader.string(), reader.i16()))[0][1]


def delete_records(connection, topic, partition, offset):
    """(error, log start offset)."""
    body = array([string(topic) + array([i32(partition) + i64(offset)])]) + i32(10_000)
    reader = connection.call(DELETE_RECORDS, 0, body)
    reader.i32()

    def of_topic():
        reader.string()
        return reader.array(lambda: (reader.i32(), reader.i64(), reader.i16()))
    _, start, error = reader.array(of_topic)[0][0]
    return error, start


def produce_body(topic, partition, data, acks=-1, transactional_id=None):
    return (string(transactional_id) + i16(acks) + i32(10_000) +
            array([string(topic) + array([i32(partition) + blob(data)])]))


def produce_answer(reader, version=3):
    """(error, base offset) of the one partition of produce_body()."""
    def of_partition():
        answer = reader.i32(), reader.i16(), reader.i64(), reader.i64()
        if version >= 5:
            reader.i64()
        return answer[1:3]

    def of_topic():
        reader.string()
        return reader.array(of_partition)
    return reader.array(of_topic)[0][0]


def produce(connection, topic, partition, data, acks=-1, version=3):
    return produce_answer(connection.call(PRODUCE, version, produce_body(topic, partition, data, acks)), version)


def fetch_body(topic, partition, offset, max_bytes=1 << 20, wait_ms=500, isolation=0, min_bytes=1):
    return (i32(-1) + i32(wait_ms) + i32(min_bytes) + i32(max_bytes) + i8(isolation) +
            array([string(topic) + array([i32(partition) + i64(offset) + i32(max_bytes)])]))


def fetch_answer(reader):
    """(error, high watermark, last stable offset, records) of the one partition of fetch_body()."""
    reader.i32()

    def of_partition():
        _, error, high_watermark, stable = reader.i32(), reader.i16(), reader.i64(), reader.i64()
        reader.array(lambda: (reader.i64(), reader.i64()))
        return error, high_watermark, stable, reader.blob() or b''

    def of_topic():
        reader.string()
        return reader.array(of_partition)
    return reader.array(of_topic)[0][0]


def fetch(connection, topic, partition, offset, max_bytes=1 << 20, isolation=0, wait_ms=500):
    return fetch_answer(connection.call(FETCH, 4, fetch_body(topic, partition, offset, max_bytes, wait_ms, isolation)))


def list_offset(connection, topic, partition, timestamp_ms):
    """(error, timestamp, offset); timestamp -1 asks for the end, -2 for the start."""
    body = i32(-1) + array([string(topic) + array([i32(partition) + i64(timestamp_ms)])])
    reader = connection.call(LIST_OFFSETS, 1, body)

    def of_topic():
        reader.string()
        return reader.array(lambda: (reader.i32(), reader.i16(), reader.i64(), reader.i64()))
    return reader.array(of_topic)[0][0][1:]


# --- batches -----------------------------------------------------------------------------------------------------

_CRC_TABLE = []
for _byte in range(256):
    for _ in range(8):
        _byte = _byte >> 1 ^ (0x82f63b78 if _byte & 1 else 0)
    _CRC_TABLE.append(_byte)


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xff]
    return crc ^ 0xffffffff


def record_bytes(offset_delta, key, value, timestamp_delta=0, headers=()):
    def nullable(data):
        return varint(-1) if data is None else varint(len(data)) + data
    body = (i8(0) + varint(timestamp_delta) + varint(offset_delta) + nullable(key) + nullable(value) +
            varint(len(headers)) + b''.join(nullable(name) + nullable(data) for name, data in headers))
    return varint(len(body)) + body


def batch(values, payload=None, codec=0, **lie):
    """A v2 batch of these values. `payload` replaces the records; `lie` overrides a field of the header after which
    the CRC is still computed, unless `crc` itself is the lie."""
    now_ms = int(time.time() * 1000)
    count = len(values)
    if payload is None:
        payload = b''.join(record_bytes(i, None, value) for i, value in enumerate(values))
    field = dict(base_offset=0, leader_epoch=-1, magic=2, attributes=codec, last_offset_delta=count - 1,
                 base_timestamp=now_ms, max_timestamp=now_ms, producer_id=-1, producer_epoch=-1, base_sequence=-1,
                 count=count)
    field.update(lie)
    body = (i16(field['attributes']) + i32(field['last_offset_delta']) + i64(field['base_timestamp']) +
            i64(field['max_timestamp']) + i64(field['producer_id']) + i16(field['producer_epoch']) +
            i32(field['base_sequence']) + i32(field['count']) + payload)
    tail = (i32(field['leader_epoch']) + i8(field['magic']) +
            struct.pack('>I', field.get('crc', crc32c(body))) + body)
    return i64(field['base_offset']) + i32(field.get('length', len(tail))) + tail


def batches(data):
    """The headers of the whole batches in fetched bytes or in a segment; a torn tail is left out, as clients do."""
    found, at = [], 0
    while at + 61 <= len(data):
        base_offset, length, epoch, magic, _, attributes, last_delta, base_ms, max_ms, producer_id, producer_epoch, \
            base_sequence, count = struct.unpack_from('>qiibIhiqqqhii', data, at)
        if at + 12 + length > len(data):
            break
        found.append(dict(base_offset=base_offset, leader_epoch=epoch, magic=magic, codec=CODECS[attributes & 7],
                          attributes=attributes, last_offset=base_offset + last_delta, base_timestamp=base_ms,
                          max_timestamp=max_ms, producer_id=producer_id, producer_epoch=producer_epoch,
                          base_sequence=base_sequence, count=count, size=12 + length))
        at += 12 + length
    return found


def read_varint(data, at):
    """(value, where it ends)."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return (value >> 1) ^ -(value & 1), at


def values(data):
    """[(offset, header of its batch, value)] of the whole batches in fetched bytes or in a segment, none compressed."""
    found, at = [], 0
    for head in batches(data):
        if head['codec'] != 'none':
            raise ValueError(f'a batch of {head["codec"]}')
        record = at + 61
        for _ in range(head['count']):
            size, body = read_varint(data, record)
            record = body + size
            _, body = read_varint(data, body + 1)  # behind the attributes: the time
            delta, body = read_varint(data, body)
            key_size, body = read_varint(data, body)
            value_size, body = read_varint(data, body + max(key_size, 0))
            found.append((head['base_offset'] + delta, head, data[body:body + value_size] if value_size >= 0 else None))
        at += head['size']
    return found


def stored_batches(address, topic, partition):
    """The headers of every batch of a partition, from its start to its end."""
    found = []
    with Connection(address) as connection:
        _, _, offset = list_offset(connection, topic, partition, -2)
        _, _, end = list_offset(connection, topic, partition, -1)
        while offset < end:
            error, _, _, data = fetch(connection, topic, partition, offset, 8 << 20)
            got = batches(data)
            if error or not got:
                raise ValueError(f'fetch of {topic}-{partition} at {offset}: {name_of(error)}, {len(data)} bytes')
            found += got
            offset = got[-1]['last_offset'] + 1
    return found
