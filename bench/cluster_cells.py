# SPDX-License-Identifier: Apache-2.0
"""The cells of bench/cluster: what each does to a cluster, and which figures come of it.

A cell is a function of a cluster that gives {figure: value or values}. Goals are ratios of Millrace, durable, to Apache Kafka
without fsync, or bounds for Millrace alone (`own`).
"""

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time

import cluster_clients
from cluster_brokers import NODES, SESSION_MS, until
from peer_brokers import JVM, TOP, clients, wire
from peer_cells import Figure

sys.path.insert(0, os.path.join(TOP, 'tests', 'cluster'))
import hints  # noqa: E402

MIB = 1 << 20
ACKED = 'ms to the first acknowledged write'


class Cell:
    """`scene`: cells of one scene share a cluster, which is made for it. `alone`: Kafka has no part in it."""

    def __init__(self, name, title, run, figures, scene='plain', alone=False):
        self.name, self.title, self.run, self.figures, self.scene, self.alone = name, title, run, figures, scene, alone


# --- replicated produce -----------------------------------------------------------------------------------------------

def load(c, connections, records, window):
    topic, = c.create(12)
    seconds = c.options.seconds
    used = c.cpu_s()
    told = json.loads(c.millrace('bench', 'produce', topic, '--no-create', '-c', connections, '--batch', records, '--in-flight', window,
                                 '-d', f'{seconds}s', '-w', f'{seconds / 4}s', '--format', 'json'))
    result = told['result']
    if any(result['errors'].values()):
        raise RuntimeError(f'errors: {result["errors"]}')
    volume = result['bytes_per_s'] * seconds * 1.25
    c.millrace('topic', 'delete', topic)
    return {'mb_per_s': result['bytes_per_s'] / 1e6, 'batches_per_s': result['requests_per_s'], 'p99_ms': told['latency']['response']['p99_ns'] / 1e6,
            'cpu_s_per_gb': (c.cpu_s() - used) / volume * 1e9, 'client_cpu_percent': 100 * result['own_cpu']}


def small(c):
    return load(c, 16, 1, 5)


def medium(c):
    return load(c, 16, 16, 5)


def large(c):
    return load(c, 4, 1000, 4)


def perf_test(c):
    """kafka-producer-perf-test, as it is when nothing is set but acks."""
    topic, = c.create(12)
    command = [clients.tool('java'), '-Xmx512m', *JVM, '-cp', clients.java_jars(c.options.kafka), 'org.apache.kafka.tools.ProducerPerformance',
               '--topic', topic, '--num-records', str(int(12_000 * c.options.seconds)), '--record-size', '1024', '--throughput', '-1',
               '--producer-props', f'bootstrap.servers={c.bootstrap}', 'acks=all']
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    c.millrace('topic', 'delete', topic)
    rate, p99 = re.search(r'\(([\d.]+) MB/sec\).* ([\d.]+) ms 99th', said.splitlines()[-1]).groups()
    return {'mb_per_s': float(rate) * MIB / 1e6, 'p99_ms': float(p99)}


# --- a leader dies, is started again, or gives way --------------------------------------------------------------------

class Onlookers:
    """Producers of one partition, and who watches ZooKeeper, for as long as this lasts."""

    def __init__(self, c, topic, producers, paths=()):
        python, script = c.options.python, cluster_clients.__file__
        self.told = {name: cluster_clients.Told([python, script, name, c.bootstrap, topic]) for name in producers if name != 'java'}
        if 'java' in producers:
            self.told['java'] = cluster_clients.Java([
                clients.tool('java'), '-Xmx256m', *JVM, '-cp', clients.java_jars(c.options.kafka), 'org.apache.kafka.tools.VerifiableProducer',
                '--bootstrap-server', c.bootstrap, '--topic', topic, '--throughput', str(cluster_clients.RATE), '--acks', '-1'])
        if paths:
            self.told['watch'] = cluster_clients.Told([python, script, 'watch', c.zookeeper.address, *paths])

    def __enter__(self):
        for name, told in self.told.items():
            until(f'{name} has begun', lambda t=told: t.lines)
        time.sleep(2)
        return self

    def __exit__(self, *_):
        for told in self.told.values():
            told.end()

    def gone(self, path, since):
        """When a node of ZooKeeper went."""
        return until(f'{path} is gone', lambda: next((when for when, words in self.told['watch'].lines
                                                      if when > since and words == [path, 'gone']), None), 10 * SESSION_MS / 1000, 0.01)

    def gap(self, name, since, rest_s=1):
        """The longest time without an acknowledgement, when they have come again for a while."""
        told = self.told[name]

        def over():
            _, end = cluster_clients.gap(told.lines, since)
            return told.lines[-1][0] > max(end, since) + rest_s
        until(f'{name} goes on', over)
        return cluster_clients.gap(told.lines, since)


def leader_of(c, topic):
    return c.sets(c.living()[0], topic)[0][0]


def led_by(c, node):
    """A topic of one partition that this one leads."""
    while True:
        topic, = c.create(1)
        if leader_of(c, topic) == node:
            return topic


def kill_one(c, node):
    """kill -9: how long its session lasted, and from its end to the first acknowledged write."""
    topic, path = led_by(c, node), f'{c.make.root}/brokers/ids/{node}'
    with Onlookers(c, topic, ['hints'], [path]) as seen:
        at = c.kill(node)
        gone = seen.gone(path, at)
        _, acked = seen.gap('hints', at)
    c.heal(node, [topic])
    return {'session_ms': (gone - at) * 1000, 'after_ms': (acked - gone) * 1000, 'kill_ms': (acked - at) * 1000}


def kill(c):
    controller = c.controller()
    other = kill_one(c, next(node for node in NODES if node != controller))
    return {**other, **{'controller_' + key: value for key, value in kill_one(c, controller).items()}}


def restart(c):
    """kill -9, and the same directory at once. Kafka refuses to start while its old registration is there, and is started again."""
    node = next(node for node in NODES if node != c.controller())
    topic, starts = led_by(c, node), 1
    with Onlookers(c, topic, ['hints']) as seen:
        at, broker = c.kill(node), c.brokers[node]
        broker.start()

        def acked():
            nonlocal starts
            if broker.process.poll() is not None:
                starts += 1
                broker.start()
            return cluster_clients.gap(seen.told['hints'].lines, at)[1] > at + 0.05
        until('it is written to', acked)
        _, acked_at = seen.gap('hints', at)
        until('it runs', lambda: broker.process.poll() is None or broker.start())
    c.await_all()
    c.await_full_sets([topic])
    return {'restart_ms': (acked_at - at) * 1000, 'starts': starts}


# --- planned moves ----------------------------------------------------------------------------------------------------

def ask(c, name, version, tree):
    """Of the controller, which may need its time; when it was asked, too."""
    with wire.Connection(c.address(c.controller()), 300) as link:
        at = time.monotonic()
        return hints.ask(link, name, version, tree), at


def create_led_by(c, node, partitions):
    """A topic whose partitions all have this broker as the first replica."""
    name, others = f'led-{c.topics}', [other for other in NODES if other != node]
    c.topics += 1
    topic = {'name': name, 'num_partitions': -1, 'replication_factor': -1, 'configs': [{'name': 'min.insync.replicas', 'value': '2'}],
             'assignments': [{'partition_index': partition, 'broker_ids': [node, others[partition % 2], others[1 - partition % 2]]}
                             for partition in range(partitions)]}
    answer, _ = ask(c, 'create_topics', 4, {'topics': [topic], 'timeout_ms': 300_000, 'validate_only': False})
    if answer['topics'][0]['error_code']:
        raise RuntimeError(f'CreateTopics: {answer["topics"][0]}')
    c.await_full_sets([name])
    return name


def elect(c):
    """All partitions go to their first replicas, by one request: when it was sent, and how many went."""
    answer, at = ask(c, 'elect_leaders', 1, {'election_type': 0, 'topic_partitions': None, 'timeout_ms': 300_000})
    return at, sum(part['error_code'] == 0 for topic in answer['replica_election_results'] for part in topic['partition_result'])


PRODUCERS = ('hints', 'librdkafka', 'java')


def move(c):
    """A broker that leads 1,000 partitions is stopped and comes back, and they go back to it by one request; what producers of one of
    them see of both."""
    node, figures = next(node for node in NODES if node != c.controller()), {}
    topics = [create_led_by(c, node, c.options.moved - 1), create_led_by(c, node, 1)]

    def keep(seen, what, since):
        for name in PRODUCERS:
            begin, end = seen.gap(name, since)
            figures.setdefault(f'{what}_{name}_ms', []).append((end - begin) * 1000)
    with Onlookers(c, topics[-1], PRODUCERS) as seen:
        for _ in range(c.options.moves):
            at = time.monotonic()
            c.brokers[node].process.send_signal(signal.SIGTERM)
            c.brokers[node].process.wait(300)
            figures.setdefault('stop_s', []).append(time.monotonic() - at)
            keep(seen, 'stop', at)
            c.heal(node, topics)
            time.sleep(2)
            at, moved = elect(c)
            if moved < c.options.moved:
                raise RuntimeError(f'{moved} leaders were moved')
            keep(seen, 'move', at)
    return figures


# --- many partitions --------------------------------------------------------------------------------------------------

def many(c):
    """The topics of this scene, made by its first cell."""
    if not hasattr(c, 'many_topics'):
        began = time.monotonic()
        each = min(1000, c.options.partitions)
        c.many_topics = c.create(each, c.options.partitions // each)
        c.made_s = time.monotonic() - began
    return c.many_topics


def any_led_by(c, node, topic, dead):
    """Does this broker still tell of a leader that is dead, or of none? It reads what matters only: it is asked often."""
    with wire.Connection(c.address(node), 60) as link:
        reader = link.call(wire.METADATA, 1, wire.array([wire.string(topic)]))
    for _ in range(reader.i32()):
        reader.i32(), reader.string(), reader.i32(), reader.string()
    reader.i32(), reader.i32(), reader.i16(), reader.string(), reader.i8()
    data, at = reader.data, reader.at + 4
    for _ in range(reader.i32()):
        _, _, leader, replicas = struct.unpack_from('>hiii', data, at)
        if leader in (dead, -1):
            return True
        members, = struct.unpack_from('>i', data, at + 14 + 4 * replicas)
        at += 18 + 4 * (replicas + members)
    return False


def until_led(c, topics, dead):
    """When all survivors tell of leaders for everything."""
    for topic in topics:
        for node in c.living():
            until(f'leaders of {topic} at {node}', lambda n=node, t=topic: not any_led_by(c, n, t, dead), 600, 0.005)
    return time.monotonic()


def led(c, topics, node):
    return sum(leader == node for topic in topics for leader, _, _ in c.sets(node, topic).values())


def in_office(c, old):
    """When another controller has made a topic."""
    name = f'office-{time.monotonic_ns()}'

    def made():
        controller = c.metadata(c.living()[0])[0]
        if controller not in c.living():
            return False
        with wire.Connection(c.address(controller), 60) as link:
            return wire.create_topic(link, name)[0] == 0
    until('a controller', made, 600, 0.002)
    return time.monotonic()


def death(c):
    """A broker that leads a third of all dies: from the end of its session until others lead everything."""
    topics = many(c)
    node = next(node for node in NODES if node != c.controller())
    path, leaders = f'{c.make.root}/brokers/ids/{node}', led(c, topics, node)
    with Onlookers(c, None, (), [path]) as seen:
        at = c.kill(node)
        gone = seen.gone(path, at)
        all_led = until_led(c, topics, node)
    c.heal(node, topics)
    return {'made_s': c.made_s, 'leaders': leaders, 'death_ms': (all_led - gone) * 1000}


def takeover(c):
    """The controller dies: from the end of its session until another one makes a topic, and until others lead what it has led."""
    topics, node = many(c), c.controller()
    paths = [f'{c.make.root}/controller', f'{c.make.root}/brokers/ids/{node}']
    with Onlookers(c, None, (), paths) as seen:
        at = c.kill(node)
        gone = seen.gone(paths[0], at)
        office = in_office(c, node)
        missed = seen.gone(paths[1], at)
        all_led = until_led(c, topics, node)
    c.heal(node, topics)
    return {'office_ms': (office - gone) * 1000, 'office_led_ms': (all_led - missed) * 1000}


def received(c):
    """Requests that ZooKeeper has had so far."""
    with socket.create_connection((c.zookeeper.host, c.zookeeper.port), timeout=5) as link:
        link.sendall(b'mntr')
        answer = link.makefile('rb').read().decode()
    return {key: int(value) for key, value in re.findall(r'^(zk_packets_received|zk_znode_count|zk_approximate_data_size)\t(\d+)', answer, re.M)}


def quiet(c):
    """Nothing happens but what always does."""
    many(c)
    time.sleep(5)
    before = received(c)
    used = c.cpu_s()
    time.sleep(c.options.quiet_seconds)
    after = received(c)
    return {'zookeeper_per_s': (after['zk_packets_received'] - before['zk_packets_received'] - 1) / c.options.quiet_seconds,
            'znodes': after['zk_znode_count'], 'data_kib': after['zk_approximate_data_size'] / 1024,
            'quiet_percent': 100 * (c.cpu_s() - used) / c.options.quiet_seconds,
            'resident_mib': sum(c.brokers[node].resident_mib() for node in NODES) / len(NODES)}


# --- catching up ------------------------------------------------------------------------------------------------------

def copied_mb_per_s(c, size):
    """What fio gets, reading one file while it writes another: durably and into fresh space, as a follower does."""
    paths = [os.path.join(c.folder, name) for name in ('read', 'written')]
    common = [f'--size={size}', '--bs=1m', '--iodepth=4', '--ioengine=io_uring', '--direct=1']

    def fio(*jobs):
        done = subprocess.run(['fio', *common, '--output-format=json', *jobs], stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout[done.stdout.index('{'):])['jobs']
    fio('--name=fill', f'--filename={paths[0]}', '--rw=write')
    os.sync()
    jobs = fio('--name=read', f'--filename={paths[0]}', '--rw=read', '--name=write', f'--filename={paths[1]}', '--rw=write', '--sync=dsync')
    for path in paths:
        os.unlink(path)
    return size / max(job[kind]['runtime'] for job, kind in zip(jobs, ('read', 'write'))) / 1e3


def catch_up(c):
    """A broker is away while gigabytes come, and is back: from its start until it is in sync with all."""
    size = int(c.options.gigabytes * 10**9)
    limit = copied_mb_per_s(c, size)
    topic, = c.create(12)
    node = next(node for node in NODES if node != c.controller())
    c.kill(node)
    until('it is missed', lambda: all(len(ids) < len(NODES) for _, _, ids in c.sets(c.living()[0], topic).values()))
    c.millrace('bench', 'produce', topic, '--no-create', '-c', 4, '--batch', 1000, '--in-flight', 4, '-w', '0s', '-d', '1h', '--bytes', size)
    os.sync()
    if os.geteuid() == 0:
        with open('/proc/sys/vm/drop_caches', 'w') as caches:
            caches.write('1')
    began = time.monotonic()
    c.heal(node, [topic])
    rate = size / (time.monotonic() - began) / 1e6
    c.millrace('topic', 'delete', topic)
    return {'catch_up_mb_per_s': rate, 'of_fio': rate / limit, 'fio_mb_per_s': limit}


# --- the table of them ------------------------------------------------------------------------------------------------

def own(key, label, goal=None):
    return Figure(key, label, goal, small=True, of='own')


def less(key, label):
    return Figure(key, label, small=True)


LOAD = (Figure('mb_per_s', 'MB/s', goal=3.0), less('p99_ms', 'p99 ms'))
CPU = less('cpu_s_per_gb', "brokers' CPU s/GB")
CELLS = (
    Cell('small', '16 connections x 12 partitions, 1 KiB batches, 5 in flight', small, (*LOAD, CPU)),
    Cell('medium', '16 connections x 12 partitions, 16 KiB batches, 5 in flight', medium, (*LOAD, CPU)),
    Cell('large', '4 connections x 12 partitions, 1 MiB batches, 4 in flight', large, (*LOAD, CPU)),
    Cell('perf-test', 'kafka-producer-perf-test, 1 KiB records, acks=all', perf_test, LOAD),
    Cell('kill', f'kill -9 of a leader, session {SESSION_MS / 1000:g} s', kill, (
        less('session_ms', 'ms until its ephemeral node is gone'), own('after_ms', f'{ACKED} after that', 100),
        less('kill_ms', f'{ACKED} after the kill'), own('controller_after_ms', f'it is the controller, too: {ACKED} after that', 100))),
    Cell('restart', 'kill -9 of a leader, and a start on the same directory at once', restart, (
        less('restart_ms', f'{ACKED} after the kill'), Figure('starts', 'starts until it stays'))),
    Cell('move', '1,000 partitions get their preferred leader back, all at once', move, (
        own('move_hints_ms', 'ms without acknowledgements, follows hints', 50), less('move_librdkafka_ms', 'the same, librdkafka'),
        less('move_java_ms', 'the same, Java'), less('stop_s', 'who leads them is stopped (TERM): s until it has'),
        own('stop_hints_ms', 'ms without acknowledgements, follows hints', 50), less('stop_librdkafka_ms', 'the same, librdkafka'),
        less('stop_java_ms', 'the same, Java')), 'moves'),
    Cell('quiet', 'nothing happens', quiet, (
        Figure('zookeeper_per_s', 'requests/s to ZooKeeper', small=True), Figure('znodes', 'nodes in ZooKeeper'),
        Figure('data_kib', 'KiB of data in them'), less('quiet_percent', "brokers' CPU, % of a core"), less('resident_mib', 'MiB resident, each')),
        'many'),
    Cell('death', 'a broker dies that leads a third', death, (
        less('made_s', 's to make them'), Figure('leaders', 'partitions that it leads'), own('death_ms', 'ms from the end of its session until all have leaders')),
        'many', True),
    Cell('takeover', 'the controller dies', takeover, (
        own('office_ms', 'ms from the end of its session until another one makes a topic', 1000),
        own('office_led_ms', 'ms until all have leaders')), 'many', True),
    Cell('catch-up', 'a broker comes back that has missed gigabytes', catch_up, (
        Figure('catch_up_mb_per_s', 'MB/s'), Figure('fio_mb_per_s', 'MB/s that fio copies'), Figure('of_fio', 'of that', 0.7, of='own')), 'catch-up'),
)
