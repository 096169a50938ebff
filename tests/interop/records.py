# SPDX-License-Identifier: Apache-2.0
"""A record as every client of the matrix writes and reads it, and the line that carries it.

The runner speaks to each client through a pipe, one record a line:

    offset TAB partition TAB timestamp_ms TAB key TAB value TAB name:value,name:value,...

Bytes are base64, null is `~`, empty is nothing. The same line goes both ways (the offset is -1 on the way in), so
that "byte for byte" is a comparison of two lists.
"""

import base64
import random
from typing import NamedTuple, Optional, Tuple


class Record(NamedTuple):
    partition: int
    timestamp_ms: int
    key: Optional[bytes]
    value: Optional[bytes]
    headers: Tuple[Tuple[str, Optional[bytes]], ...] = ()
    offset: int = -1


def _text_of(data):
    return '~' if data is None else base64.b64encode(data).decode()


def _bytes_of(text):
    return None if text == '~' else base64.b64decode(text)


def line_of(record):
    headers = ','.join(_text_of(name.encode()) + ':' + _text_of(value) for name, value in record.headers)
    return '\t'.join((str(record.offset), str(record.partition), str(record.timestamp_ms), _text_of(record.key),
                      _text_of(record.value), headers))


def record_of(line):
    offset, partition, timestamp_ms, key, value, headers = line.rstrip('\n').split('\t')
    pairs = tuple((_bytes_of(name).decode(), _bytes_of(data))
                  for name, data in (pair.split(':') for pair in headers.split(',') if headers))
    return Record(int(partition), int(timestamp_ms), _bytes_of(key), _bytes_of(value), pairs, int(offset))


def describe(record):
    """One short phrase for a report: long values by their length."""
    def short(data):
        return 'null' if data is None else repr(data) if len(data) < 24 else f'<{len(data)} bytes>'
    headers = ','.join(f'{name}={short(value)}' for name, value in record.headers)
    return (f'partition {record.partition} offset {record.offset} time {record.timestamp_ms} '
            f'key {short(record.key)} value {short(record.value)} headers [{headers}]')


def incompressible(size_bytes, seed=1):
    return random.Random(seed).randbytes(size_bytes)


def sample(now_ms, partitions=3, binary=True, null_header=True, null_record=True):
    """The records that each client writes with each codec: every shape of key, value and header on every partition.

    Values repeat themselves, because several clients keep a batch uncompressed when the codec does not make it smaller.
    """
    records = []
    for partition in range(partitions):
        start_ms = now_ms - 3_600_000 + partition
        shapes = [
            (b'plain', b'value ' * 200, ()),
            (None, b'no key ' * 100, ()),
            (b'no value', None, ()),
            (b'empty value', b'', ()),
            (b'\xd1\x8e\xf0\x9f\x90\x98', 'пример '.encode() * 50, ()),
            (b'one header', b'h ' * 100, (('name', b'value'),)),
            (b'many headers', b'h ' * 100, (('twice', b'1'), ('other', b'x'), ('twice', b'2'), ('empty', b''))),
            (b'long', b'0123456789abcdef' * 6400, ()),
        ]
        if null_header:
            shapes.append((b'null header', b'h ' * 100, (('nothing', None), ('something', b'1'))))
        if binary:
            shapes += [(b'', b'empty key ' * 50, ()), (b'', b'', ()),
                       (bytes(range(256)), bytes(range(256)) * 8, (('binary', bytes(range(256))),))]
        if null_record:
            shapes.append((None, None, ()))
        shapes += [(b'key %d' % i, b'filler %d ' % i * 40, ()) for i in range(12)]
        records += [Record(partition, start_ms + 977 * i, key, value, headers)
                    for i, (key, value, headers) in enumerate(shapes)]
    return records
