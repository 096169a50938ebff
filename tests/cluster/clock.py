# SPDX-License-Identifier: Apache-2.0
"""Cases of tests/cluster/run about a wall clock that is wrong (wall_clock.c)."""
import datetime
import os
import re
import struct
import time

import broker as brokers
from nodes import PROGRAM
from replicated import Kcat, await_first_leaders, await_full_sets, check, check_once_in_order, read, replicated, sets

AHEAD_S = 3600
LIBRARY = os.path.join(os.path.dirname(PROGRAM), 'libwall-clock.so')


class Clock:
    """The wall clock of one broker: right, until it is set."""

    def __init__(self, c, node):
        self.c, self.node, self.path = c, node, os.path.join(c.folder, 'clock')
        self.set(0)
        c.before[node] = ['env', 'LD_PRELOAD=' + LIBRARY, 'WALL_CLOCK_AHEAD=' + self.path]

    def set(self, ahead_s):
        """In place: the broker has it mapped."""
        with open(self.path, 'r+b' if os.path.exists(self.path) else 'wb') as file:
            file.write(struct.pack('=i', ahead_s))

    def ahead_s(self):
        """By its last line."""
        last = re.findall(r'^ts=(\S+)Z ', self.c.log(self.node), re.M)[-1]
        return (datetime.datetime.fromisoformat(last) - datetime.datetime.utcnow()).total_seconds()


def restart(c, node):
    check(brokers.stop(c.running.pop(node)) == 0, f'broker {node} does not stop')
    c.start(node)
    c.all_see(list(c.address))


def clock_ahead(c):
    """Under load the clock of one of three jumps ahead by an hour, and it is restarted so: nobody is missed, nobody else leads, and
    nothing is lost."""
    node, topic = 2, replicated(c, 'clock')
    clock = Clock(c, node)
    kcat = None
    try:
        restart(c, node)
        await_full_sets(c, topic)
        await_first_leaders(c, topic)
        before = sets(c, 1, topic), c.controller(1), [c.log(n).count('session_expired') for n in c.address]
        kcat = Kcat(c, topic, 'c')
        time.sleep(1)
        clock.set(AHEAD_S)
        time.sleep(4)  # two sessions
        check((sets(c, 1, topic), c.controller(1), [c.log(n).count('session_expired') for n in c.address]) == before, 'somebody was missed')
        restart(c, node)
        check(clock.ahead_s() > AHEAD_S - 60, f'its clock is {clock.ahead_s():.0f} s ahead')
        await_full_sets(c, topic)
        await_first_leaders(c, topic)
        time.sleep(1)
        values = kcat.end()
    finally:
        if kcat:
            kcat.kill()
        del c.before[node]
    restart(c, node)
    await_full_sets(c, topic)
    check_once_in_order(read(c, node, topic), values)
    return f'{len(values)} records: none lost, none twice'


CASES = (clock_ahead,)
