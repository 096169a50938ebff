# SPDX-License-Identifier: Apache-2.0
"""Clients and onlookers of bench/cluster, each in a process of its own that tells when something happened: a line for each
acknowledgement, or for each change in ZooKeeper, on the clock that all processes of a machine share.

    hints      acks=all, one record after another to a partition, and at once to the leader that a broker names (tests/cluster/hints.py)
    librdkafka, java    the same by stock clients, a record each millisecond
    watch      a second client of ZooKeeper (kazoo), which watches nodes
"""

import json
import os
import subprocess
import sys
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TOP, 'tests', part) for part in ('interop', 'cluster')]
sys.dont_write_bytecode = True
CONFLUENT, KAZOO = 'confluent-kafka==2.16.1', 'kazoo==2.10.0'
RATE = 1000  # records a second
LONG_S = 3600


def tell(*words):
    print(time.monotonic(), *words, flush=True)


# --- what such a process does -----------------------------------------------------------------------------------------

def watch(servers, *paths):
    """PATH there or PATH gone."""
    from kazoo.client import KazooClient
    client = KazooClient(servers, timeout=30)
    client.start()

    def changed(event):
        tell(event.path, 'gone' if event.type == 'DELETED' else 'there')
        client.exists(event.path, watch=changed)
    for path in paths:
        client.exists(path, watch=changed)
    tell('ready')
    time.sleep(LONG_S)


def hints(bootstrap, topic):
    import hints as told
    addresses = [(host, int(port)) for host, port in (one.split(':') for one in bootstrap.split(','))]
    told.Producer(dict(enumerate(addresses, 1)), topic, 0, tell)
    time.sleep(LONG_S)


def librdkafka(bootstrap, topic):
    from confluent_kafka import Producer
    producer = Producer({'bootstrap.servers': bootstrap, 'acks': 'all', 'linger.ms': 0, 'enable.idempotence': True})
    number = 0
    while True:
        producer.produce(topic, b'%08d' % number, partition=0, on_delivery=lambda error, _: tell() if error is None else None)
        number += 1
        producer.poll(1 / RATE)


# --- the other side of it ---------------------------------------------------------------------------------------------

class Told:
    """A process and the lines that it has told: [(when, words)]."""

    def __init__(self, command):
        self.lines, self.process = [], subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        for line in self.process.stdout:
            if read := self.read(line):
                self.lines.append(read)

    @staticmethod
    def read(line):
        when, *words = line.decode().split()
        return float(when), words

    def end(self):
        self.process.kill()
        self.process.wait()
        self.thread.join()


class Java(Told):
    """Kafka's VerifiableProducer has the wall clock."""

    @staticmethod
    def read(line):
        if b'"producer_send_success"' not in line:
            return None
        return json.loads(line)['timestamp'] / 1000 - time.time() + time.monotonic(), []


def gap(lines, since):
    """(from when, to when): the longest time without a line from that moment on."""
    times = [since, *(when for when, _ in lines if when > since)]
    return max(zip(times, times[1:]), key=lambda pair: pair[1] - pair[0], default=(since, since))


if __name__ == '__main__':
    {'watch': watch, 'hints': hints, 'librdkafka': librdkafka}[sys.argv[1]](*sys.argv[2:])
