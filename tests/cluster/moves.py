# SPDX-License-Identifier: Apache-2.0
"""Cases of tests/cluster/run about leadership and replicas that go elsewhere: when a broker is stopped, when all were and one
is missing, when somebody moves partitions or wants a leader at any price. Kafka's tools, where their jars are there, are the
somebody.
"""
import glob
import json
import os
import re
import signal
import subprocess
import time
import zipfile

import broker as brokers
import hints
import wire
from replicated import (JVM, PARTITIONS, RATE, ROOT, Java, Kcat, await_first_leaders, await_full_sets, await_leaders, bootstrap, check, check_once_in_order,
                        elect_preferred, jars, read, replicated, sets)


def tool(c, name, *arguments, all_jars=None, good=True):
    """What one of Kafka's command line tools says."""
    out = subprocess.run(['java', *JVM, '-cp', all_jars or jars(), name, '--bootstrap-server', bootstrap(c), *arguments],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    words = out.stdout.decode()
    check((out.returncode == 0) == good, f'{name.rsplit(".", 1)[1]} {" ".join(arguments)} ended with {out.returncode}: {words[-600:]}')
    return words


def stop_handing_over(c, topics, node):
    """TERM, and how long it took; nothing is led by it any more when it has ended."""
    began = time.monotonic()
    code = brokers.stop(c.running.pop(node))
    took = time.monotonic() - began
    check(code == 0, f'broker {node} ended with {code}')
    check('handed_over complete=1' in c.log(node), f'broker {node} did not hand over')
    for topic in topics:
        leaders = [leader for leader, _, _ in sets(c, next(iter(c.running)), topic).values()]
        check(node not in leaders, f'broker {node} has ended, and the leaders are {leaders}')
    return took


def stopped_in_turn(c):
    """TERM of each in turn under load: others lead before it stops, so nobody waits for a session's end."""
    topics = [replicated(c, name) for name in ('handed-over', 'java-handed-over', 'hinted')]
    topic, other, hinted = topics
    for name in topics:
        await_full_sets(c, name)
    count = 20 * RATE
    probe = hints.Producer(c.address, hinted, 0)
    kcat, java = Kcat(c, topic, 'd'), Java(c, other, count) if jars() else None
    stops, gaps = [], []
    try:
        time.sleep(4)
        for node in list(c.address):
            for name in topics:
                await_full_sets(c, name)
            began = time.monotonic()
            stops.append(stop_handing_over(c, topics, node))
            time.sleep(0.5)
            gaps.append(probe.gap_s(began))
            c.start(node)
        await_full_sets(c, topic)
        probe.end()
        values = kcat.end()
        sent = java.end(count) if java else {}
        java_gap = f', Java\'s {java.gap_s():.2f} s' if java else ''
    finally:
        probe.end()
        kcat.kill()
        if java:
            java.kill()
    check(max(gaps) < 1, f'a producer that follows hints waited {max(gaps):.2f} s')
    check(probe.hints > 0, 'nobody was told who leads')
    check_once_in_order(read(c, 1, topic), values)
    check({(p, o): v for p, o, v in read(c, 2, other)} == sent, 'java: other records than were acknowledged')
    check(len({v for _, _, v in read(c, 3, hinted)}) >= probe.sent, 'the one that follows hints: records are lost')
    return (f'each stopped within {max(stops):.2f} s; a producer that follows hints waited {max(gaps) * 1000:.0f} ms at '
            f'most ({probe.hints} hints){java_gap}; {len(values)} by kcat, {len(sent)} by Java: none lost, none twice')


def stopped_beside_a_frozen_controller(c):
    """TERM, and the controller that is told does not answer: the broker waits for its 3 s, and ends as it should."""
    topic = replicated(c, 'frozen')
    await_full_sets(c, topic)
    controller = c.controller(1)
    node = next(other for other in c.address if other != controller)
    c.running[controller].process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        code = brokers.stop(c.running.pop(node))
        took = time.monotonic() - began
    finally:
        c.running[controller].process.send_signal(signal.SIGCONT)
    check(code == 0, f'broker {node} ended with {code}')
    check('handed_over' in c.log(node), f'broker {node} did not try')
    c.start(node)
    c.all_see(list(c.address))
    check('last_stop=clean' in c.log(node), f'broker {node} did not end cleanly')
    await_full_sets(c, topic)
    return f'{took:.2f} s'


def alone_at_first(c):
    """kill -9 of all, and one does not come back: though the first that came needed it, nobody waits for it when the
    second has caught up."""
    topic = replicated(c, 'alone')
    await_full_sets(c, topic)
    for node in list(c.running):
        c.running[node].process.kill()
    for node in list(c.running):
        brokers.kill(c.running.pop(node))
    absent, first, second = c.address
    c.start(first)
    brokers.until('nobody else is there', lambda: c.live(first) == [first], 15)
    c.start(second)
    began = time.monotonic()
    c.all_see([first, second])

    def written(partition):
        leader = sets(c, first, topic)[partition][0]
        if leader not in c.running:
            return False
        with wire.Connection(c.address[leader], 15) as link:
            return wire.produce(link, topic, partition, wire.batch([b'x']))[0] == 0
    for partition in range(PARTITIONS):
        brokers.until(f'partition {partition} takes records', lambda p=partition: written(p), 10)
    took = time.monotonic() - began
    c.start(absent)
    c.all_see(list(c.address))
    await_full_sets(c, topic)
    return f'records were taken {took:.2f} s after the second was there, the third away'


# ---- moves ----

REASSIGN = 'org.apache.kafka.tools.reassign.ReassignPartitionsCommand'


def versions():
    """{version: class path} of Kafka's tools that are there and have this one; 2.8 has it in Scala, elsewhere."""
    return {re.search(r'kafka-tools-(.*)\.jar', jar).group(1): os.path.join(os.path.dirname(jar), '*')
            for jar in sorted(glob.glob(os.path.join(ROOT, 'build/interop/java-*/kafka-tools-[0-9]*.jar')))
            if REASSIGN.replace('.', '/') + '.class' in zipfile.ZipFile(jar).namelist()}


def directories(c, node, topic):
    folder = os.path.join(c.folder, str(node))
    return sorted(name for _, names, _ in os.walk(folder) for name in names if re.fullmatch(topic + r'-\d+', name))


def moved(c):
    """Kafka's kafka-reassign-partitions, each version that is there: partitions of two replicas go to other brokers under
    load, and are deleted where they were."""
    if not versions():
        return 'skipped: no jars'
    topic = c.create(PARTITIONS, name='wandering', replicas=2, configs={'min.insync.replicas': 2})
    kcat = Kcat(c, topic, 'e')
    took = []
    try:
        time.sleep(1)
        for number, (version, path) in enumerate(versions().items()):
            before = sets(c, 1, topic)
            plan = {'version': 1, 'partitions': [
                {'topic': topic, 'partition': partition, 'replicas': [node % 3 + 1 for node in ids]}
                for partition, (_, ids, _) in before.items()]}
            file = os.path.join(c.folder, f'plan-{number}.json')
            with open(file, 'w') as out:
                json.dump(plan, out)
            if number == 0:
                topics = os.path.join(c.folder, 'topics.json')
                with open(topics, 'w') as out:
                    json.dump({'version': 1, 'topics': [{'topic': topic}]}, out)
                words = tool(c, REASSIGN, '--topics-to-move-json-file', topics, '--broker-list', '1,2,3', '--generate',
                             all_jars=path)
                check('Proposed partition reassignment' in words, words)
            began = time.monotonic()
            words = tool(c, REASSIGN, '--reassignment-json-file', file, '--execute', all_jars=path)
            check('Successfully started' in words, f'{version}: {words}')
            wanted = {p['partition']: p['replicas'] for p in plan['partitions']}
            brokers.until('the partitions have arrived', lambda: all(
                sorted(ids) == sorted(wanted[p]) for p, (_, ids, _) in sets(c, 1, topic).items()), 30)
            took.append(time.monotonic() - began)
            words = tool(c, REASSIGN, '--reassignment-json-file', file, '--verify', all_jars=path)
            check(words.count('is completed') == PARTITIONS, f'{version}: {words}')
        await_leaders(c, topic, 15)
        values = kcat.end()
    finally:
        kcat.kill()
    check_once_in_order(read(c, 2, topic), values)
    for node in c.address:
        expected = sorted(f'{topic}-{p}' for p, (_, ids, _) in sets(c, 1, topic).items() if node in ids)
        brokers.until(f'broker {node} has only its partitions', lambda n=node, e=expected: directories(c, n, topic) == e, 15)
    return f'{PARTITIONS} partitions by Kafka {", ".join(versions())}: {max(took):.2f} s at most; {len(values)} records by kcat'


def moved_slowly(c):
    """With --throttle a replica catches up no faster than that: ten seconds' worth at once, and then at the rate. Afterwards the
    limits are gone."""
    if not versions():
        return 'skipped: no jars'
    rate, count, size = 1_000_000, 40, 500_000
    path, topic = list(versions().values())[-1], c.create(1, name='slowly', replicas=1)
    leader = sets(c, 1, topic)[0][0]
    with wire.Connection(c.address[leader], 30) as link:
        for _ in range(count):
            error, _ = wire.produce(link, topic, 0, wire.batch([b'x' * size]))
            check(error == 0, f'produce: {error}')
    took = {}
    for other, throttle in zip([node for node in c.address if node != leader], ([], ['--throttle', str(rate)])):
        file = os.path.join(c.folder, f'slowly-{other}.json')
        with open(file, 'w') as out:
            json.dump({'version': 1, 'partitions': [{'topic': topic, 'partition': 0, 'replicas': [leader, other]}]}, out)
        began = time.monotonic()
        words = tool(c, REASSIGN, '--reassignment-json-file', file, '--execute', *throttle, all_jars=path)
        check('Successfully started' in words, words)
        brokers.until('it is there', lambda o=other: sorted(sets(c, 1, topic)[0][2]) == sorted([leader, o]), 60)
        took[bool(throttle)] = time.monotonic() - began
        words = tool(c, REASSIGN, '--reassignment-json-file', file, '--verify', all_jars=path)
        check('is completed' in words, words)
    least = (count * size - 10 * rate) / rate
    check(took[True] > 0.8 * least, f'{count * size} bytes at {rate} a second came within {took[True]:.1f} s')
    check(took[False] < least / 2, f'without a limit it took {took[False]:.1f} s')
    out = subprocess.run([c.program, 'topic', 'describe', topic, '--format', 'json', '-b', c.bootstrap(1)], stdout=subprocess.PIPE, timeout=30,
                         check=True).stdout
    left = [entry for entry in json.loads(out)['items'][0]['configs'] if 'throttled' in entry['name'] and entry['value']]
    check(not left, f'limits are left: {left}')
    return f'{count * size >> 20} MiB: {took[False]:.1f} s, and {took[True]:.1f} s at {rate >> 10} KiB/s'


def limit(c, kind, name, key, value):
    answer = hints.ask_once(c.address[c.controller(next(iter(c.running)))], 'incremental_alter_configs', 1, {'validate_only': False, 'resources': [
        {'resource_type': kind, 'resource_name': name, 'configs': [{'name': key, 'config_operation': 0, 'value': value}]}]})
    check(answer['responses'][0]['error_code'] == 0, f'{key}: {answer}')


def held_up(c):
    """A limit of one byte a second: a follower in sync goes on, one that catches up waits, and goes on when the limit does."""
    topic_type, broker_type, rate, size = 2, 4, 'follower.replication.throttled.rate', 500_000
    topic = c.create(1, replicas=2, configs={'min.insync.replicas': 1})
    leader, ids, _ = sets(c, 1, topic)[0]
    follower = next(node for node in ids if node != leader)
    brokers.until('it is in sync', lambda: len(sets(c, leader, topic)[0][2]) == 2)
    limit(c, topic_type, topic, 'follower.replication.throttled.replicas', '*')

    def write(count):
        began = time.monotonic()
        with wire.Connection(c.address[leader], 30) as link:
            for _ in range(count):
                error, _ = wire.produce(link, topic, 0, wire.batch([b'x' * size]))
                check(error == 0, f'produce: {error}')
        return time.monotonic() - began
    write(4)
    limit(c, broker_type, str(follower), rate, '1')
    took = write(4)
    check(len(sets(c, leader, topic)[0][2]) == 2, 'a follower that is in sync is held up')
    brokers.kill(c.running.pop(follower))
    brokers.until('it is missed', lambda: sets(c, leader, topic)[0][2] == [leader])
    write(60)
    c.start(follower)
    c.all_see(sorted(c.address))
    time.sleep(3)
    check(sets(c, leader, topic)[0][2] == [leader], 'a follower that catches up is not held up')
    limit(c, broker_type, str(follower), rate, '1000000000')
    began = time.monotonic()
    brokers.until('it has caught up', lambda: len(sets(c, leader, topic)[0][2]) == 2, 20)
    return f'4 records took {took:.2f} s; caught up {time.monotonic() - began:.1f} s after the limit went'


def move_taken_back(c):
    """A move to a broker that is away does not come to its end; it is listed, and taken back."""
    if not jars():
        return 'skipped: no jars'
    topic = c.create(1, name='undecided', replicas=2, configs={'min.insync.replicas': 2})
    _, ids, _ = sets(c, 1, topic)[0]
    away = next(node for node in c.address if node not in ids)
    brokers.kill(c.running.pop(away))
    c.all_see(list(c.running))
    file = os.path.join(c.folder, 'plan-back.json')
    with open(file, 'w') as out:
        json.dump({'version': 1, 'partitions': [{'topic': topic, 'partition': 0, 'replicas': [ids[0], away]}]}, out)
    node = next(iter(c.running))
    error = hints.reassign(c.address[c.controller(node)], topic, 0, [ids[0], away])  # the tool wants all to be there
    check(error == 0, f'AlterPartitionReassignments: {error}')
    words = tool(c, REASSIGN, '--list')
    check(f'{topic}-0' in words and f'adding: {away}' in words and f'removing: {ids[1]}' in words, words)
    described = tool(c, 'org.apache.kafka.tools.TopicCommand', '--describe', '--topic', topic)
    check(f'Adding Replicas: {away}' in described, described)
    values = [f'back-{i}' for i in range(100)]
    c.produce(node, topic, values)
    # It would ask the broker that is away to forget its throttles.
    tool(c, REASSIGN, '--reassignment-json-file', file, '--cancel', '--preserve-throttles')
    check('No partition reassignments found' in tool(c, REASSIGN, '--list'), 'it is listed still')
    check(sorted(sets(c, node, topic)[0][1]) == sorted(ids), f'{sets(c, node, topic)} after {ids}')
    check(c.consume(node, topic) == sorted(values), 'not all came back')
    c.start(away)
    c.all_see(list(c.address))
    check(directories(c, away, topic) == [], f'broker {away} has {directories(c, away, topic)}')


# ---- leaders ----


def unclean(c):
    """The set of a partition is gone, and a replica that has missed something is there: nobody leads; kafka-topics says so;
    when somebody asks for it (kafka-leader-election) it leads, and whoever comes back has what it has."""
    if not jars():
        return 'skipped: no jars'
    topic = c.create(1, name='at-any-price', replicas=3, configs={'min.insync.replicas': 1})
    leader, ids, _ = sets(c, 1, topic)[0]
    behind, other = (node for node in ids if node != leader)
    c.produce(leader, topic, ['first'])
    await_full_sets(c, topic)
    brokers.kill(c.running.pop(behind))
    brokers.until('it is missed', lambda: behind not in sets(c, leader, topic)[0][2])
    c.produce(leader, topic, ['lost'])
    brokers.kill(c.running.pop(other))
    brokers.until('it is missed, too', lambda: sets(c, leader, topic)[0][2] == [leader])
    brokers.kill(c.running.pop(leader))
    c.start(behind)
    c.start(other)
    c.all_see([behind, other])
    topics = 'org.apache.kafka.tools.TopicCommand'
    time.sleep(1)
    check(sets(c, behind, topic)[0][0] not in c.running, 'somebody leads who may not')
    check(f'Topic: {topic}' in tool(c, topics, '--describe', '--unavailable-partitions'), 'it is not told to be unavailable')
    tool(c, 'org.apache.kafka.tools.LeaderElectionCommand', '--election-type', 'unclean', '--topic', topic, '--partition', '0')
    brokers.until('somebody leads', lambda: sets(c, behind, topic)[0][0] in c.running)
    check(f'Topic: {topic}' not in tool(c, topics, '--describe', '--unavailable-partitions'), 'it is told to be unavailable')
    check(f'Topic: {topic}' in tool(c, topics, '--describe', '--under-replicated-partitions'), 'it is not under-replicated')
    found = [value for _, _, value in read(c, behind, topic)]
    c.produce(behind, topic, ['second'])
    c.start(leader)
    c.all_see(list(c.address))
    await_full_sets(c, topic)
    check(f'Topic: {topic}' not in tool(c, topics, '--describe', '--under-replicated-partitions'), 'it is under-replicated still')
    error = hints.reassign(c.address[c.controller(leader)], topic, 0, [leader, other, behind])
    check(error == 0, f'AlterPartitionReassignments: {error}')
    elect_preferred(c, topic)
    got = [value for _, _, value in read(c, leader, topic)]
    check(got == found + ['second'], f'broker {leader}, which had more, leads and has {got}, after {found}')
    return f'{found} were left of first, lost'


def back_by_itself(c):
    """Leaders go back to the first replicas without anybody asking."""
    topic = replicated(c, 'homing')
    await_full_sets(c, topic)
    victim = sets(c, 1, topic)[0][1][0]
    brokers.kill(c.running[victim])
    c.start(victim)
    await_full_sets(c, topic)
    began = time.monotonic()
    await_first_leaders(c, topic, 20)
    return f'{time.monotonic() - began:.2f} s after all were in sync'


def strangers(c):
    """A Fetch in a follower's name, and a wish for another set, count only from a broker that is registered so."""
    topic = replicated(c, 'private')
    leader, ids, _ = sets(c, 1, topic)[0]
    follower = next(node for node in ids if node != leader)
    with wire.Connection(c.address[leader]) as link:
        for replica in (follower, 77, leader):
            body = (wire.i32(replica) + wire.i32(10) + wire.i32(0) + wire.i32(1 << 20) + wire.i8(0) +
                    wire.array([wire.string(topic) + wire.array([wire.i32(0) + wire.i64(0) + wire.i32(1 << 20)])]))
            reader = link.call(wire.FETCH, 4, body)
            reader.i32()
            answers = reader.array(lambda: (reader.string(), reader.array(
                lambda: (reader.i32(), reader.i16(), reader.i64(), reader.i64(), reader.array(lambda: None), reader.blob()))))
            check(not any(part[5] for _, parts in answers for part in parts), f'replica {replica}: {answers}')
    for node in (follower, 77):
        for epoch in (-1, 1):
            error = hints.alter_partition(c.address[c.controller(1)], node, epoch)
            check(error in (31, 77), f'AlterPartition of broker {node}, epoch {epoch}: {error}')
            error = hints.controlled_shutdown(c.address[c.controller(1)], node, epoch)
            check(error == 31, f'ControlledShutdown of broker {node}, epoch {epoch}: {error}')
    check(sorted(sets(c, 1, topic)[0][2]) == sorted(ids), 'the set has changed')


CASES = (strangers, stopped_in_turn, stopped_beside_a_frozen_controller, alone_at_first, moved, moved_slowly, held_up, move_taken_back, unclean, back_by_itself)
