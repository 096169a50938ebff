# SPDX-License-Identifier: Apache-2.0
"""One of two log directories of a broker fails: what it led there is led by others, and everything else goes on. And one of
three brokers has no room left."""

import os
import sys
import time

import broker as brokers
import wire
from nodes import Chroot, Cluster
from replicated import Kcat, await_full_sets, await_leaders, check, check_once_in_order, read, replicated, sets

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'crash'))
import disks  # noqa: E402
from victim import Failure  # noqa: E402


def lie_there(folder, topic):
    return sorted(int(name.rpartition('-')[2]) for name in os.listdir(folder) if name.rpartition('-')[0] == topic)


def directory_fails(c):
    """The file system under one of two directories of a broker is shut down under load. The last case: that broker stays
    away afterwards."""
    victim = 2
    folder = os.path.join(c.folder, 'disk')
    os.makedirs(folder)
    try:
        disk = disks.LoopDisk(folder, 'ext4', 512 << 20)
        disk.mount()
    except disks.Missing as missing:
        return f'skipped: {missing}'
    second = os.path.join(disk.path, 'second')
    kcat = None
    try:
        check(brokers.stop(c.running.pop(victim)) == 0, 'the broker does not stop')
        c.directories[victim] = second
        c.start(victim)
        c.all_see(list(c.address))
        topics = [replicated(c, f'split-{i}') for i in range(3)]
        for topic in topics:
            await_full_sets(c, topic)
            c.produce(1, topic, ['x' * 100_000] * 30)  # the folders are made
        busy = replicated(c, 'split')
        kcat = Kcat(c, busy, 'd')
        time.sleep(8)  # a checkpoint makes the others
        there = {topic: lie_there(second, topic) for topic in topics + [busy]}
        check(sum(map(len, there.values())) > 2, f'in {second} lie {there}')
        led = [(topic, p) for topic, ps in there.items() for p in ps if sets(c, 1, topic)[p][0] == victim]
        disk.cut()
        began = time.monotonic()
        brokers.until('others lead what lay there', lambda: all(
            sets(c, 1, topic)[p][0] != victim for topic, p in led), 15)
        took = time.monotonic() - began
        brokers.until('it has left the sets of what lies there', lambda: all(
            victim not in sets(c, 1, topic)[p][2] for topic, p in led), 15)
        check(c.running[victim].process.poll() is None, 'the broker has ended')
        check('log.directory_offline' in c.log(victim), 'nothing is said')
        time.sleep(2)
        # Where it follows it is missed like any follower: after replica.lag.time.max.ms (30 s) and half of that again at most.
        values = kcat.end(60)
        check_once_in_order(read(c, 1, busy), values)
        elsewhere = [p for p, (leader, _, _) in sets(c, 1, busy).items() if p not in there[busy] and leader == victim]
        brokers.stop(c.running.pop(victim))
        disk.unmount()
        disk.mount()
        c.start(victim)
        c.all_see(list(c.address))
        for topic in topics + [busy]:
            await_full_sets(c, topic)
        check_once_in_order(read(c, victim, busy), values)
        check(brokers.stop(c.running.pop(victim)) == 0, 'the broker does not stop')
        return (f'{len(led)} partitions led there, others lead after {took:.2f} s; {len(elsewhere)} of the busy topic it '
                f'led on; {len(values)} records: none lost, none twice')
    except Failure as failure:
        raise AssertionError(failure) from None
    finally:
        if kcat:
            kcat.kill()
        if victim in c.running and c.running[victim].process.poll() is not None:
            c.running.pop(victim)
        if victim in c.running:
            brokers.kill(c.running.pop(victim))
        disk.unmount()


def written(address, topic, partition, data=b'x', acks=-1):
    """The error of one record."""
    with wire.Connection(address, 30) as link:
        return wire.produce(link, topic, partition, wire.batch([data]), acks)[0]


def led_by(c, node, topic):
    return [p for p, (leader, _, _) in sets(c, 1, topic).items() if leader == node]


def fill(c, node, victim, topic):
    """Records to what that one leads and the victim follows, until the victim has no room for them: how many bytes."""
    data, partition, count = os.urandom(900_000), led_by(c, node, topic)[0], 0
    while 'log.disk_full' not in c.log(victim):
        check(count < 1000, 'the disk does not fill')
        check(written(c.address[node], topic, partition, data, 1) == 0, 'a leader that has room refuses')
        count += 1
        time.sleep(0.02)
    return count * len(data)


def disk_full(c):
    """The disk of one of three is full: it refuses what it leads (KAFKA_STORAGE_ERROR, which producers try again) and leaves the
    sets of what it follows, where the others go on; when there is room again it catches up by itself."""
    victim, folder = 3, os.path.join(c.folder, 'full')
    own = Cluster(folder, Chroot(c.zookeeper, '/full'), {node: ('127.0.0.1', brokers.free_port()) for node in c.address})
    own.more = {node: ['--override', 'replica.lag.time.max.ms=2000'] for node in own.address}
    os.makedirs(os.path.join(folder, str(victim)))
    try:
        disk = disks.LoopDisk(folder, 'ext4', 256 << 20)
        disk.mount()
    except disks.Missing as missing:
        return f'skipped: {missing}'
    kcat = None
    try:
        os.mkdir(os.path.join(disk.path, 'data'))
        os.symlink(os.path.join(disk.path, 'data'), os.path.join(folder, str(victim), 'data'))
        ballast = os.path.join(disk.path, 'ballast')
        with open(ballast, 'wb') as file:
            os.posix_fallocate(file.fileno(), 0, 64 << 20)
        for node in own.address:
            own.start(node)
        own.all_see(list(own.address))
        topic, filling = replicated(own, 'goes-on'), replicated(own, 'filling')
        await_full_sets(own, filling)
        kcat = Kcat(own, topic, 'f')
        size = fill(own, 1, victim, filling)
        began = time.monotonic()
        for node in (1, 2):
            for partition in led_by(own, node, topic):
                check(written(own.address[node], topic, partition) == 0, f'broker {node} refuses partition {partition}')
        took = time.monotonic() - began
        check(victim not in sets(own, 1, topic)[led_by(own, 1, topic)[0]][2], 'it is in the sets still')
        error = written(own.address[victim], topic, led_by(own, victim, topic)[0])
        check(error == wire.ERROR['KAFKA_STORAGE_ERROR'], f'the full one answers {wire.name_of(error)}')
        os.unlink(ballast)
        began = time.monotonic()
        for name in (topic, filling):
            await_full_sets(own, name)
        again = time.monotonic() - began
        for partition in led_by(own, victim, topic):
            check(written(own.address[victim], topic, partition) == 0, 'it refuses still')
        values = kcat.end()
        found = [entry for entry in read(own, victim, topic) if entry[2] != 'x']
        check(sorted(value for _, _, value in found) == sorted(values), f'{len(found)} of {len(values)} records are there')
    finally:
        if kcat:
            kcat.kill()
        codes = own.stop()
        disk.unmount()
    check(set(codes.values()) == {0}, f'they ended with {codes}')
    return (f'full after {size >> 20} MiB; others go on after {took:.2f} s; all in sync {again:.2f} s after there was room; {len(values)} '
            f'records: none lost, none twice')


CASES = (disk_full, directory_fails)
