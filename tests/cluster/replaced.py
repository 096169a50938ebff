# SPDX-License-Identifier: Apache-2.0
"""The disk of a broker is lost for ever: it comes back empty when it is told so, and copies from the others."""

import os
import re
import shutil
import subprocess
import time

import broker as brokers
import wire
from replicated import Kcat, await_first_leaders, await_full_sets, bootstrap, check, check_once_in_order, read, replicated, sets

VICTIM = 2


def run(c, *words, wait_s=60):
    return subprocess.run([c.program, *words, '-b', bootstrap(c)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=wait_s)


def refused_start(c, data_dir):
    """Without a word about the loss it does not start; what it is to be told."""
    out = subprocess.run([c.program, 'start', '--listen', '%s:%d' % c.address[VICTIM], '--data-dir', data_dir,
                          *c.arguments(VICTIM)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    words = out.stdout.decode()
    asked = re.search(r'is empty.* start with (--replaced-directory) (\S+?):', words)
    check(out.returncode != 0 and asked, f'an empty directory, and the start says {words[-500:]}')
    return list(asked.groups())


def leaderless(c, node):
    """[(topic, partition)] of all topics, as this broker tells."""
    with wire.Connection(c.address[node]) as link:
        _, _, found = wire.metadata(link)
    return [(topic, p) for topic, (_, partitions) in found.items() for p, (_, leader) in partitions.items() if leader < 0]


def disk_replaced(c):
    """kill -9 under load, and its directory is gone: nothing acknowledged is lost, and it has all of it again. What only
    it had is not there, and not taken for empty."""
    others = [node for node in c.running if node != VICTIM]
    topic = replicated(c, 'replaced')
    alone = c.create(3, name='replaced-alone')
    c.produce(1, alone, [f'{i}:alone-{i}' for i in range(300)], '-K:')  # by their keys to all partitions
    only = [(alone, p) for p, (leader, _, _) in sets(c, 1, alone).items() if leader == VICTIM]
    kcat = Kcat(c, topic, 'r')
    try:
        time.sleep(2)
        brokers.kill(c.running.pop(VICTIM))
        data_dir = os.path.join(c.folder, str(VICTIM), 'data')
        shutil.rmtree(data_dir)
        c.all_see(others)
        c.more[VICTIM] = refused_start(c, data_dir)
        check(VICTIM not in c.live(others[0]), 'it was refused, and is there')
        began = time.monotonic()
        c.start(VICTIM)
        c.all_see(list(c.address))
        await_full_sets(c, topic)
        took = time.monotonic() - began
        values = kcat.end()
    finally:
        kcat.kill()
    await_first_leaders(c, topic)
    check_once_in_order(read(c, VICTIM, topic), values)
    lost = leaderless(c, others[0])
    check(only and set(only) <= set(lost), f'only broker {VICTIM} had {only}, and without a leader are {lost}')
    check('controller.last_copies_lost' in ''.join(map(c.log, c.address)), 'nothing is said of what is lost')
    check(run(c, 'cluster', 'health').returncode == 10, 'all is well, by its own account')
    run(c, 'cluster', 'leader-elect', '--unclean', *sorted({name for name, _ in lost}))
    for node in c.running:
        brokers.until(f'broker {node} tells of leaders', lambda n=node: not leaderless(c, n))
    health = run(c, 'cluster', 'health', '--exit-when-healthy')
    check(health.returncode == 0, health.stdout.decode())
    check(c.consume(1, alone) and len(c.consume(1, alone)) < 300, 'of what only it had there is something')
    brokers.kill(c.running.pop(VICTIM))
    c.start(VICTIM)  # what it was told has no effect any more
    del c.more[VICTIM]
    c.all_see(list(c.address))
    await_full_sets(c, topic)
    check_once_in_order(read(c, VICTIM, topic), values)
    return f'{len(values)} records: none lost, none twice; all copied {took:.2f} s after the start; {len(only)} had no other copy'


CASES = (disk_replaced,)
