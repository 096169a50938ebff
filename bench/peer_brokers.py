# SPDX-License-Identifier: Apache-2.0
"""The two brokers of bench/peer: how each is started with the whole machine, and stopped. The jars of Apache Kafka
are those that the interoperability tests fetch (tests/interop/clients.py)."""

import base64
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, 'tests', 'interop'))
import clients  # noqa: E402
import wire  # noqa: E402
from broker import free_port  # noqa: E402

KAFKA_VERSION = '4.3.1'
# What bin/kafka-server-start.sh passes, but for the heap.
JVM = ['-server', '-XX:+UseG1GC', '-XX:MaxGCPauseMillis=20', '-XX:InitiatingHeapOccupancyPercent=35',
       '-XX:+ExplicitGCInvokesConcurrent', '-Djava.awt.headless=true',
       '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn', '-Dlog4j2.level=WARN']
# One node, no replicas; everything else is Kafka's default.
KAFKA_PROPERTIES = '''process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
'''


def first_ack(port, since_ns, patience_s=600):
    """Connects, makes a topic unless it is there, produces; from the beginning until it works. Milliseconds since then."""
    connected_ns = None
    batch = wire.batch([b'x' * 1024])
    while time.monotonic_ns() < since_ns + patience_s * 10**9:
        try:
            with wire.Connection(('127.0.0.1', port), 60) as connection:
                connected_ns = connected_ns or time.monotonic_ns()
                wire.create_topic(connection, 'first', 1)
                error, _ = wire.produce(connection, 'first', 0, batch)
                if error == 0:
                    return {'first_ack_ms': (time.monotonic_ns() - since_ns) / 1e6,
                            'first_connection_ms': (connected_ns - since_ns) / 1e6}
        except (OSError, wire.Closed):  # not yet
            pass
        time.sleep(0.0005)
    raise RuntimeError(f'no acknowledgement within {patience_s} s')


class Broker:
    """A broker on a directory of its own; `started_ns` on the monotonic clock, `port`, `pid`."""

    overrides = {}  # settings of the next start

    def __init__(self, folder):
        self.folder, self.process, self.port, self.started_ns = folder, None, None, None
        self.data = os.path.join(folder, 'data')

    def clear(self):
        """An empty directory. What is still to be written of the old one must not be paid for by the next cell."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        os.sync()

    def overriding(self):
        return [word for name, value in self.overrides.items() for word in ('--override', f'{name}={value}')]

    def spawn(self, command):
        with open(os.path.join(self.folder, 'broker.log'), 'ab') as log:
            self.started_ns = time.monotonic_ns()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def pid(self):
        return self.process.pid

    def check(self):
        if self.process.poll() is not None:
            raise RuntimeError(f'{self.name} has ended ({self.process.returncode}), see {self.folder}/broker.log')

    def resident_mib(self):
        with open(f'/proc/{self.pid}/statm') as statm:
            return int(statm.read().split()[1]) * os.sysconf('SC_PAGESIZE') / 2**20

    def cpu_s(self):
        with open(f'/proc/{self.pid}/stat') as stat:
            fields = stat.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def stop(self, wait_s=120):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(wait_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None


class Millrace(Broker):
    name = 'millrace'
    modes = {'durable': ''}  # name: configuration of topics
    arguments = ()

    def __init__(self, folder, options):
        super().__init__(folder)
        self.binary = options.binary

    def start(self, small=False):
        """small: with the memory of the start cell."""
        self.port = self.port or free_port()
        self.spawn([self.binary, 'start', '--listen', f'127.0.0.1:{self.port}', '--data-dir', self.data,
                    *(['--memory', '512M'] if small else []), *self.arguments, *self.overriding()])


class Kafka(Broker):
    name = 'kafka'

    def __init__(self, folder, options):
        super().__init__(folder)
        self.jars, self.heap = clients.java_jars(getattr(options, 'kafka', KAFKA_VERSION)), options.heap
        self.controller = None
        self.modes = {'no fsync': '', **({'fsync': 'flush.messages=1'} if options.fsync else {})}

    def java(self, heap, main, *arguments):
        return [clients.tool('java'), *heap, *JVM, '-cp', self.jars, main, *arguments]

    def format(self):
        """Not a part of its start: an operator does it once."""
        self.port, self.controller = self.port or free_port(), free_port()
        self.properties = os.path.join(self.folder, 'server.properties')
        with open(self.properties, 'w') as file:
            file.write(KAFKA_PROPERTIES.format(port=self.port, controller=self.controller, data=self.data))
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b'=').decode()
        subprocess.run(self.java(['-Xmx256m'], 'kafka.tools.StorageTool', 'format', '-t', 'M' + cluster[1:],
                                 '-c', self.properties), check=True, stdout=subprocess.DEVNULL)

    def start(self, small=False):
        if not os.path.exists(os.path.join(self.data, 'meta.properties')):
            self.format()
        self.spawn(self.java([f'-Xms{self.heap}', f'-Xmx{self.heap}'], 'kafka.Kafka', self.properties, *self.overriding()))
