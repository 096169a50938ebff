# SPDX-License-Identifier: Apache-2.0
"""Cases of tests/cluster/run about partitions with three replicas: what clients were told stays so, whoever dies.

kcat writes through an idempotent producer and must deliver all it was given, once and in order. Beside it, where Kafka's
jars are there (tests/interop fetches them), Java's VerifiableProducer says what was acknowledged, VerifiableConsumer
reads in a group meanwhile, and LeaderElectionCommand gives leadership back.
"""
import glob
import json
import os
import subprocess
import threading
import time

import broker as brokers
import wire
from nodes import ROOT, check

PARTITIONS = 6
RATE = 1000  # records per second of each producer
FLOOD_BYTES = 512 << 20
JVM = ['-Xmx256m', '-Xshare:auto', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Dlog4j2.level=ERROR']


def bootstrap(c):
    return ','.join('%s:%d' % address for address in c.address.values())


def sets(c, node, topic):
    """{partition: (leader, replicas, the commit set)} as this broker tells."""
    with wire.Connection(c.address[node]) as link:
        return wire.commit_sets(link, topic)


def await_full_sets(c, topic, wait_s=30):
    """All replicas are in the commit set again, as every broker tells."""
    for node in c.running:
        brokers.until(f'broker {node} tells of full sets of {topic}',
                      lambda n=node: all(len(ids) == len(c.address) for _, _, ids in sets(c, n, topic).values()), wait_s)


def await_leaders(c, topic, wait_s):
    """How long until those who live lead everything."""
    began = time.monotonic()
    for node in c.running:
        brokers.until(f'broker {node} tells of leaders for {topic}',
                      lambda n=node: all(leader in c.running for leader, _, _ in sets(c, n, topic).values()), wait_s)
    return time.monotonic() - began


def await_first_leaders(c, topic, wait_s=30):
    """The first replicas lead again, to whom leaders go back by themselves; see --override in run."""
    brokers.until(f'the first replicas of {topic} lead', lambda: all(leader == ids[0] for leader, ids, _ in sets(c, 1, topic).values()), wait_s)


def replicated(c, name):
    return c.create(PARTITIONS, name=name, replicas=len(c.address), configs={'min.insync.replicas': 2})


class Kcat:
    """A producer that is fed at a steady pace until end()."""

    def __init__(self, c, topic, prefix):
        self.values, self.prefix, self.going = [], prefix, True
        self.process = subprocess.Popen(
            ['kcat', '-P', '-E', '-b', bootstrap(c), '-t', topic, '-X', 'acks=all', '-X', 'enable.idempotence=true',
             '-X', 'message.timeout.ms=60000', '-X', 'linger.ms=5'], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        self.thread = threading.Thread(target=self.feed)
        self.thread.start()

    def feed(self):
        began = time.monotonic()
        while self.going:
            due = int((time.monotonic() - began) * RATE)
            some = [f'{self.prefix}-{i:07}' for i in range(len(self.values), due)]
            self.values += some
            try:
                self.process.stdin.write(''.join(value + '\n' for value in some).encode())
                self.process.stdin.flush()
            except BrokenPipeError:
                return
            time.sleep(0.01)

    def end(self, wait_s=40):
        self.going = False
        self.thread.join()
        _, words = self.process.communicate(timeout=wait_s)
        check(self.process.returncode == 0 and b'Delivery failed' not in words,
              f'kcat ended with {self.process.returncode}: {words.decode()[-400:]}')
        return self.values

    def kill(self):
        self.going = False
        self.process.kill()


def read(c, node, topic):
    """[(partition, offset, value)], in order of offset within a partition, by kcat."""
    out = subprocess.run(['kcat', '-C', '-b', '%s:%d' % c.address[node], '-t', topic, '-e', '-q', '-o', 'beginning',
                          '-f', '%p %o %s\n'], stdout=subprocess.PIPE, check=True, timeout=60).stdout
    return [(int(p), int(o), v) for p, o, v in (line.split() for line in out.decode().splitlines())]


def check_once_in_order(found, values):
    got = [value for _, _, value in found]
    missing = sorted(set(values) - set(got))
    check(not missing, f'{len(missing)} of {len(values)} are lost: {missing[:3]}')
    check(len(got) == len(values), f'{len(got)} records where {len(values)} were written')
    last = {}
    for partition, offset, value in found:
        before_offset, before = last.get(partition, (-1, ''))
        check(offset == before_offset + 1, f'partition {partition}: offset {offset} after {before_offset}')
        check(value > before, f'partition {partition}: {value} after {before}')
        last[partition] = (offset, value)


def jars():
    """The class path of Kafka's tools; None: they are not there."""
    found = sorted(glob.glob(os.path.join(ROOT, 'build/interop/java-*/kafka-tools-*.jar')))
    return os.path.join(os.path.dirname(found[-1]), '*') if found else None


def elect_preferred(c, topic):
    """By Kafka's own tool: each partition is led by its first replica again."""
    subprocess.run(['java', *JVM, '-cp', jars(), 'org.apache.kafka.tools.LeaderElectionCommand', '--bootstrap-server',
                    bootstrap(c), '--election-type', 'preferred', '--all-topic-partitions'], check=True, timeout=40,
                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for node in c.running:
        brokers.until(f'broker {node} tells of first replicas that lead {topic}',
                      lambda n=node: all(leader == ids[0] for leader, ids, _ in sets(c, n, topic).values()))


class Java:
    """VerifiableProducer and VerifiableConsumer: what they say of each record, a line of JSON each."""

    def __init__(self, c, topic, count):
        self.folder = os.path.join(c.folder, 'java')
        os.makedirs(self.folder, exist_ok=True)
        with open(os.path.join(self.folder, 'producer.properties'), 'w') as settings:
            settings.write('retries=2147483647\nenable.idempotence=true\ndelivery.timeout.ms=60000\nlinger.ms=5\n')
        self.consumer = self.run('VerifiableConsumer', 'consumed', c, topic,
                                 ['--group-id', 'verify', '--reset-policy', 'earliest', '--verbose'])
        self.producer = self.run('VerifiableProducer', 'sent', c, topic,
                                 ['--max-messages', str(count), '--throughput', str(RATE), '--acks', '-1',
                                  '--command-config', os.path.join(self.folder, 'producer.properties')])

    def run(self, tool, log, c, topic, arguments):
        with open(os.path.join(self.folder, log), 'wb') as out:
            return subprocess.Popen(['java', *JVM, '-cp', jars(), 'org.apache.kafka.tools.' + tool,
                                     '--bootstrap-server', bootstrap(c), '--topic', topic, *arguments],
                                    stdout=out, stderr=subprocess.STDOUT)

    def lines(self, log):
        with open(os.path.join(self.folder, log), errors='replace') as text:
            for line in text:
                if line.startswith('{') and line.endswith('}\n'):
                    yield json.loads(line)

    def consumed(self):
        return {(e['partition'], e['offset']): e['value'] for e in self.lines('consumed') if e['name'] == 'record_data'}

    def sent(self):
        errors = [e for e in self.lines('sent') if e['name'] == 'producer_send_error']
        check(not errors, f'{len(errors)} sends failed: {errors[:1]}')
        return {(e['partition'], e['offset']): e['value']
                for e in self.lines('sent') if e['name'] == 'producer_send_success'}

    def gap_s(self):
        """The longest time between two acknowledgements of the producer."""
        times = [e['timestamp'] for e in self.lines('sent') if e['name'] == 'producer_send_success']
        return max(later - earlier for earlier, later in zip(times, times[1:])) / 1000

    def end(self, count, wait_s=40):
        self.producer.wait(wait_s)
        sent = self.sent()
        check(len(sent) == count, f'{len(sent)} of {count} sends were acknowledged')
        brokers.until('the group has read what was sent', lambda: len(self.consumed()) >= count, wait_s)
        consumed = self.consumed()
        check(consumed == sent, f'the group has read other records than were sent: '
              f'{sorted(set(sent.items()) ^ set(consumed.items()))[:3]}')
        return sent

    def kill(self):
        for process in (self.producer, self.consumer):
            process.kill()
            process.wait()


def leader_killed(c):
    """kill -9 of a leader under load, and its return: nothing acknowledged is lost, sets are full again, and it leads
    again what is first its own."""
    topic, other = replicated(c, 'orders'), replicated(c, 'java-orders')
    count = 6 * RATE
    kcat, java = Kcat(c, topic, 'a'), Java(c, other, count) if jars() else None
    try:
        time.sleep(3)
        victim = sets(c, 1, topic)[0][0]
        brokers.kill(c.running.pop(victim))
        took = await_leaders(c, topic, 15)
        check(victim not in [leader for leader, _, _ in sets(c, next(iter(c.running)), topic).values()], 'the dead lead')
        time.sleep(2)
        c.start(victim)
        await_full_sets(c, topic)
        if java:
            elect_preferred(c, topic)
        values = kcat.end()
        sent = java.end(count) if java else {}
    finally:
        kcat.kill()
        if java:
            java.kill()
    check_once_in_order(read(c, victim, topic), values)
    check({(p, o): v for p, o, v in read(c, victim, other)} == sent, 'java: other records than were acknowledged')
    return (f'others lead after {took:.2f} s; {len(values)} by kcat, '
            + (f'{len(sent)} by Java and through a group' if java else 'without Java: no jars') + ': none lost, none twice')


def followers_lead(c):
    """Each in turn is killed while it leads: what is read then comes from those that followed."""
    topic = replicated(c, 'turns')
    kcat = Kcat(c, topic, 'b')
    try:
        for node in list(c.address):
            await_full_sets(c, topic)
            time.sleep(0.5)
            brokers.kill(c.running[node])
            c.start(node)  # at once: its registration is replaced, its leadership goes
            await_leaders(c, topic, 15)
        await_full_sets(c, topic)
        values = kcat.end()
    finally:
        kcat.kill()
    check_once_in_order(read(c, 2, topic), values)
    return f'{len(values)} records'


def all_killed(c):
    """kill -9 of all at once under load, and a start: what was acknowledged is there."""
    topic = replicated(c, 'all')
    kcat = Kcat(c, topic, 'c')
    try:
        time.sleep(2)
        for node in list(c.running):
            c.running[node].process.kill()
        for node in list(c.running):
            brokers.kill(c.running[node])
        for node in list(c.address):
            c.start(node)
        c.all_see(list(c.address))
        await_full_sets(c, topic)
        values = kcat.end()
    finally:
        kcat.kill()
    check_once_in_order(read(c, 3, topic), values)
    return f'{len(values)} records'


def flood(address, topic):
    """Fills one partition, waiting for its leader only."""
    data = wire.batch([os.urandom(900_000)])
    with wire.Connection(address, 60) as link:
        for _ in range(FLOOD_BYTES // len(data)):
            error, _ = wire.produce(link, topic, 0, data, acks=1)
            check(error == 0, f'produce: {error}')


def behind_in_one(c):
    """A broker comes back and has missed little of most partitions and very much of one, all of the same leader: it is
    in sync with most of them at once, wherever that one stands in the line."""
    busy = c.create(1, name='busy', replicas=len(c.address), configs={'min.insync.replicas': 2})
    leader = sets(c, 1, busy)[0][0]
    quiet = [(topic, partition) for topic in (replicated(c, f'quiet-{i}') for i in range(8))
             for partition, (led_by, _, _) in sets(c, 1, topic).items() if led_by == leader]
    away = next(node for node in c.address if node != leader)
    brokers.kill(c.running.pop(away))
    brokers.until(f'broker {away} is missed', lambda: len(sets(c, leader, busy)[0][2]) < len(c.address))
    flood(c.address[leader], busy)
    with wire.Connection(c.address[leader], 60) as link:
        for topic, partition in quiet:
            error, _ = wire.produce(link, topic, partition, wire.batch([b'x' * 2000]))
            check(error == 0, f'produce of {topic} {partition}: {error}')
    c.start(away)
    began = time.monotonic()

    def back(partitions):
        for topic, partition in partitions:
            brokers.until(f'broker {away} is in sync with {topic} {partition}',
                          lambda t=topic, p=partition: away in sets(c, leader, t)[p][2], 60)
        return time.monotonic() - began
    quiet_s = back(quiet)
    busy_s = back([(busy, 0)])
    said = (f'in sync with {len(quiet)} after {quiet_s:.2f} s, with the one that has {FLOOD_BYTES >> 20} MiB more after '
            f'{busy_s:.2f} s')
    check(quiet_s < busy_s / 2, said)
    return said


def checks_bite(_):
    """One record that is lost, there twice, or in another's place is found."""
    good = [(0, 0, 'a-1'), (1, 0, 'a-2'), (0, 1, 'a-3')]
    check_once_in_order(good, ['a-1', 'a-2', 'a-3'])
    for bad in (good[:2], good + [(1, 1, 'a-3')], [(0, 0, 'a-3'), good[1], (0, 1, 'a-1')], good[:2] + [(0, 2, 'a-3')]):
        try:
            check_once_in_order(bad, ['a-1', 'a-2', 'a-3'])
        except AssertionError:
            continue
        raise AssertionError(f'{bad} passed')


CASES = (checks_bite, behind_in_one, leader_killed, followers_lead, all_killed)
