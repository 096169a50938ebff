# SPDX-License-Identifier: Apache-2.0
"""Record batches from chance: good ones, and those that a broker must refuse."""

import gzip
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'interop'))
import wire  # noqa: E402

# An hour ago and whole: what brokers stamp themselves is told from it by being now.
BEGIN_MS = int(time.time()) // 60 * 60_000 - 3_600_000
DAY_MS = 86_400_000


def records(rng, count, keyed=True):
    out = b''
    for i in range(count):
        key = b'k%d' % rng.randrange(4) if keyed or rng.random() < 0.5 else None
        value = rng.choice((b'v%d' % rng.randrange(1000), b'', None, b'w' * 200))
        headers = [('h', rng.choice((b'x', None)))] if rng.random() < 0.2 else []
        out += wire.record_bytes(i, key, value, i, [(name.encode(), data) for name, data in headers])
    return out


def good(rng, count=None, at_ms=None, gzipped=False, **fields):
    """at_ms: the time of the first record, after BEGIN_MS; the others are a millisecond apart."""
    count = count or rng.choice((1, 1, 1, 2, 3, 5))
    at_ms = BEGIN_MS + (rng.randrange(10) * 1000 if at_ms is None else at_ms)
    payload = records(rng, count)
    if gzipped:
        payload = gzip.compress(payload, mtime=0)
    fields = {'base_timestamp': at_ms, 'max_timestamp': at_ms + count - 1, **fields}
    return wire.batch([None] * count, payload, int(gzipped), **fields)


REFUSED = ('crc', 'magic 1', 'count too small', 'control', 'two', 'head only', 'torn record')  # by everybody


def odd(rng, kinds_wanted=None):
    """(what it is, bytes): most are to be refused, some to be mended, some are taken."""
    count = 2
    times = dict(base_timestamp=BEGIN_MS, max_timestamp=BEGIN_MS + 1)
    whole = good(rng, count)

    def lie(payload=None, codec=0, **fields):
        return wire.batch([None] * count, records(rng, count) if payload is None else payload, codec, **{**times, **fields})
    kinds = {
        'crc': lambda: lie(crc=7), 'magic 0': lambda: lie(magic=0), 'magic 1': lambda: lie(magic=1), 'magic 3': lambda: lie(magic=3),
        'magic -1': lambda: lie(magic=-1),
        'count too large': lambda: lie(count=3), 'count too small': lambda: lie(count=1), 'count 0': lambda: lie(count=0),
        'count negative': lambda: lie(count=-1),
        'last delta too large': lambda: lie(last_offset_delta=2), 'last delta too small': lambda: lie(last_offset_delta=0),
        'last delta negative': lambda: lie(last_offset_delta=-1),
        'control': lambda: lie(attributes=0x20), 'transactional': lambda: lie(attributes=0x10),
        'append time': lambda: lie(attributes=8), 'delete horizon': lambda: lie(attributes=0x40), 'unused bit': lambda: lie(attributes=0x80),
        'codec 5': lambda: lie(codec=5), 'codec 7': lambda: lie(codec=7),
        'no gzip': lambda: lie(codec=1), 'no snappy': lambda: lie(b'\xff' * 9, 2), 'no lz4': lambda: lie(codec=3), 'no zstd': lambda: lie(codec=4),
        'gzip cut': lambda: lie(gzip.compress(records(rng, count), mtime=0)[:-4], 1),
        'gzip and more': lambda: lie(gzip.compress(records(rng, count) + b'more', mtime=0), 1),
        'base offset': lambda: lie(base_offset=5), 'base offset negative': lambda: lie(base_offset=-1),
        'leader epoch': lambda: lie(leader_epoch=7),
        'shorter than said': lambda: whole[:-3], 'longer than said': lambda: whole + b'xyz', 'head only': lambda: whole[:61],
        'half a head': lambda: whole[:30], 'length 0': lambda: lie(length=0), 'length negative': lambda: lie(length=-5),
        'length huge': lambda: lie(length=2**31 - 1), 'two': lambda: whole + good(rng, 1), 'empty': lambda: b'', 'null': lambda: None,
        'no records': lambda: wire.batch([], b'', **times),
        'torn record': lambda: lie(records(rng, count)[:-2]), 'bytes behind the records': lambda: lie(records(rng, count) + b'..'),
        'record of length 0': lambda: lie(b'\0' + wire.record_bytes(1, b'k', b'v')),
        'offset deltas': lambda: lie(wire.record_bytes(0, b'k', b'v') + wire.record_bytes(5, b'k', b'v')),
        'gzip, offset deltas': lambda: lie(gzip.compress(wire.record_bytes(0, b'k', b'v') + wire.record_bytes(5, b'k', b'v'), mtime=0), 1),
        'no key': lambda: lie(wire.record_bytes(0, None, b'v') + wire.record_bytes(1, b'k', b'v')),
        'no time': lambda: lie(base_timestamp=-1, max_timestamp=-1), 'time negative': lambda: lie(base_timestamp=-5, max_timestamp=-4),
        'wrong max time': lambda: lie(max_timestamp=BEGIN_MS + 500), 'no max time': lambda: lie(max_timestamp=-1),
        'far past': lambda: lie(base_timestamp=1000, max_timestamp=1001),
        'far future': lambda: lie(base_timestamp=BEGIN_MS + 10 * DAY_MS, max_timestamp=BEGIN_MS + 10 * DAY_MS + 1),
        'producer without sequence': lambda: lie(producer_id=10**9, producer_epoch=0), 'epoch without producer': lambda: lie(producer_epoch=3),
        'sequence without producer': lambda: lie(base_sequence=3), 'producer negative': lambda: lie(producer_id=-2, producer_epoch=0, base_sequence=0),
        'epoch negative': lambda: lie(producer_id=10**9, producer_epoch=-1, base_sequence=0),
        'large': lambda: wire.batch([None], wire.record_bytes(0, b'k', b'x' * 1_050_000), **times) if rng.random() < 0.02 else whole,
    }
    what = rng.choice(kinds_wanted or list(kinds))
    return what, kinds[what]()
