# SPDX-License-Identifier: Apache-2.0
"""Two log directories, and the disk under one of them fails in some way: what happens to what was acknowledged there, to
the other directory meanwhile, and what the operator is told."""

import os
import subprocess
import threading
import time

import wire
from disks import LoopDisk, Missing, run as command
from faults import first_line, marker, says
from victim import Failure, check

TOPIC = 'two'
STORAGE_ERROR = wire.ERROR['KAFKA_STORAGE_ERROR']
NOT_LEADER = 6  # what old versions of Fetch, as wire.py asks, are told instead (F12)
SLOW_S = 1.5  # of one acknowledgement by a directory that works: the machine may be busy


class Writer(threading.Thread):
    """One batch after another to one partition; what came of each."""

    def __init__(self, address, partition, size=2000):
        super().__init__(daemon=True)
        self.address, self.partition, self.size = address, partition, size
        self.acked, self.refused, self.slowest_s, self.refused_at, self.wrong = 0, 0, 0.0, None, None
        self.acked_after = 0  # the first refusal
        self.ends = threading.Event()

    def run(self):
        try:
            self.write()
        except (wire.Closed, OSError) as error:
            self.wrong = f'partition {self.partition}: {error!r}'

    def write(self):
        filler = os.urandom(self.size)
        with wire.Connection(self.address) as connection:
            while not self.ends.is_set():
                begin = time.monotonic()
                error, offset = wire.produce(connection, TOPIC, self.partition, wire.batch([marker(self.acked) + filler]))
                took = time.monotonic() - begin
                if error == 0:
                    self.slowest_s = max(self.slowest_s, took)
                    if offset != self.acked:
                        self.wrong = f'partition {self.partition}: offset {offset} where {self.acked} was next'
                        return
                    self.acked += 1
                    self.acked_after += self.refused > 0
                elif error == STORAGE_ERROR:
                    self.refused += 1
                    self.refused_at = self.refused_at or time.monotonic()
                    time.sleep(0.05)
                else:
                    self.wrong = f'partition {self.partition}: {wire.name_of(error)}'
                    return
                time.sleep(0.002)


class Pair:
    """A broker with a directory on this disk and one on a disk that is going to fail; partition 0 and 1 lie apart."""

    def __init__(self, run, folder, size_bytes=256 << 20):
        self.disk = LoopDisk(folder, 'ext4', size_bytes)
        self.disk.mount()
        self.good, self.bad = os.path.join(folder, 'good'), os.path.join(self.disk.path, 'bad')
        self.victim = run.victim(folder, f'{self.good},{self.bad}')
        self.writers = []

    def start(self):
        self.victim.start()

    def create(self):
        with wire.Connection(self.victim.address) as connection:
            error, text = wire.create_topic(connection, TOPIC, 2)
            check(error == 0, f'CreateTopics: {wire.name_of(error)} {text}')
        # Large batches make the logs' folders at once.
        for partition in (0, 1):
            self.one(partition, 100_000, 0)
        in_bad = [p for p in (0, 1) if os.path.exists(os.path.join(self.bad, f'{TOPIC}-{p}'))]
        check(len(in_bad) == 1, f'partitions {in_bad} lie in {self.bad}')
        self.in_bad, self.in_good = in_bad[0], 1 - in_bad[0]

    def one(self, partition, size, number):
        with wire.Connection(self.victim.address) as connection:
            got = wire.produce(connection, TOPIC, partition, wire.batch([marker(number) + os.urandom(size)]))
            check(got == (0, number), f'Produce to {partition} answers {wire.name_of(got[0])}, offset {got[1]}')

    def write(self):
        self.writers = [Writer(self.victim.address, p) for p in (0, 1)]
        for writer in self.writers:
            writer.acked = 1
            writer.start()
        time.sleep(1)

    def pause(self):
        for writer in self.writers:
            writer.ends.set()
        for writer in self.writers:
            writer.join(30)
            check(not writer.is_alive(), f'partition {writer.partition}: no answer in 30 s')
            check(not writer.wrong, writer.wrong)

    def writer(self, partition):
        return self.writers[partition]

    def read(self, partition, at_least):
        """Every record is what was written at its offset, and so many are there."""
        with wire.Connection(self.victim.address) as connection:
            error, _, end = wire.list_offset(connection, TOPIC, partition, -1)
            check(error == 0, f'ListOffsets of {partition}: {wire.name_of(error)}')
            check(end >= at_least, f'partition {partition} ends at {end}, and {at_least} were acknowledged')
            offset = 0
            while offset < end:
                error, _, _, data = wire.fetch(connection, TOPIC, partition, offset, 8 << 20)
                found = wire.batches(data)
                check(error == 0 and found, f'Fetch of {partition} at {offset}: {wire.name_of(error)}')
                for batch in found:
                    check(batch['base_offset'] == offset, f'{batch["base_offset"]} follows where {offset} was next')
                    check(data.find(marker(offset)) >= 0, f'record {offset} of {partition} is not what was written')
                    offset = batch['last_offset'] + 1
        return end

    def refused(self, partition):
        with wire.Connection(self.victim.address) as connection:
            errors = (wire.produce(connection, TOPIC, partition, wire.batch([b'x']))[0],
                      wire.fetch(connection, TOPIC, partition, 0)[0],
                      wire.list_offset(connection, TOPIC, partition, -1)[0])
        check(errors == (STORAGE_ERROR, NOT_LEADER, STORAGE_ERROR), f'Produce, Fetch, ListOffsets answer {[wire.name_of(e) for e in errors]}')

    def close(self):
        for writer in self.writers:
            writer.ends.set()
        self.victim.kill()
        self.disk.unmount()


def goes_offline(pair, break_it, wait_s=20):
    """The disk breaks under load: only its own partition is refused, from then on for good, and the other one is served
    as before. What is said, in one line."""
    pair.start()
    pair.create()
    pair.write()
    break_it()
    begin = time.monotonic()
    bad, good = pair.writer(pair.in_bad), pair.writer(pair.in_good)
    while not bad.refused_at and time.monotonic() < begin + wait_s:
        time.sleep(0.01)
    check(bad.refused_at, f'{wait_s} s after the disk has failed appends to it are still acknowledged')
    after = good.acked
    time.sleep(2)
    pair.pause()
    check(pair.victim.process.poll() is None, 'the broker has ended')
    check(bad.acked_after == 0, f'{bad.acked_after} were acknowledged after the first refusal')
    check(good.refused == 0 and good.acked > after + 20, f'the other directory: {good.refused} refused, {good.acked - after} in 2 s')
    check(good.slowest_s < SLOW_S, f'an acknowledgement by the other directory took {good.slowest_s:.2f} s')
    pair.refused(pair.in_bad)
    pair.read(pair.in_good, good.acked)
    with wire.Connection(pair.victim.address) as connection:
        error, text = wire.create_topic(connection, 'later', 2)
        check(error == 0, f'CreateTopics: {wire.name_of(error)} {text}')
        for partition in (0, 1):
            error = wire.produce(connection, 'later', partition, wire.batch([b'x']))[0]
            check(error == 0, f'a new topic, partition {partition}: {wire.name_of(error)}')
    said = pair.victim.said()
    says(said, rf'event=log.directory_offline .*dir={pair.bad}')
    return (f'{bad.acked} and {good.acked} acknowledged, the slowest of the other {good.slowest_s * 1000:.0f} ms, refused '
            f'{(bad.refused_at - begin) * 1000:.0f} ms after the fault; '
            + next(line for line in said.splitlines() if 'log.directory_offline' in line)[:200])


def comes_back(pair):
    """The same disk, mounted again: everything that was acknowledged is there."""
    pair.disk.unmount()
    pair.disk.mount()
    pair.start()
    for writer in pair.writers:
        pair.read(writer.partition, writer.acked)
    pair.victim.stop()


def io_errors(run, folder):
    """The file system under one directory is shut down: every call there fails with EIO."""
    pair = Pair(run, folder)
    try:
        text = goes_offline(pair, pair.disk.cut)
        pair.victim.stop()
        comes_back(pair)
        return text
    finally:
        pair.close()


def read_only(run, folder):
    """ext4 has found an error in itself and mounts itself read-only, as it is told to where data matters."""
    pair = Pair(run, folder)
    try:
        device = os.path.basename(command('findmnt', '-no', 'SOURCE', pair.disk.path).strip())
        trigger = f'/sys/fs/ext4/{device}/trigger_fs_error'
        if not os.path.exists(trigger):
            raise Missing(f'no {trigger}')
        command('mount', '-o', 'remount,errors=remount-ro', pair.disk.path)

        def break_it():
            with open(trigger, 'w') as file:
                file.write('1')
        text = goes_offline(pair, break_it)
        pair.victim.kill()
        comes_back(pair)
        return text
    finally:
        pair.close()


def not_mounted(run, folder):
    """At a start the disk is missing: the rest is served, nothing is made anew in the empty place, and when the disk is
    back everything is there."""
    pair = Pair(run, folder)
    try:
        pair.start()
        pair.create()
        pair.write()
        pair.pause()
        pair.victim.kill()
        pair.disk.unmount()
        pair.start()
        said = pair.victim.said()
        says(said, rf'warning: {pair.bad} is offline', 'is its disk mounted')
        pair.refused(pair.in_bad)
        good = pair.writer(pair.in_good)
        end = pair.read(pair.in_good, good.acked)
        pair.one(pair.in_good, 10, end)
        pair.victim.stop()
        check(os.listdir(pair.disk.path) == [], f'something was made where the disk should be: {os.listdir(pair.disk.path)}')
        pair.disk.mount()
        pair.start()
        bad = pair.writer(pair.in_bad)
        end = pair.read(pair.in_bad, bad.acked)
        pair.one(pair.in_bad, 10, end)
        pair.victim.stop()
        return first_line(next(line for line in said.splitlines() if 'is offline' in line))
    finally:
        pair.close()


def file_removed(run, folder):
    """Somebody removes a segment under the running broker. Who has it open goes on; the next start misses it, names it,
    and goes on without that directory."""
    pair = Pair(run, folder)
    try:
        pair.start()
        pair.create()
        pair.write()
        time.sleep(12)  # a checkpoint: until then the journal may hold all of it, and the file is made again
        path = os.path.join(pair.bad, f'{TOPIC}-{pair.in_bad}', '0' * 20 + '.log')
        os.rename(path, path + '.kept')
        time.sleep(0.5)
        pair.pause()
        check(all(writer.refused == 0 for writer in pair.writers), 'appends were refused')
        pair.victim.kill()
        pair.start()
        said = pair.victim.said()
        says(said, rf'warning: {pair.bad} is offline', path)
        pair.refused(pair.in_bad)
        pair.read(pair.in_good, pair.writer(pair.in_good).acked)
        pair.victim.stop()
        os.rename(path + '.kept', path)
        pair.start()
        pair.read(pair.in_bad, pair.writer(pair.in_bad).acked)
        pair.victim.stop()
        return first_line(next(line for line in said.splitlines() if 'is offline' in line))
    finally:
        pair.close()


def full(run, folder):
    """One of two disks is full: its partition is refused, the other one is not, new partitions go there, and when there is
    room again it goes on by itself."""
    pair = Pair(run, folder, 160 << 20)
    ballast = os.path.join(pair.disk.path, 'ballast')
    try:
        pair.start()
        pair.create()
        pair.write()
        subprocess.run(['fallocate', '-l', '60M', ballast], check=True, timeout=60)
        bad, good = pair.writer(pair.in_bad), pair.writer(pair.in_good)
        end = time.monotonic() + 20
        while not bad.refused_at and time.monotonic() < end:
            time.sleep(0.01)
        check(bad.refused_at, 'the disk is full, and nothing was refused in 20 s')
        with wire.Connection(pair.victim.address) as connection:
            error, text = wire.create_topic(connection, 'later', 3)
            check(error == 0, f'CreateTopics: {wire.name_of(error)} {text}')
            for partition in range(3):
                error = wire.produce(connection, 'later', partition, wire.batch([b'x']))[0]
                check(error == 0, f'a new topic, partition {partition}: {wire.name_of(error)}')
        os.unlink(ballast)
        begin = time.monotonic()
        while not bad.acked_after and time.monotonic() < begin + 20:
            time.sleep(0.01)
        resumed_s = time.monotonic() - begin
        pair.pause()
        check(bad.acked_after > 0, '20 s after there is room again appends are still refused')
        check(good.refused == 0, f'the other directory has refused {good.refused}')
        check(good.slowest_s < SLOW_S, f'an acknowledgement by the other directory took {good.slowest_s:.2f} s')
        says(pair.victim.said(), rf'event=log.disk_full .*dir={pair.bad}', rf'event=log.disk_has_room .*dir={pair.bad}')
        for writer in pair.writers:
            pair.read(writer.partition, writer.acked)
        pair.victim.stop()
        return f'{bad.refused} refused, served again {resumed_s:.1f} s after there was room; the other had {good.acked} acknowledged'
    finally:
        pair.close()


def the_last_one(run, folder):
    """A broker whose only directory fails says so and ends: whoever watches it starts it again, or it stays away."""
    disk = LoopDisk(folder, 'ext4', 256 << 20)
    disk.mount()
    victim = run.victim(folder, os.path.join(disk.path, 'data'))
    try:
        victim.start()
        with wire.Connection(victim.address) as connection:
            check(wire.create_topic(connection, TOPIC, 1)[0] == 0, 'CreateTopics')
            check(wire.produce(connection, TOPIC, 0, wire.batch([marker(0)])) == (0, 0), 'Produce')
            disk.cut()
            try:
                error, _ = wire.produce(connection, TOPIC, 0, wire.batch([marker(1)]))
                check(error == STORAGE_ERROR, f'Produce answers {wire.name_of(error)}')
            except wire.Closed:
                pass
        try:
            status = victim.process.wait(30)
        except subprocess.TimeoutExpired:
            raise Failure('30 s after its only directory has failed the broker still runs') from None
        check(status > 0, f'the broker ends with {status}')
        said = victim.said()
        says(said, 'event=log.directory_offline', r'(?m)^error: cannot .*/data/')
        disk.unmount()
        disk.mount()
        victim.start()
        with wire.Connection(victim.address) as connection:
            error, _, end = wire.list_offset(connection, TOPIC, 0, -1)
        check(error == 0 and end >= 1, f'{wire.name_of(error)}, the end is {end}')
        victim.stop()
        return first_line(next(line for line in said.splitlines() if line.startswith('error: ')))
    finally:
        victim.kill()
        disk.unmount()


CASES = [('io-errors', io_errors), ('read-only', read_only), ('not-mounted', not_mounted), ('file-removed', file_removed),
         ('full', full), ('the-last-one', the_last_one)]
