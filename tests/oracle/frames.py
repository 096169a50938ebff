# SPDX-License-Identifier: Apache-2.0
"""Requests as bytes and answers as trees, both by net/kafka.wire: no API has a line of its own here. A tree is a dict by
field name; strings are text (bytes that are no UTF-8 survive), bytes and records bytes, uuids 16 bytes."""

import os
import struct
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tools'))
from wireschema import flexible_at, parse  # noqa: E402

NUMBERS = {'i8': '>b', 'i16': '>h', 'u16': '>H', 'i32': '>i', 'i64': '>q', 'f64': '>d'}
NO_UUID = bytes(16)


def inside(version, versions):
    return bool(versions) and versions[0] <= version <= versions[1]


def uvarint(value):
    out = bytearray()
    while value > 0x7f:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def default_of(field):
    if field.default == 'null':
        return None
    if field.array:
        return []
    if field.struct:
        return None if field.optional_struct() else {}
    if field.base in ('bytes', 'records'):
        return b''
    if field.base == 'uuid':
        return NO_UUID
    if field.base == 'string':
        return field.default or ''
    if field.base == 'bool':
        return field.default == 'true'
    return float(field.default or 0) if field.base == 'f64' else int(field.default or '0', 0)


# --- writing -----------------------------------------------------------------------------------------------------------

class Writer:
    """Writes what it is given, nulls too where none are allowed, and numbers cut to their width."""

    def __init__(self, message, version):
        self.message, self.version = message, version
        self.flexible = flexible_at(message, version)

    def length(self, size, field, width='>i'):
        """size None: null."""
        if self.flexible and not field.inflexible:
            return uvarint(0 if size is None else size + 1)
        return struct.pack(width, -1 if size is None else size)

    def one(self, field, value):
        if field.struct:
            return self.struct(field.struct, value)
        if field.base == 'bool':
            return bytes([int(value) & 0xff])
        if field.base == 'string':
            data = None if value is None else value.encode('utf-8', 'surrogateescape')
            return self.length(None if data is None else len(data), field, '>h') + (data or b'')
        if field.base in ('bytes', 'records'):
            return self.length(None if value is None else len(value), field) + (value or b'')
        if field.base == 'uuid':
            return value
        if field.base == 'f64':
            return struct.pack('>d', value)
        form = NUMBERS[field.base]
        return (value & (1 << 8 * struct.calcsize(form)) - 1).to_bytes(struct.calcsize(form), 'big')

    def field(self, field, value):
        if field.array:
            items = b'' if value is None else b''.join(self.one(field, item) for item in value)
            return self.length(None if value is None else len(value), field) + items
        if field.optional_struct():
            return b'\xff' if value is None else b'\x01' + self.one(field, value)
        return self.one(field, value)

    def struct(self, struct_, tree):
        out, tags = [], []
        for field in struct_.plain_fields():
            if inside(self.version, field.versions):
                out.append(self.field(field, tree[field.name] if field.name in tree else default_of(field)))
        if not self.flexible:
            return b''.join(out)
        for field in struct_.tagged_fields():
            if field.name in tree and inside(self.version, field.versions) and tree[field.name] != default_of(field):
                tags.append((field.tag, self.field(field, tree[field.name])))
        tags += tree.get('?tags', ())  # tagged fields that nobody knows
        out.append(uvarint(len(tags)))
        for tag, data in sorted(tags):
            out.append(uvarint(tag) + uvarint(len(data)) + data)
        return b''.join(out)


def encode(message, version, tree):
    return Writer(message, version).struct(message.root, tree)


# --- reading -----------------------------------------------------------------------------------------------------------

class Unreadable(Exception):
    """The answer is not what the schema says."""


class Reader:
    def __init__(self, message, version, data):
        self.message, self.version, self.data, self.at = message, version, data, 0
        self.flexible = flexible_at(message, version)

    def take(self, size):
        if size < 0 or self.at + size > len(self.data):
            raise Unreadable(f'{size} bytes wanted at {self.at} of {len(self.data)}')
        self.at += size
        return self.data[self.at - size:self.at]

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def uvarint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7f) << shift
            if byte < 0x80:
                return value
            shift += 7

    def length(self, field, width='>i'):
        size = self.uvarint() - 1 if self.flexible and not field.inflexible else self.number(width)
        if size < 0 and not inside(self.version, field.null_versions):
            raise Unreadable(f'{field.name} is null')
        return size

    def one(self, field):
        if field.struct:
            return self.struct(field.struct)
        if field.base == 'bool':
            return self.take(1) != b'\0'
        if field.base == 'string':
            size = self.length(field, '>h')
            return None if size < 0 else self.take(size).decode('utf-8', 'surrogateescape')
        if field.base in ('bytes', 'records'):
            size = self.length(field)
            return None if size < 0 else bytes(self.take(size))
        return bytes(self.take(16)) if field.base == 'uuid' else self.number(NUMBERS[field.base])

    def field(self, field):
        if field.array:
            size = self.length(field)
            return None if size < 0 else [self.one(field) for _ in range(size)]
        if field.optional_struct() and self.number('>b') < 0:
            return None
        return self.one(field)

    def struct(self, struct_):
        tree = {}
        for field in struct_.plain_fields():
            if inside(self.version, field.versions):
                tree[field.name] = self.field(field)
        if self.flexible:
            known = {field.tag: field for field in struct_.tagged_fields() if inside(self.version, field.versions)}
            tree.update((field.name, default_of(field)) for field in known.values())
            for _ in range(self.uvarint()):
                tag, size = self.uvarint(), self.uvarint()
                end = self.at + size
                if tag in known:
                    tree[known[tag].name] = self.field(known[tag])
                else:
                    tree[f'?tag {tag}'] = bytes(self.take(size))
                if self.at != end:
                    raise Unreadable(f'tag {tag} has {size} bytes, {self.at - end} too few')
        return tree


def decode(message, version, data):
    reader = Reader(message, version, data)
    tree = reader.struct(reader.message.root)
    if reader.at != len(data):
        raise Unreadable(f'{len(data) - reader.at} bytes behind the answer')
    return tree


# --- the schema --------------------------------------------------------------------------------------------------------

class Api:
    """A key of net/kafka.wire: its messages, and the versions that Millrace serves (None: none)."""

    def __init__(self, api, messages):
        self.key, self.name, self.served = api.key, api.name, api.served
        self.request, self.response = (next(m for m in messages if m.api is api and m.kind == kind)
                                       for kind in ('request', 'response'))

    def frame(self, version, correlation_id, client_id, tree, body=None):
        """body: bytes in place of the tree."""
        header = struct.pack('>hhi', self.key, version, correlation_id)
        name = None if client_id is None else client_id.encode()
        header += struct.pack('>h', -1 if name is None else len(name)) + (name or b'')
        if flexible_at(self.request, version):
            header += b'\0'
        return header + (encode(self.request, version, tree) if body is None else body)

    def answer(self, version, payload):
        """(correlation id, tree)."""
        # ApiVersions answers with header version 0 always (KIP-511).
        skip = 5 if flexible_at(self.response, version) and self.name != 'api_versions' else 4
        if len(payload) < skip:
            raise Unreadable(f'{len(payload)} bytes are no header')
        return struct.unpack('>i', payload[:4])[0], decode(self.response, version, payload[skip:])


_APIS, _MESSAGES = parse(os.path.join(TOP, 'net', 'kafka.wire'))
# Fields that only Millrace has, in tags.
OWN = {field.name for message in _MESSAGES for struct in (message.root, *message.structs.values())
       for field in struct.fields if field.own}
APIS = {api.name: Api(api, _MESSAGES) for api in _APIS}
DATA = {message.c_name: message for message in _MESSAGES if message.kind == 'data'}
