# SPDX-License-Identifier: Apache-2.0
"""Cases of tests/cluster/run about disks that rot: what the scrub or a reader finds damaged in a closed segment comes back from
another replica, byte for byte, and where there is no other one it stays damaged and is not served."""
import glob
import os
import time

import broker as brokers
import hints
import wire
from nodes import check
from replicated import await_full_sets, sets

RECORDS, SIZE, SEGMENT = 90, 40_000, 1 << 20
CORRUPT = wire.ERROR['CORRUPT_MESSAGE']


def restart(c, nodes, *more):
    """With nothing in memory of what their disks hold."""
    for node in nodes:
        check(brokers.stop(c.running.pop(node)) == 0, f'broker {node} does not stop')
        c.more[node] = [word for setting in more for word in ('--override', setting)]
        c.start(node)
        c.all_see(list(c.address))


def filled(c, name, replicas):
    """Several closed segments; values by offset."""
    topic = c.create(1, name=name, replicas=replicas, configs={'segment.bytes': SEGMENT})
    values = [b'%s-%05d-' % (name.encode(), i) + os.urandom(SIZE) for i in range(RECORDS)]
    with wire.Connection(c.address[sets(c, 1, topic)[0][0]], 30) as link:
        for i, value in enumerate(values):
            got = wire.produce(link, topic, 0, wire.batch([value]))
            check(got == (0, i), f'produce of {i} answers {got}')
    return topic, values


def segments(c, node, topic):
    """Paths of those that are closed."""
    return sorted(glob.glob(os.path.join(c.folder, str(node), 'data', topic + '-0', '*.log')))[:-1]


def contents(path):
    with open(path, 'rb') as file:
        return file.read()


def damage(path, bits=(), zeros=()):
    with open(path, 'r+b') as file:
        for at in bits:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 0x10]))
        for at, length in zeros:
            file.seek(at)
            file.write(bytes(length))
        os.fsync(file.fileno())


def batch_at(path, number):
    """Where the batch of this number begins in the file."""
    return sum(batch['size'] for batch in list(wire.batches(contents(path)))[:number])


def damages(path):
    """Of several kinds: a record, an offset that no checksum covers, a length, and a stretch over three batches."""
    third, tenth = batch_at(path, 3), batch_at(path, 10)
    return {'bits': [batch_at(path, 1) + 20_000, third + 7, batch_at(path, 6) + 10], 'zeros': [(tenth - 3_000, SIZE + 9_000)]}


def fetched(c, node, topic, offset):
    """(error, values by offset) of one answer; what loses the connection is asked again."""
    answer = None
    for _ in range(3):
        try:
            answer = hints.ask_once(c.address[node], 'fetch', 11, {
                'replica_id': -1, 'max_wait_ms': 0, 'min_bytes': 1, 'max_bytes': 1 << 20, 'isolation_level': 0, 'rack_id': '',
                'topics': [{'topic': topic, 'partitions': [{'partition': 0, 'fetch_offset': offset, 'partition_max_bytes': 1 << 20}]}]})
            break
        except (wire.Closed, OSError):
            continue
    check(answer, f'broker {node} does not answer a fetch of {offset}')
    told = answer['responses'][0]['partitions'][0]
    records = told['records'] or b''
    found = {}
    for batch in wire.batches(records):
        if batch['size'] <= len(records):
            found[batch['base_offset']] = batch
    return told['error_code'], found, records


def read_all(c, node, topic, values, wait_s=20):
    """Everything, the right bytes, with a little patience for what is being mended."""
    offset, end, errors = 0, time.monotonic() + wait_s, 0
    while offset < len(values):
        error, batches, records = fetched(c, node, topic, offset)
        check(error in (0, CORRUPT), f'broker {node} answers offset {offset} with {wire.name_of(error)}')
        check(error == 0 or time.monotonic() < end, f'broker {node} still answers offset {offset} with {wire.name_of(error)}')
        errors += error != 0
        if error != 0:
            time.sleep(0.1)
        for base in sorted(batches):
            check(values[base] in records, f'offset {base} of broker {node} is something else than what was written')
            offset = max(offset, base + 1)
    return errors


def mended(c, node, topic, whole, wait_s=30):
    """The files are again what they were."""
    began = time.monotonic()
    brokers.until(f'the segments of broker {node} are mended', lambda: all(contents(path) == was for path, was in whole.items()), wait_s)
    check(f'event=log.mended file={list(whole)[0]}' in c.log(node).replace('"', ''), f'broker {node} does not say so')
    return time.monotonic() - began


def alike(c, topic):
    """The closed segments of all replicas are the same, byte for byte: {node: {path: bytes}}."""
    found = {node: {path: contents(path) for path in segments(c, node, topic)} for node in c.address}
    check(all(list(files.values()) == list(found[1].values()) and len(files) > 1 for files in found.values()),
          f'segments differ: { {node: [len(data) for data in files.values()] for node, files in found.items()} }')
    return found


def rots(c, topic, values, read):
    """A follower, then the leader; read(node) may be who finds it."""
    await_full_sets(c, topic)
    whole = alike(c, topic)
    leader, replicas, _ = sets(c, 1, topic)[0]
    follower = next(node for node in replicas if node != leader)
    took = {}
    for role, node in (('follower', follower), ('leader', leader)):
        for path in whole[node]:
            damage(path, **damages(path))
        read(node)
        took[role] = mended(c, node, topic, whole[node])
        for other in c.address:
            read_all(c, other, topic, values)
    alike(c, topic)
    return ', '.join(f'{role} {s:.1f} s' for role, s in took.items())


def by_the_scrub(c):
    """Closed segments of a follower and of the leader are damaged, in all kinds of places at once: the scrub finds it, and they
    are again what they were."""
    topic, values = filled(c, 'rotten-scrub', 3)
    restart(c, list(c.address), 'millrace.scrub.period.ms=1000', 'millrace.scrub.max.bytes.per.second=1000000000')
    try:
        return rots(c, topic, values, lambda node: None)
    finally:
        restart(c, list(c.address))


def by_a_reader(c):
    """Likewise where nobody scrubs: who reads the leader or the follower is refused, and has it a moment later."""
    topic, values = filled(c, 'rotten-read', 3)
    restart(c, list(c.address), 'millrace.scrub.period.ms=-1')
    errors = []
    try:
        note = rots(c, topic, values, lambda node: errors.append(read_all(c, node, topic, values)))
    finally:
        restart(c, list(c.address))
    check(all(errors), f'readers met {errors} errors')
    return f'{note}; {errors} refusals meanwhile'


def never_the_last(c):
    """Of a partition with one replica damage stays, in the file and in what is answered, and all around it is served."""
    topic, values = filled(c, 'rotten-alone', 1)
    node = sets(c, 1, topic)[0][0]
    restart(c, [node], 'millrace.scrub.period.ms=1000', 'millrace.scrub.max.bytes.per.second=1000000000')
    try:
        path = segments(c, node, topic)[0]
        whole = contents(path)
        bad = 5
        damage(path, bits=[batch_at(path, bad) + 100])
        rotten = contents(path)
        brokers.until('the damage is told', lambda: f'log.damaged file={path}' in c.log(node), 30)
        time.sleep(3)
        for offset in range(RECORDS):
            error, batches, records = fetched(c, node, topic, offset)
            check((error == CORRUPT) == (offset == bad), f'offset {offset} is answered with {wire.name_of(error)}')
            check(all(values[base] in records for base in batches) and bad not in batches, f'fetched from {offset}: something else')
        check(contents(path) == rotten != whole and 'event=log.mended' not in c.log(node)[c.log(node).rfind('event=recovery.done'):],
              'the file was changed')
    finally:
        restart(c, [node])


def in_the_open(c):
    """Damage in the open segment of a follower waits for the next record, which closes it."""
    topic, values = filled(c, 'rotten-open', 3)
    restart(c, list(c.address), 'millrace.scrub.period.ms=1000', 'millrace.scrub.max.bytes.per.second=1000000000')
    try:
        await_full_sets(c, topic)
        leader, replicas, _ = sets(c, 1, topic)[0]
        node = next(one for one in replicas if one != leader)
        path = sorted(glob.glob(os.path.join(c.folder, str(node), 'data', topic + '-0', '*.log')))[-1]
        size = batch_at(path, RECORDS)
        whole = contents(path)[:size]
        damage(path, bits=[batch_at(path, 1) + 100])
        brokers.until('the damage is told', lambda: f'log.damaged file={path}' in c.log(node), 30)
        with wire.Connection(c.address[leader]) as link:
            check(wire.produce(link, topic, 0, wire.batch([b'last']))[0] == 0, 'produce')
        took = mended(c, node, topic, {path: whole})
        read_all(c, node, topic, [*values, b'last'])
        return f'{took:.1f} s after it'
    finally:
        restart(c, list(c.address))


CASES = (by_the_scrub, by_a_reader, in_the_open, never_the_last)
