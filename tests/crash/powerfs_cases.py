# SPDX-License-Identifier: Apache-2.0
"""What powerfs keeps and what it loses, shown by plain files: a disk that kept too much would prove nothing."""

import mmap
import os

from disks import PowerDisk
from victim import check

BLOCK = 4096
BLOCKS = 64


class Disk:
    def __init__(self, run, folder, **options):
        self.disk = PowerDisk(run.tool('powerfs'), folder, run.options.seed, **options)
        self.disk.mount()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.disk.unmount()

    def path(self, name):
        return os.path.join(self.disk.path, name)

    def cut(self):
        lost = self.disk.cut()
        self.disk.unmount()
        self.disk.mount()
        return lost

    def sync_dir(self, name=''):
        file = os.open(self.path(name), os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(file)
        os.close(file)

    def make(self, name, byte=b'a', blocks=BLOCKS):
        """A file that is safe, and its descriptor for direct I/O."""
        file = os.open(self.path(name), os.O_RDWR | os.O_CREAT | os.O_DIRECT)
        os.pwrite(file, aligned(byte * (BLOCK * blocks)), 0)
        os.fsync(file)
        self.sync_dir()
        return file

    def read(self, name):
        with open(self.path(name), 'rb') as file:
            return file.read()


def aligned(data):
    memory = mmap.mmap(-1, len(data))
    memory[:] = data
    return memory


def kinds(data):
    """The first byte of each block; blocks are whole."""
    for at in range(0, len(data), BLOCK):
        check(len(set(data[at:at + BLOCK])) == 1, f'block {at // BLOCK} is torn inside')
    return data[::BLOCK]


def unsynced_data(run, folder):
    """Each block of a write without flush is kept or lost by itself."""
    with Disk(run, folder) as disk:
        file = disk.make('f')
        os.pwrite(file, aligned(b'b' * (BLOCK * BLOCKS)), 0)
        os.close(file)
        check(kinds(disk.read('f')) == b'b' * BLOCKS, 'before the cut everything is seen')
        lost = disk.cut()
        got = kinds(disk.read('f'))
        check(set(got) == {ord('a'), ord('b')}, f'after the cut: {got}')
        check(lost['blocks_lost'] == got.count(b'a'), 'the count of what was lost')


def flushes(run, folder):
    """fsync, fdatasync, O_DSYNC and RWF_DSYNC (which the kernel must hand on with each write) keep what they cover."""
    with Disk(run, folder) as disk:
        def with_fsync(file, data):
            os.pwrite(file, data, 0)
            os.fsync(file)

        def with_fdatasync(file, data):
            os.pwrite(file, data, 0)
            os.fdatasync(file)

        def with_rwf(file, data):
            os.pwritev(file, [data], 0, os.RWF_DSYNC)

        def with_o_dsync(file, data):
            again = os.open(f'/proc/self/fd/{file}', os.O_RDWR | os.O_DIRECT | os.O_DSYNC)
            os.pwrite(again, data, 0)
            os.close(again)
        ways = dict(fsync=with_fsync, fdatasync=with_fdatasync, rwf_dsync=with_rwf, o_dsync=with_o_dsync)
        for name, way in ways.items():
            file = disk.make(name)
            way(file, aligned(b'b' * (BLOCK * BLOCKS)))
            os.close(file)
        disk.cut()
        for name in ways:
            check(kinds(disk.read(name)) == b'b' * BLOCKS, f'{name} does not keep what it covers')


def dsync_range(run, folder):
    """RWF_DSYNC covers its own blocks, not its file's others, nor another file."""
    with Disk(run, folder) as disk:
        file, other = disk.make('f'), disk.make('g')
        os.pwrite(file, aligned(b'b' * (BLOCK * BLOCKS)), 0)
        os.pwrite(other, aligned(b'b' * (BLOCK * BLOCKS)), 0)
        os.pwritev(file, [aligned(b'c' * BLOCK)], 7 * BLOCK, os.RWF_DSYNC)
        os.close(file)
        os.close(other)
        disk.cut()
        got = kinds(disk.read('f'))
        check(got[7:8] == b'c' and set(got) == set(b'abc'), f'after the cut: {got}')
        check(set(kinds(disk.read('g'))) == set(b'ab'), 'the other file')


def sizes(run, folder):
    """Growth and cuts of a file are lost or kept whole, and never more than that; a flush keeps them."""
    seen = set()
    with Disk(run, folder) as disk:
        for i in range(24):
            file = disk.make(f'grown-{i}', blocks=4)
            os.pwrite(file, aligned(b'b' * BLOCK), 4 * BLOCK)
            os.close(file)
            file = disk.make(f'cut-{i}', blocks=4)
            os.ftruncate(file, BLOCK)
            os.close(file)
            file = disk.make(f'kept-{i}', blocks=4)
            os.ftruncate(file, BLOCK)
            os.pwritev(file, [aligned(b'b' * BLOCK)], BLOCK, os.RWF_DSYNC)
            os.close(file)
        disk.cut()
        for i in range(24):
            grown, cut, kept = (kinds(disk.read(f'{name}-{i}')) for name in ('grown', 'cut', 'kept'))
            check(grown in (b'aaaa', b'aaaab', b'aaaa\0'), f'grown: {grown}')
            check(cut in (b'aaaa', b'a'), f'cut: {cut}')
            check(kept == b'ab', f'kept: {kept}')
            seen |= {grown, cut}
    check(seen == {b'aaaa', b'aaaab', b'aaaa\0', b'a'}, f'only {seen} was seen')


def names(run, folder):
    """Names are lost from the newest back, per directory, and come back as they were; a directory's fsync keeps them."""
    seen = set()
    with Disk(run, folder) as disk:
        for i in range(24):
            os.mkdir(disk.path(f'd{i}'))
            for name in ('a', 'b', 'c'):
                with open(disk.path(f'd{i}/{name}'), 'w') as file:
                    file.write(name)
                    file.flush()
                    os.fsync(file.fileno())
            disk.sync_dir(f'd{i}')
        disk.sync_dir()
        for i in range(24):
            os.rename(disk.path(f'd{i}/a'), disk.path(f'd{i}/b'))
            os.unlink(disk.path(f'd{i}/c'))
            os.close(os.open(disk.path(f'd{i}/e'), os.O_CREAT | os.O_WRONLY))
        disk.sync_dir('d0')
        disk.cut()
        for i in range(24):
            found = tuple(name + ':' + disk.read(f'd{i}/{name}').decode() for name in sorted(os.listdir(disk.path(f'd{i}'))))
            check(i > 0 or found == ('b:a', 'e:'), f'after fsync: {found}')
            seen.add(found)
    steps = {('a:a', 'b:b', 'c:c'), ('b:a', 'c:c'), ('b:a',), ('b:a', 'e:')}
    check(seen <= steps and len(seen) > 2, f'{seen}')


def forgotten_flush(run, folder):
    """The deliberate mistake: durable writes to files of that name stay volatile, all others do not."""
    with Disk(run, folder, lie='journal-') as disk:
        for name in ('journal-0', 'other'):
            file = disk.make(name)
            os.pwritev(file, [aligned(b'b' * (BLOCK * BLOCKS))], 0, os.RWF_DSYNC)
            os.close(file)
        disk.cut()
        check(kinds(disk.read('journal-0')) == b'a' * BLOCKS, 'the journal is kept')
        check(kinds(disk.read('other')) == b'b' * BLOCKS, 'the other file is lost')


CASES = [('unsynced-data', unsynced_data), ('flushes', flushes), ('dsync-range', dsync_range), ('sizes', sizes),
         ('names', names), ('forgotten-flush', forgotten_flush)]
