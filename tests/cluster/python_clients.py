# SPDX-License-Identifier: Apache-2.0
"""Cases of tests/cluster/run: the story of a cluster as the Python clients see it, kafka-python and confluent-kafka in the
releases that tests/interop pins (python_load.py is what they run)."""
import os
import subprocess
import time

import broker as brokers
import clients
from nodes import check
from replicated import await_first_leaders, await_full_sets, await_leaders, bootstrap, read, replicated, sets

LIBRARIES = {'kafka-python': 'kafka-python-3.0.12', 'confluent': 'confluent-2.16.1'}
LOAD = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'python_load.py')


class Client:
    """A process of one library, and what it has told: {(partition, offset): value}."""

    def __init__(self, c, python, library, what, topic):
        self.name, self.path = f'{library} {what}', os.path.join(c.folder, f'{library}-{what}')
        with open(self.path, 'w') as out, open(self.path + '.errors', 'w') as errors:
            self.process = subprocess.Popen([python, LOAD, library, what, topic, bootstrap(c)], stdin=subprocess.PIPE, stdout=out,
                                            stderr=errors)

    def told(self):
        found = {}
        with open(self.path) as text:
            for line in text:
                if not line.endswith('\n'):
                    break
                partition, offset, value = line.split()
                place = int(partition), int(offset)
                check(found.setdefault(place, value) == value, f'{self.name}: two values at {place}')
        return found

    def end(self, wait_s=60):
        self.process.stdin.close()
        code = self.process.wait(wait_s)
        with open(self.path + '.errors') as errors:
            check(code == 0, f'{self.name} ended with {code}: {errors.read()[-600:]}')
        return self.told()

    def kill(self):
        self.process.kill()
        self.process.wait()


def story(c, library, python):
    """Three replicas; the leader of partition 0 is killed (kill -9) under load, comes back, catches up and leads again."""
    topic = replicated(c, f'of-{library}')
    await_full_sets(c, topic)
    consumer, producer = (Client(c, python, library, what, topic) for what in ('consume', 'produce'))
    try:
        brokers.until('the consumer reads', lambda: len(consumer.told()) > 100, 30)
        victim = sets(c, 1, topic)[0][0]
        brokers.kill(c.running.pop(victim))
        took = await_leaders(c, topic, 15)
        time.sleep(2)
        c.start(victim)
        await_full_sets(c, topic)
        await_first_leaders(c, topic)
        time.sleep(1)
        sent = producer.end()
        brokers.until('the consumer has read what was sent', lambda: len(consumer.told()) >= len(sent), 30)
        got = consumer.end()
    finally:
        producer.kill()
        consumer.kill()
    there = {(partition, offset): value for partition, offset, value in read(c, victim, topic)}
    check(sent == there, f'{len(sent)} were acknowledged, {len(there)} are there: {sorted(set(sent.items()) ^ set(there.items()))[:3]}')
    check(got == sent, f'{len(got)} of {len(sent)} were read: {sorted(set(sent.items()) ^ set(got.items()))[:3]}')
    for partition in {partition for partition, _ in there}:
        offsets = sorted(offset for p, offset in there if p == partition)
        check(offsets == list(range(len(offsets))), f'partition {partition}: offsets are missing')
    return f'{library}: others lead after {took:.2f} s, {len(sent)} records'


def python_clients(c):
    """kill -9 of a leader under load: producers and consumers go on, offsets continue, nothing is lost, read twice or elsewhere."""
    try:
        pythons = {library: clients.command(release)[0] for library, release in LIBRARIES.items()}
    except (clients.Missing, RuntimeError) as missing:
        return f'skipped: {missing}'
    return '; '.join(story(c, library, python) for library, python in pythons.items())


CASES = (python_clients,)
