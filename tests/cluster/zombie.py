# SPDX-License-Identifier: Apache-2.0
"""Cases of tests/cluster/run about brokers that are not what they take themselves for: a leader that has slept through its
session's end, and two brokers of one id."""
import math
import os
import shutil
import signal
import subprocess
import threading
import time

import broker as brokers
import wire
from nodes import MISSED_S, check
from replicated import Kcat, await_full_sets, check_once_in_order, read, replicated, sets

NOT_LEADER = 6


class Insisting:
    """One record after another to one broker and partition, whatever it answers: [(sent, answered, error, value)]."""

    def __init__(self, address, topic, acks):
        self.address, self.topic, self.acks, self.told, self.going = address, topic, acks, [], True
        self.link = wire.Connection(address)  # before it sleeps
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while self.going:
            value, sent = f'acks{self.acks}-{len(self.told):05}', time.monotonic()
            try:
                error, _ = wire.produce(self.link, self.topic, 0, wire.batch([value.encode()]), self.acks)
            except (OSError, wire.Closed):
                return
            self.told.append((sent, time.monotonic(), error, value))
            time.sleep(0.001)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.going = False
        self.thread.join()
        self.link.socket.close()

    def accepted(self, since=0, until=math.inf):
        """Sent not before, answered not after."""
        return [value for sent, answered, error, value in self.told if error == 0 and sent >= since and answered <= until]


class Asking:
    """Metadata of this broker, and behind it on the same connection a record with acks=1: what it still takes when it has named
    another leader."""

    def __init__(self, address, node, topic):
        self.address, self.node, self.topic, self.late, self.asked = address, node, topic, [], 0

    def turn(self, link):
        """False: it names another leader."""
        leader = wire.commit_sets(link, self.topic)[0][0]
        error, _ = wire.produce(link, self.topic, 0, wire.batch([b'asked']), 1)
        self.asked += 1
        if leader != self.node and error == 0:
            self.late.append(leader)
        return leader == self.node

    def until_it_knows(self, wait_s):
        with wire.Connection(self.address) as link:
            brokers.until('the sleeper names another leader', lambda: not self.turn(link), wait_s)
            for _ in range(20):
                self.turn(link)


def zombie_leader(c):
    """SIGSTOP of a leader for longer than its session, and it goes on, with producers at its door all the while. By then
    another one leads: it acknowledges nothing with acks=all, and takes nothing with acks=1 once it has named the other."""
    topic = c.create(1, name='zombie', replicas=3, configs={'min.insync.replicas': 2})
    await_full_sets(c, topic)
    old = sets(c, 1, topic)[0][0]
    others = [node for node in c.address if node != old]
    address, broker = c.address[old], c.running[old]
    with Insisting(address, topic, -1) as sure, Insisting(address, topic, 1) as quick:
        time.sleep(0.3)
        broker.process.send_signal(signal.SIGSTOP)
        try:
            slept = time.monotonic()
            brokers.until('another one leads', lambda: sets(c, others[0], topic)[0][0] in others, 2 * MISSED_S)
            new = sets(c, others[0], topic)[0][0]
            with wire.Connection(c.address[new]) as link:
                error, _ = wire.produce(link, topic, 0, wire.batch([b'new-leader']))
            check(error == 0, f'the new leader answers {error}')
        finally:
            woken = time.monotonic()
            broker.process.send_signal(signal.SIGCONT)
        asking = Asking(address, old, topic)
        asking.until_it_knows(MISSED_S)
        knew = time.monotonic()
        c.all_see(list(c.address))
        await_full_sets(c, topic)
    check(not asking.late, f'{len(asking.late)} records were taken with acks=1 behind the answer that another one leads')
    by_then = sure.accepted(woken, knew)
    check(not by_then, f'{len(by_then)} were acknowledged with acks=all by one that no longer led: {by_then[:3]}')
    there = {value for _, _, value in read(c, others[0], topic)}
    lost = set(sure.accepted()) - there
    check(not lost, f'{len(lost)} of {len(sure.accepted())} acknowledged with acks=all are lost: {sorted(lost)[:3]}')
    check('new-leader' in there, 'what the new leader took is lost')
    return (f'{woken - slept:.1f} s asleep; it knew {knew - woken:.3f} s after it went on, and took {len(quick.accepted(woken, knew))} with '
            f'acks=1 until then; {len(sure.accepted())} acknowledged with acks=all: none lost')


class Second:
    """Another process with the id of broker 2."""

    def __init__(self, c, folder, data_dir, node=2):
        self.folder = os.path.join(c.folder, folder)
        os.makedirs(self.folder, exist_ok=True)
        self.out = open(os.path.join(self.folder, 'broker.log'), 'wb')
        self.process = subprocess.Popen(
            [c.program, 'start', '--listen', f'127.0.0.1:{brokers.free_port()}', '--data-dir', data_dir, *c.arguments(node)],
            stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out)

    def said(self):
        with open(self.out.name, errors='replace') as text:
            return text.read()

    def ends_saying(self, words):
        code = self.process.wait(30)
        check(code != 0 and words in self.said(), f'ended with {code}: {self.said()[-600:]}')

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.out.close()


def two_of_one_id(c):
    """Under load, a second broker 2 with an empty directory: it is refused. And one with a copy of the first one's: the first
    one ends. It comes back when that one has gone, and nothing is lost."""
    data_dir, copy = os.path.join(c.folder, '2', 'data'), os.path.join(c.folder, 'copied', 'data')
    topic = replicated(c, 'twins')
    check(brokers.stop(c.running.pop(2)) == 0, 'the broker does not stop')
    shutil.copytree(data_dir, copy)
    c.start(2)
    await_full_sets(c, topic)
    kcat, seconds = Kcat(c, topic, 't'), []
    try:
        time.sleep(1)
        seconds.append(Second(c, 'empty', os.path.join(c.folder, 'empty', 'data')))
        seconds[-1].ends_saying('expects the data directory')
        check(c.running[2].alive(), 'the first one has ended')
        seconds.append(Second(c, 'copied', copy))
        c.ends_saying(2, "has taken this one's place")
        check(seconds[-1].process.poll() is None, 'both have ended')
        seconds[-1].end()
        c.start(2)
        await_full_sets(c, topic)
        values = kcat.end()
    finally:
        kcat.kill()
        for second in seconds:
            second.end()
    check_once_in_order(read(c, 2, topic), values)
    return f'{len(values)} records: none lost, none twice'


CASES = (zombie_leader, two_of_one_id)
