# SPDX-License-Identifier: Apache-2.0
"""Disks and neighbours that are wrong in a way an operator can repair: the broker says what, where and what to do."""

import hashlib
import os
import re
import subprocess
import time

import wire
from disks import LoopDisk, run as command, unmount
from victim import Failure, Victim, check

RECORDS = 20
TOPIC = 'faults'


def marker(number):
    """A value that is easy to find in a file."""
    return b'<record %04d %s>' % (number, hashlib.sha256(b'%d' % number).hexdigest().encode()) * 4


def create(victim, **configs):
    with wire.Connection(victim.address) as connection:
        error, text = wire.create_topic(connection, TOPIC, 1, {name.replace('_', '.'): value for name, value in configs.items()})
        check(error in (0, wire.ERROR['TOPIC_ALREADY_EXISTS']), f'CreateTopics: {wire.name_of(error)} {text}')


def write(victim, numbers):
    """One batch and one commit after another: the journal holds a group for each."""
    with wire.Connection(victim.address) as connection:
        for number in numbers:
            got = wire.produce(connection, TOPIC, 0, wire.batch([marker(number)]))
            check(got == (0, number), f'Produce answers {wire.name_of(got[0])}, offset {got[1]} to record {number}')


def read_count(victim):
    """How many records are there; each must be what was written at its offset."""
    with wire.Connection(victim.address) as connection:
        error, _, end = wire.list_offset(connection, TOPIC, 0, -1)
        check(error == 0, f'ListOffsets: {wire.name_of(error)}')
        offset = 0
        while offset < end:
            error, _, _, data = wire.fetch(connection, TOPIC, 0, offset, 8 << 20)
            found = wire.batches(data)
            check(error == 0 and found, f'Fetch at {offset}: {wire.name_of(error)}, {len(data)} bytes')
            for batch in found:
                check(batch['base_offset'] == offset, f'{batch["base_offset"]} follows where {offset} was next')
                check(data.find(marker(offset)) >= 0, f'record {offset} is not what was written')
                offset = batch['last_offset'] + 1
        return end


def file_with(folder, prefix, suffix, needle):
    """(path, position) of the last place where a file of that name holds the bytes."""
    for root, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            if name.startswith(prefix) and name.endswith(suffix):
                path = os.path.join(root, name)
                with open(path, 'rb') as file:
                    at = file.read().rfind(needle)
                if at >= 0:
                    return path, at
    raise Failure(f'no file {prefix}*{suffix} holds the record')


def flip(path, at):
    with open(path, 'r+b') as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def snapshot(folder):
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            with open(path, 'rb') as file:
                found[os.path.relpath(path, folder)] = hashlib.sha256(file.read()).hexdigest()
    return found


def says(text, *patterns):
    for pattern in patterns:
        check(re.search(pattern, text), f'{pattern!r} is not in what it says: {text.strip()[-400:]}')


def first_line(text):
    return ' '.join(text.split())[:300]


# --- directories and ports of others -------------------------------------------------------------------------------

def kafka_directory(run, folder):
    data = os.path.join(folder, 'data')
    os.makedirs(os.path.join(data, 'topic-0'))
    with open(os.path.join(data, 'meta.properties'), 'w') as file:
        file.write('version=1\nbroker.id=1\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\n')
    with open(os.path.join(data, 'topic-0', '0' * 20 + '.log'), 'wb') as file:
        file.write(b'kafka' * 100)
    before = snapshot(data)
    _, text = run.victim(folder, data).refused()
    check(snapshot(data) == before, 'the directory was touched')
    says(text, 'Kafka', re.escape(data))
    return first_line(text)


def read_only(run, folder):
    data = os.path.join(folder, 'data')
    victim = run.victim(folder, data)
    victim.start()
    create(victim)
    write(victim, range(RECORDS))
    victim.kill()
    command('mount', '--bind', data, data)
    try:
        command('mount', '-o', 'remount,ro,bind', data)
        _, text = victim.refused()
        says(text, re.escape(data), '(?i)read-only')
    finally:
        unmount(data)
    victim.start()
    check(read_count(victim) == RECORDS, 'writable again, records are missing')
    victim.kill()
    return first_line(text)


def two_on(run, folder, arguments):
    """A second broker that shares something with the first is refused and names it; the first does not notice."""
    first = run.victim(folder, os.path.join(folder, 'data'))
    first.start()
    try:
        create(first)
        second = arguments(first)
        _, text = second.refused()
        says(text, rf'\b{first.process.pid}\b')
        write(first, range(RECORDS))
        check(read_count(first) == RECORDS, 'the first broker lost something')
    finally:
        first.kill()
    return first_line(text)


def same_directory(run, folder):
    return two_on(run, folder, lambda first: Victim(run.options.binary, first.data_dir, first.log_path + '.2'))


def same_port(run, folder):
    def second(first):
        victim = Victim(run.options.binary, os.path.join(folder, 'data-2'), first.log_path + '.2')
        victim.address = first.address
        return victim
    return two_on(run, folder, second)


# --- damage --------------------------------------------------------------------------------------------------------

def written_and_killed(run, folder):
    """Killed before the first checkpoint (5 s): the journal alone holds the records."""
    victim = run.victim(folder, os.path.join(folder, 'data'))
    victim.start()
    create(victim)
    write(victim, range(RECORDS))
    victim.kill()
    return victim


def damaged(victim, path, at, said_at):
    """A flipped bit stops the start, which says where; flipped back, everything is there."""
    flip(path, at)
    _, text = victim.refused()
    says(text, re.escape(path), rf'offset {said_at}\b', 'restore')
    flip(path, at)
    victim.start()
    check(read_count(victim) == RECORDS, 'flipped back, records are missing')
    victim.kill()
    return first_line(text)


def journal_bit(run, folder):
    victim = written_and_killed(run, folder)
    path, at = file_with(victim.data_dir, 'journal-', '', marker(RECORDS // 2))
    return damaged(victim, path, at, at // 4096 * 4096)


def journal_tail(run, folder):
    """Damage in the last group is what a torn write leaves: the broker starts with what lies before."""
    victim = written_and_killed(run, folder)
    path, at = file_with(victim.data_dir, 'journal-', '', marker(RECORDS - 1))
    flip(path, at)
    victim.start()
    said = victim.said()
    says(said, rf'recovery.groups_discarded journal=journal-\d position={at // 4096 * 4096} groups=1 bytes=[1-9]',
         r'recovery.done .* last_stop=unclean .* records=[1-9]\d+ .* discarded_bytes=[1-9]')
    count = read_count(victim)
    check(count == RECORDS - 1, f'{count} records are there')
    write(victim, range(count, RECORDS + 5))
    victim.kill()
    victim.start()
    count = read_count(victim)
    check(count == RECORDS + 5, f'after the next restart {count} records are there')
    victim.stop()
    victim.start()
    says(victim.said(), 'recovery.done .* last_stop=clean .* records=0 bytes=0 discarded_bytes=0')
    victim.kill()
    return first_line(said)


def journal_gone(run, folder):
    """The only copy of what was acknowledged last: a start without it, or with a part, would lose that in silence."""
    victim = written_and_killed(run, folder)
    path, _ = file_with(victim.data_dir, 'journal-', '', marker(RECORDS // 2))
    kept = path + '.kept'
    os.rename(path, kept)
    _, text = victim.refused()
    says(text, re.escape(path), 'is missing', 'restore')
    with open(kept, 'rb') as whole, open(path, 'wb') as part:
        part.write(whole.read(os.path.getsize(kept) // 2))
    _, cut_text = victim.refused()
    says(cut_text, re.escape(path), 'is cut off', 'restore')
    os.rename(kept, path)
    victim.start()
    check(read_count(victim) == RECORDS, 'with the right file, records are missing')
    victim.kill()
    return first_line(text)


def written_and_stopped(run, folder):
    """The segment holds the records, and the journal no more."""
    victim = run.victim(folder, os.path.join(folder, 'data'))
    victim.start()
    create(victim)
    write(victim, range(RECORDS))
    victim.stop()
    return victim


def batch_around(path, at):
    """(where the batch begins in the file that holds this byte, its base offset)."""
    with open(path, 'rb') as file:
        data = file.read()
    begin = 0
    for batch in wire.batches(data):
        if begin + batch['size'] > at:
            return begin, batch['base_offset']
        begin += batch['size']
    raise Failure(f'no batch at {at} of {path}')


def segment_bit(run, folder):
    """The end of each log's last segment is read at start: a flipped bit anywhere in a batch there stops it, be it in
    the records, in the checksum or in what the checksum does not cover."""
    victim = written_and_stopped(run, folder)
    path, at = file_with(victim.data_dir, '0' * 20, '.log', marker(RECORDS // 2))
    begin, _ = batch_around(path, at)
    text = damaged(victim, path, at, begin)
    for place in (0, 8, 14, 16, 18, 25):  # offset, length, epoch, magic, checksum, last offset delta
        damaged(victim, path, begin + place, begin)
    return text


def segment_bit_cold(run, folder):
    """Older parts are checked when they are read: who runs into the damage loses the connection in the middle of the
    answer, from then on the batch answers CORRUPT_MESSAGE, and everything around it is served."""
    victim = run.victim(folder, os.path.join(folder, 'data'))
    victim.start()
    create(victim)
    with wire.Connection(victim.address) as connection:
        for number in range(RECORDS):
            got = wire.produce(connection, TOPIC, 0, wire.batch([marker(number) + os.urandom(40_000)]))
            check(got == (0, number), f'Produce answers {wire.name_of(got[0])}')
    victim.stop()
    bad = RECORDS // 2
    path, at = file_with(victim.data_dir, '0' * 20, '.log', marker(bad))
    begin, base = batch_around(path, at)
    check(base == bad, f'record {bad} is in batch {base}')
    flip(path, at)
    victim.start()
    found = {}
    for offset in range(RECORDS):
        for _ in range(2):
            try:
                with wire.Connection(victim.address) as connection:
                    error, _, _, data = wire.fetch(connection, TOPIC, 0, offset, 8 << 20)
                break
            except wire.Closed:
                found['closed'] = found.get('closed', 0) + 1
        whole = wire.batches(data)
        if offset == bad:
            check(error == wire.ERROR['CORRUPT_MESSAGE'] and not whole, f'the damaged batch answers {wire.name_of(error)}')
            continue
        check(error == 0 and whole and whole[0]['base_offset'] == offset, f'offset {offset}: {wire.name_of(error)}')
        last = bad - 1 if offset < bad else RECORDS - 1
        check(whole[-1]['base_offset'] == last, f'from {offset} on, batches up to {whole[-1]["base_offset"]} are served')
        check(all(data.find(marker(number)) >= 0 for number in range(offset, last + 1)), 'other bytes than were written')
    check(found.get('closed', 0) == 1, f'{found} connections were closed')
    with wire.Connection(victim.address) as connection:
        error, _, _ = wire.list_offset(connection, TOPIC, 0, 0)
        check(error == 0, f'ListOffsets of the first record: {wire.name_of(error)}')
    says(victim.said(), 'log.damaged', re.escape(path), rf'offset={begin}\b', rf'batch={bad}\b')
    victim.stop()
    return f'batch {bad} at {begin} of {os.path.basename(path)}'


def segment_cut(run, folder):
    """A segment that is shorter than what was acknowledged stops the start."""
    victim = written_and_stopped(run, folder)
    path, _ = file_with(victim.data_dir, '0' * 20, '.log', marker(RECORDS - 1))
    size = os.path.getsize(path)
    os.truncate(path, size - 100)
    _, text = victim.refused()
    says(text, re.escape(os.path.basename(path)), r'\d{3,}')
    return first_line(text)


def large_batches(victim, numbers):
    """They go to the segment alone; the journal has but their edges."""
    with wire.Connection(victim.address) as connection:
        for number in numbers:
            got = wire.produce(connection, TOPIC, 0, wire.batch([marker(number) + os.urandom(300_000)]))
            check(got == (0, number), f'Produce answers {wire.name_of(got[0])}')


def segment_gone(run, folder):
    """After kill -9, what the journal has no copy of is missed at once: a segment that went, or ends too early, with
    its extents in the journal or already in a checkpoint."""
    victim = run.victim(folder, os.path.join(folder, 'data'))
    victim.start()
    create(victim)
    large_batches(victim, range(5))
    victim.kill()
    path, _ = file_with(victim.data_dir, '0' * 20, '.log', marker(0))
    kept, size = path + '.kept', os.path.getsize(path)
    count = 5
    for covered in (False, True):
        os.rename(path, kept)
        _, text = victim.refused()
        says(text, re.escape(path), 'is missing', 'restore')
        check(not os.path.exists(path), 'the refused start has made the file anew')
        with open(kept, 'rb') as whole, open(path, 'wb') as part:
            part.write(whole.read(size // 2))
        _, cut_text = victim.refused()
        says(cut_text, re.escape(path), r'ends at \d+', 'restore')
        os.rename(kept, path)
        victim.start()
        check(read_count(victim) == count, 'with the right file, records are missing')
        if covered:
            victim.kill()
            return first_line(text)
        large_batches(victim, range(5, 8))
        time.sleep(12)  # a checkpoint, 5 s after its first record
        write(victim, range(8, 10))
        victim.kill()
        count = 10


# --- a full disk ---------------------------------------------------------------------------------------------------

def fill(victim, wait_s, written=0):
    """Writes until it is refused: (records acknowledged, with those that were there, and the error)."""
    end = time.monotonic() + wait_s
    filler = os.urandom(100_000)
    with wire.Connection(victim.address) as connection:
        while time.monotonic() < end:
            error, offset = wire.produce(connection, TOPIC, 0, wire.batch([marker(written) + filler]))
            if error:
                return written, error
            check(offset == written, f'offset {offset} where {written} was next')
            written += 1
    raise Failure(f'{written} records, and none refused')


def resumes(victim, topic, wait_s=20):
    """Produces until it is taken, without a restart: seconds."""
    begin = time.monotonic()
    while time.monotonic() < begin + wait_s:
        with wire.Connection(victim.address) as connection:
            error, _ = wire.produce(connection, topic, 0, wire.batch([b'room again']))
        if error == 0:
            return time.monotonic() - begin
        check(error == wire.ERROR['KAFKA_STORAGE_ERROR'], f'while it is full Produce answers {wire.name_of(error)}')
        time.sleep(0.2)
    raise Failure(f'{wait_s} s after there is room again Produce is still refused')


def full_disk(run, folder):
    """Produce is refused with KAFKA_STORAGE_ERROR; everything acknowledged can be read, topics can be made and deleted.
    It resumes by itself when an operator makes room, and when a topic is deleted; and after kill -9 nothing is missing."""
    disk = LoopDisk(folder, 'ext4', 192 << 20)
    disk.mount()
    ballast = os.path.join(disk.path, 'ballast')
    victim = run.victim(folder, os.path.join(disk.path, 'data'))
    try:
        with open(ballast, 'wb') as file:
            os.posix_fallocate(file.fileno(), 0, 48 << 20)
        victim.start()
        create(victim)
        written, error = fill(victim, 60)
        check(error == wire.ERROR['KAFKA_STORAGE_ERROR'], f'full: Produce answers {wire.name_of(error)}')
        check(victim.process.poll() is None, 'the broker has ended')
        check(read_count(victim) == written, 'full: not everything acknowledged can be read')
        with open(victim.log_path, errors='replace') as log:
            check('event=log.disk_full' in log.read(), 'full: the broker does not say so')
        with wire.Connection(victim.address) as connection:
            error, text = wire.create_topic(connection, 'other', 1)
            check(error == 0, f'full: CreateTopics: {wire.name_of(error)} {text}')
            error, _ = wire.produce(connection, 'other', 0, wire.batch([b'no room']))
            check(error == wire.ERROR['KAFKA_STORAGE_ERROR'], f'full: Produce to a new topic: {wire.name_of(error)}')
        sent = subprocess.run([victim.binary, 'produce', 'other', '-b', '%s:%d' % victim.address, '--timeout', '1500'],
                              input=b'x\n', capture_output=True, timeout=60)
        check(sent.returncode == 3, f'full: millrace produce ends with {sent.returncode}')
        says(sent.stderr.decode(), 'disk is full.*trying again', 'not acknowledged: the disk is full')
        os.unlink(ballast)
        first_s = resumes(victim, 'other')
        more, _ = fill(victim, 60, written)
        check(read_count(victim) == more, 'full again: not everything acknowledged can be read')
        victim.kill()
        victim.start()
        count = read_count(victim)
        check(count in (more, more + 1), f'{more} were acknowledged, {count} are there after kill -9')
        with wire.Connection(victim.address) as connection:
            error = wire.delete_topic(connection, TOPIC)
        check(error == 0, f'full: DeleteTopics: {wire.name_of(error)}')
        second_s = resumes(victim, 'other')
        victim.stop()
        victim.start()
        victim.stop()
    finally:
        victim.kill()
        disk.unmount()
    return (f'{written} records, then KAFKA_STORAGE_ERROR; again {first_s:.1f} s after a file was removed; '
            f'{more} records, again {second_s:.1f} s after the topic was deleted')


CASES = [('kafka-directory', kafka_directory), ('read-only', read_only), ('same-directory', same_directory),
         ('same-port', same_port), ('journal-bit', journal_bit), ('journal-tail', journal_tail),
         ('journal-gone', journal_gone),
         ('segment-bit', segment_bit), ('segment-bit-cold', segment_bit_cold),
         ('segment-cut', segment_cut), ('segment-gone', segment_gone), ('full-disk', full_disk)]
