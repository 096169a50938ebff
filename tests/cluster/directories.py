# SPDX-License-Identifier: Apache-2.0
"""One of two log directories of a broker fails: what it led there is led by others, and everything else goes on."""

import os
import sys
import time

import broker as brokers
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


CASES = (directory_fails,)
