# SPDX-License-Identifier: Apache-2.0
"""From a seed to a schedule: how many brokers and ZooKeeper servers there are, and what is done to them when.

Whom a fault strikes is said by role (`leader`: of partition 0, `controller`, `broker 2`, ...) and found when it strikes.
"""
import random
from typing import NamedTuple

SESSION_S = 2
LOAD_S = 36
AWAY_S = 60
SHAPES = ((3, 1), (3, 3), (5, 3))  # brokers, ZooKeeper servers
# Around the session's timeout, where it matters who has missed whom.
SPANS = tuple(SESSION_S * part for part in (0.25, 0.7, 0.9, 1.0, 1.1, 1.4, 2, 3))


class Fault(NamedTuple):
    at_s: float
    lasts_s: float
    kind: str  # a method of faults.Nemesis
    who: tuple = ()

    def __str__(self):
        return f'{self.at_s:5.1f} s, for {self.lasts_s:4.1f} s: {self.kind} {" ".join(self.who)}'.rstrip()


class Schedule(NamedTuple):
    seed: int
    brokers: int
    servers: int
    load_s: float
    faults: tuple

    def __str__(self):
        return '\n'.join([f'seed {self.seed}: {self.brokers} brokers, {self.servers} ZooKeeper, {self.load_s:.0f} s of load',
                          *(f'  {fault}' for fault in self.faults)])


def somebody(rng, brokers):
    return rng.choice(['leader', 'leader', 'controller', f'broker {rng.randint(1, brokers)}'])


def two(rng, brokers):
    first, second = rng.sample(range(1, brokers + 1), 2)
    return f'broker {first}', f'broker {second}'


# kind: (how often, whom it strikes)
KINDS = {
    'kill': (3, lambda rng, brokers: (somebody(rng, brokers),)),
    'kill_all': (1, lambda *_: ()),
    'pause': (4, lambda rng, brokers: (somebody(rng, brokers),)),
    'isolate': (3, lambda rng, brokers: (somebody(rng, brokers),)),
    'unplug': (2, lambda rng, brokers: (somebody(rng, brokers),)),
    'one_way': (2, lambda rng, brokers: two(rng, brokers)),
    'part': (2, lambda rng, brokers: two(rng, brokers)),
    'mute_to_zookeeper': (1, lambda rng, brokers: (somebody(rng, brokers),)),
    'deaf_to_zookeeper': (1, lambda rng, brokers: (somebody(rng, brokers),)),
    'kill_zookeeper': (3, lambda rng, brokers: (rng.choice(['leader', 'leader', 'follower']),)),
    'part_zookeeper': (2, lambda rng, brokers: (rng.choice(['leader', 'follower']),)),
    'zookeeper_away': (1, lambda *_: ()),
    'rolling_restart': (1, lambda *_: ()),
}


def draw(seed, number=0):
    """The number of a schedule in its run chooses the shape, so that few have each of them; every sixth is without
    ZooKeeper for a minute."""
    rng = random.Random(seed)
    brokers, servers = SHAPES[number % len(SHAPES)]
    kinds = [kind for kind in KINDS if servers > 1 or kind != 'part_zookeeper']
    faults, at_s, load_s = [], 3.0, LOAD_S
    if number % 6 == 5:
        faults.append(Fault(at_s, AWAY_S, 'zookeeper_away'))
        load_s += AWAY_S
    while True:
        kind = rng.choices(kinds, [KINDS[kind][0] for kind in kinds])[0]
        lasts_s = rng.choice(SPANS)
        if at_s + lasts_s > load_s - 3:
            break
        faults.append(Fault(at_s, lasts_s, kind, KINDS[kind][1](rng, brokers)))
        at_s += rng.uniform(1, lasts_s + 3)  # so that some overlap
    return Schedule(seed, brokers, servers, load_s, tuple(faults))
