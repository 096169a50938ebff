# SPDX-License-Identifier: Apache-2.0
"""Cases of tests/cluster/run about programs of others: Kafka's own comparison of replicas, and Kafka Streams while a broker dies."""
import collections
import os
import queue
import re
import subprocess
import sys
import threading
import time

import broker as brokers
import clients
import wire
from moves import limit, versions
from nodes import ROOT
from replicated import JVM, Kcat, await_full_sets, await_leaders, bootstrap, check, replicated, sets

sys.path.insert(0, os.path.join(ROOT, 'tests', 'ecosystem'))
import programs  # noqa: E402

TOPIC_TYPE, BROKER_TYPE = 2, 4
FOLLOWER_RATE = 'follower.replication.throttled.rate'


class Verification:
    """kafka-replica-verification while it lasts: it fetches every partition from each of its replicas, compares the batches, and says
    how far the last replica is behind."""

    def __init__(self, c, topic, path):
        self.process = subprocess.Popen(
            ['java', *JVM, '-cp', path, 'org.apache.kafka.tools.ReplicaVerificationTool', '--broker-list', bootstrap(c), '--topics-include', topic,
             '--time', '-2', '--report-interval-ms', '500'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.said, self.reports = [], queue.Queue()
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        for line in self.process.stdout:
            self.said.append(line)
            if found := re.search(r'max lag is (\d+) for partition \S+ at offset (\d+) among (\d+) partitions', line):
                self.reports.put(tuple(map(int, found.groups())))

    def until(self, what, wanted, wait_s=30):
        """(lag, offset, partitions) of the first report from now on that is as it should be."""
        while not self.reports.empty():
            self.reports.get()
        end = time.monotonic() + wait_s
        while time.monotonic() < end:
            check(self.process.poll() is None, f'it ended: {"".join(self.said)[-600:]}')
            try:
                report = self.reports.get(timeout=1)
            except queue.Empty:
                continue
            if wanted(*report):
                return report
        raise AssertionError(f'{what}: not within {wait_s} s; it says {self.said[-5:]}')

    def end(self):
        self.process.kill()
        self.process.wait()
        self.thread.join()
        complaints = [line for line in self.said if 'match' in line or 'rror' in line or 'xception' in line]
        check(not complaints, f'{complaints[:3]}')


def verified(c):
    """Kafka's kafka-replica-verification: replicas are alike under load, and one that is behind is found. Kafka 4.3's sends Fetch 18
    without asking which versions a broker has, so it is 3.9's."""
    path = versions().get('3.9.2')
    if not path:
        return 'skipped: no jars'
    topic = replicated(c, 'compared')
    await_full_sets(c, topic)
    kcat = Kcat(c, topic, 'v')
    try:
        tool = Verification(c, topic, path)
        try:
            tool.until('a comparison under load', lambda _, offset, __: offset > 100)
            values = kcat.end()
            _, _, count = tool.until('replicas that are alike', lambda lag, *_: lag == 0)
        finally:
            tool.end()
    finally:
        kcat.kill()
    check(count == len(sets(c, 1, topic)), f'it looked at {count} partitions')
    return f'{len(values)} records: no difference; {behind(c, path)}'


def behind(c, path):
    """A follower comes back and may take next to nothing: it is said to be behind, and when it may, to be so no more."""
    topic, size = c.create(1, name='compared-late', replicas=2, configs={'min.insync.replicas': 1}), 500_000
    leader, ids, _ = sets(c, 1, topic)[0]
    follower = next(node for node in ids if node != leader)
    limit(c, TOPIC_TYPE, topic, 'follower.replication.throttled.replicas', '*')
    limit(c, BROKER_TYPE, str(follower), FOLLOWER_RATE, '1')
    brokers.kill(c.running.pop(follower))
    brokers.until('it is missed', lambda: sets(c, leader, topic)[0][2] == [leader])
    with wire.Connection(c.address[leader], 30) as link:
        for _ in range(60):
            error, _ = wire.produce(link, topic, 0, wire.batch([b'x' * size]))
            check(error == 0, f'produce: {error}')
    c.start(follower)
    c.all_see(sorted(c.address))
    tool = Verification(c, topic, path)
    try:
        lag, _, _ = tool.until('a replica that is behind', lambda lag, *_: lag > 0)
        limit(c, BROKER_TYPE, str(follower), FOLLOWER_RATE, '1000000000')
        tool.until('a replica that is behind no more', lambda lag, *_: lag == 0)
    finally:
        tool.end()
    return f'a replica was {lag} records behind, and then not'


def streams(c):
    """Kafka Streams counts words while the broker dies that leads what it reads: no word is missing, none is counted twice."""
    try:
        programs.jars('streams')
    except clients.Missing as reason:
        return f'skipped: {reason}'
    for topic in (programs.INPUT, programs.OUTPUT):
        c.create(1, name=topic, replicas=3, configs={'min.insync.replicas': 2})
        await_full_sets(c, topic)
    folder, wanted = os.path.join(c.folder, 'streams'), collections.Counter()
    for made in (folder, programs.FOLDER):
        os.makedirs(made, exist_ok=True)
    program = programs.word_count(bootstrap(c), folder, 'replication.factor=3')

    def write(count):
        lines = [programs.LINES[i % len(programs.LINES)] for i in range(count)]
        c.produce(next(iter(c.running)), programs.INPUT, lines, '-X', 'enable.idempotence=true')
        wanted.update(word for line in lines for word in line.split())

    def counted():
        check(program.process.poll() is None, f'it ended, see {program.log_path}')
        return programs.last_counts(bootstrap(c), programs.OUTPUT) == wanted
    try:
        write(30)
        brokers.until('the first counts', counted, 120)
        victim = sets(c, 1, programs.INPUT)[0][0]
        brokers.kill(c.running.pop(victim))
        began = time.monotonic()
        write(30)
        await_leaders(c, programs.INPUT, 15)
        write(30)
        brokers.until('the counts without it', counted, 90)
        took = time.monotonic() - began
        c.start(victim)
        c.all_see(sorted(c.address))
        for topic in (programs.INPUT, programs.OUTPUT):
            await_full_sets(c, topic)
        write(30)
        brokers.until('the counts at the end', counted, 60)
    finally:
        program.kill()
    return f'{sum(wanted.values())} words; all that were written meanwhile were counted {took:.1f} s after the kill'


CASES = (verified, streams)
