# SPDX-License-Identifier: Apache-2.0
"""The clients of the matrix: which releases, how each is installed under build/interop/, and the pipe to it.

Releases are pinned: a run must mean the same thing next month. "Oldest" and "newest" are what PyPI has as a wheel for
Python 3.11, and what Go 1.19 (Debian 12) and a current Go can build. Raise the newest by hand.
"""

import collections
import hashlib
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time

from kcat import Kcat
from records import line_of, record_of

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(TOP, 'build', 'interop')
JAVA_VERSIONS = ('2.8.2', '3.9.2', '4.3.1')
ECJ_VERSION = '3.33.0'
# A short-lived JVM is mostly start-up: one compiler, one collector thread, no more heap than the 40 MB record needs.
JVM = ['-Xmx1g', '-Xshare:auto', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC',
       '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn', '-Dlog4j2.level=WARN']


class Missing(Exception):
    """A toolchain is not there: the client's cases are skipped and counted, with this reason."""


class Refused(Exception):
    """The client reported an error. `kind` is the client's own name of it, `/retriable` and `/fatal` appended."""

    def __init__(self, kind, text, elapsed_ms):
        super().__init__(f'{kind}: {text}')
        self.kind, self.elapsed_ms = kind, elapsed_ms


# --- installation ------------------------------------------------------------------------------------------------

def tool(*names):
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    raise Missing(f'{names[0]} is not installed')


def run_logged(command, log_name, cwd=None, env=None):
    os.makedirs(os.path.join(BUILD, 'logs'), exist_ok=True)
    path = os.path.join(BUILD, 'logs', log_name)
    with open(path, 'a') as log:
        log.write('$ ' + ' '.join(command) + '\n')
        log.flush()
        done = subprocess.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    if done.returncode:
        raise RuntimeError(f'{os.path.basename(command[0])} failed, see {os.path.relpath(path, TOP)}')


_maven_lock = threading.Lock()  # two Mavens must not fill one local repository at once
_folder_locks = collections.defaultdict(threading.Lock)


def once(folder, recipe, inputs=()):
    """Runs recipe(folder) unless it has run with the same inputs; half an installation is thrown away."""
    folder = os.path.join(BUILD, folder)
    with _folder_locks[folder]:
        return _once(folder, recipe, inputs)


def _once(folder, recipe, inputs):
    digest = hashlib.sha256()
    for item in inputs:
        with open(item, 'rb') as file:
            digest.update(file.read())
    stamp, wanted = os.path.join(folder, '.installed'), digest.hexdigest()
    try:
        with open(stamp) as file:
            if file.read() == wanted:
                return folder
    except FileNotFoundError:
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    recipe(folder)
    with open(stamp, 'w') as file:
        file.write(wanted)
    return folder


def python_with(name, *packages):
    def recipe(folder):
        run_logged([sys.executable, '-m', 'venv', folder], 'install.log')
        run_logged([os.path.join(folder, 'bin', 'pip'), 'install', '--disable-pip-version-check',
                    '--only-binary', ':all:', *packages], 'install.log')
    return os.path.join(once('venv-' + name, recipe), 'bin', 'python')


def maven(*arguments):
    tool('java')
    with _maven_lock:
        run_logged([tool('mvn'), '-q', '-B', *arguments], 'install.log')


def java_jars(version):
    """The class path of one Kafka release, client and tools."""
    pom = os.path.join(HERE, 'java', 'pom.xml')
    folder = once('java-' + version, lambda path: maven(
        '-f', pom, f'-Drelease={version}', 'dependency:copy-dependencies', '-DincludeScope=runtime',
        '-DoutputDirectory=' + path), [pom])
    # Kafka 2.8 and 3.9 bring a log4j binding; slf4j-simple is the one that needs no configuration file.
    names = [name for name in sorted(os.listdir(folder))
             if name.endswith('.jar') and not name.startswith(('slf4j-log4j12', 'slf4j-reload4j'))]
    return ':'.join(os.path.join(folder, name) for name in names)


def java_client(version):
    """Compiled with the ECJ jar, because a JRE has no compiler."""
    source, jars = os.path.join(HERE, 'java', 'Client.java'), java_jars(version)
    ecj = once('ecj', lambda path: maven(
        'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy', '-DoutputDirectory=' + path,
        f'-Dartifact=org.eclipse.jdt:ecj:{ECJ_VERSION}'))
    classes = once('classes-' + version, lambda path: run_logged(
        [tool('java'), '-jar', os.path.join(ecj, f'ecj-{ECJ_VERSION}.jar'), '-11', '-nowarn', '-cp', jars,
         '-d', path, source], 'install.log'), [source])
    return [tool('java'), *JVM, '-cp', classes + ':' + jars, 'Client']


def go_client(version):
    module = os.path.join(HERE, 'go', version)
    with open(os.path.join(module, 'go.mod')) as file:
        wanted = tuple(int(part) for part in re.search(r'^go (\d+)\.(\d+)', file.read(), re.M).groups())
    go = tool('go', '/usr/lib/go-1.19/bin/go')
    env = {**os.environ, 'GOTOOLCHAIN': 'local', 'GOFLAGS': '-mod=readonly', 'CGO_ENABLED': '0'}
    text = subprocess.run([go, 'version'], capture_output=True, text=True, env=env).stdout
    have = tuple(int(part) for part in re.search(r'go(\d+)\.(\d+)', text).groups())
    if have < wanted:
        raise Missing('Go %d.%d is installed, %d.%d is needed' % (*have, *wanted))
    source = os.path.join(HERE, 'go', 'main.go')
    mod, sums = os.path.join(module, 'go.mod'), os.path.join(module, 'go.sum')

    def recipe(folder):
        for item in (source, mod, sums):
            shutil.copy(item, folder)
        run_logged([go, 'build', '-o', 'client', '.'], 'install.log', cwd=folder, env=env)
    return [os.path.join(once('go-' + version, recipe, [source, mod, sums]), 'client')]


# Without the crc32c wheel kafka-python computes 40 MB of CRC in Python, for a quarter of a minute.
CODEC_WHEELS = ('python-snappy==0.7.3', 'lz4==4.4.5', 'zstandard==0.25.0', 'crc32c==2.9.post0')
# name, family, command line; a family is one implementation of the protocol.
CLIENTS = (
    ('kcat', 'kcat', None),
    ('confluent-2.0.2', 'confluent', lambda: [
        python_with('confluent-2.0.2', 'confluent-kafka==2.0.2'), os.path.join(HERE, 'confluent.py')]),
    ('confluent-2.16.1', 'confluent', lambda: [
        python_with('confluent-2.16.1', 'confluent-kafka==2.16.1'), os.path.join(HERE, 'confluent.py')]),
    ('kafka-python-2.0.2', 'kafka-python', lambda: [
        python_with('kafka-python-2.0.2', 'kafka-python==2.0.2', *CODEC_WHEELS), os.path.join(HERE, 'kafka_python.py')]),
    ('kafka-python-3.0.12', 'kafka-python', lambda: [
        python_with('kafka-python-3.0.12', 'kafka-python==3.0.12', *CODEC_WHEELS),
        os.path.join(HERE, 'kafka_python.py')]),
    ('java-2.8.2', 'java', lambda: java_client('2.8.2')),
    ('java-3.9.2', 'java', lambda: java_client('3.9.2')),
    ('java-4.3.1', 'java', lambda: java_client('4.3.1')),
    ('franz-go-1.16.1', 'go', lambda: go_client('1.16.1')),
    ('franz-go-1.22.3', 'go', lambda: go_client('1.22.3')),
)


# --- the pipe ----------------------------------------------------------------------------------------------------

class Process:
    """A client process: one request at a time, an answer within its time or the process is replaced."""

    def __init__(self, name, family, command, address, log):
        self.name, self.family, self.log = name, family, log
        self.command = [*command, '%s:%d' % address]
        self.process = None
        facts = dict(row.split('\t') for row in self._ask('hello'))
        self.version = facts['version']
        self.codecs = facts['codecs'].split(',')
        self.features = set(facts['features'].split(','))

    def _start(self):
        self.lines = queue.Queue()
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
                                        text=True, encoding='utf-8', bufsize=1 << 20)

        def pump(stream, lines):
            for line in stream:
                lines.put(line.rstrip('\n'))
            lines.put(None)
        threading.Thread(target=pump, args=(self.process.stdout, self.lines), daemon=True).start()

    def _line(self, end):
        try:
            line = self.lines.get(timeout=max(0.01, end - time.monotonic()))
        except queue.Empty:
            self.close()
            raise RuntimeError('the client did not answer in time') from None
        if line is None:
            self.close()
            raise RuntimeError('the client process ended')
        return line

    def _ask(self, *request, lines=(), timeout_s=60):
        if self.process is None:
            self._start()
        end = time.monotonic() + timeout_s
        try:
            self.process.stdin.write('\t'.join(request) + '\n' + ''.join(line + '\n' for line in lines))
            self.process.stdin.flush()
        except BrokenPipeError:
            self.close()
            raise RuntimeError('the client process ended') from None
        status, *rest = self._line(end).split('\t', 3)
        if status == 'error':
            raise Refused(rest[1], rest[2] if len(rest) > 2 else '', int(rest[0]))
        return [self._line(end) for _ in range(int(rest[0]))]

    def seen_by(self, record):
        return record

    def create(self, topic, partitions, configs=None):
        self._ask('create', topic, str(partitions), ','.join(f'{k}={v}' for k, v in (configs or {}).items()))

    def produce(self, topic, records, codec='none', acks='all', idempotent=False):
        rows = self._ask('produce', topic, codec, str(acks), str(int(idempotent)), str(len(records)),
                         lines=map(line_of, records))
        return [tuple(map(int, row.split('\t'))) for row in rows]

    def consume(self, topic, partition, offset, count, isolation='read_uncommitted'):
        return [record_of(row) for row in
                self._ask('consume', topic, str(partition), str(offset), str(count), isolation)]

    def offset(self, topic, partition, which):
        return int(self._ask('offset', topic, str(partition), str(which))[0])

    def cluster(self):
        first, *brokers = [row.split('\t') for row in self._ask('cluster')]
        return first[0], int(first[1]), [(int(node), host, int(port)) for node, host, port in brokers]

    def partitions(self, topic):
        return int(self._ask('partitions', topic)[0])

    def configs(self, topic):
        return dict(row.split('\t') for row in self._ask('configs', topic))

    def alter(self, topic, name, value):
        self._ask('alter', topic, name, value)

    def transaction(self, name):
        self._ask('transaction', name, timeout_s=20)

    def join(self, group, topic, reset, session_ms):
        self._ask('join', group, topic, reset, str(session_ms))

    def poll(self, ms):
        """The partitions that are this member's now, and [(partition, offset)] of what it read."""
        owned, *rows = self._ask('poll', str(ms))
        return [int(part) for part in owned.split(',') if part], [tuple(map(int, row.split('\t'))) for row in rows]

    def commit(self, topic, partition, offset):
        self._ask('commit', topic, str(partition), str(offset))

    def leave(self):
        self._ask('leave')

    def close(self):
        if self.process is None:
            return
        process, self.process = self.process, None
        try:
            process.stdin.close()
            process.wait(5)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()


def open_client(name, family, command, address):
    os.makedirs(os.path.join(BUILD, 'logs'), exist_ok=True)
    log = open(os.path.join(BUILD, 'logs', name + '.log'), 'w')
    if command is None:
        tool('kcat')
        return Kcat(address, log)
    return Process(name, family, command(), address, log)
