# SPDX-License-Identifier: Apache-2.0
"""kcat as a client of the matrix: one process per call, so no pipe; the same methods as clients.Process. Only a member of a
group is a process that stays.

What kcat cannot say, it is not asked for: timestamps, and an empty key beside a null one. What it cannot show is
taken out of what it is compared with, by seen_by()."""

import itertools
import json
import re
import subprocess
import threading
import time

from records import Record

KEY_END, RECORD_END = '<:key:>', '<:record:>'


class Failed(Exception):
    pass


class GroupMember:
    """kcat -G: it prints what it reads, and tells on its standard error what it owns."""

    def __init__(self, command, log):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.log, self.lock, self.owned, self.read, self.complaints = log, threading.Lock(), [], [], []
        self.readers = [threading.Thread(target=self._follow, args=pair, daemon=True)
                        for pair in ((self.process.stdout, self._note_record), (self.process.stderr, self._note_words))]
        for reader in self.readers:
            reader.start()

    def _follow(self, stream, note):
        for line in stream:
            with self.lock:
                note(line)

    def _note_record(self, line):
        self.read.append(tuple(map(int, line.split())))

    def _note_words(self, line):
        self.log.write(line)
        change = re.search(r' rebalanced .*: (assigned|revoked): (.*)', line)
        if change:
            self.owned = [int(place) for place in re.findall(r' \[(\d+)\]', change[2])] if change[1] == 'assigned' else []
        elif 'ERROR' in line:
            self.complaints.append(line.strip())

    def taken(self):
        """What it owns and what it has read since the last time."""
        with self.lock:
            if self.complaints:
                raise Failed(' / '.join(self.complaints))
            read, self.read = self.read, []
            return self.owned, read

    def end(self, signal):
        signal(self.process)
        self.process.wait(30)
        for reader in self.readers:
            reader.join()


class Kcat:
    family = name = 'kcat'
    command = member = None

    def __init__(self, address, log):
        self.address, self.log = '%s:%d' % address, log
        text = subprocess.run(['kcat', '-V'], capture_output=True, text=True).stdout
        self.version = ' librdkafka '.join(re.findall(r'(?:Version|librdkafka) ([0-9.]+)', text))
        self.codecs = ('none', 'gzip', 'snappy', 'lz4', 'zstd')
        self.features = {'null-header', 'isolation', 'idempotent', 'transactions', 'offsets', 'groups', 'reset-none'}

    def _run(self, *arguments, data=b'', timeout_s=30):
        command = ['kcat', '-b', self.address, *arguments]
        try:
            done = subprocess.run(command, input=data, capture_output=True, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise Failed('no end within %d s: %s' % (timeout_s, ' '.join(command))) from None
        self.log.write(' '.join(command) + '\n' + done.stderr.decode(errors='replace'))
        self.log.flush()
        if done.returncode:
            raise Failed(done.stderr.decode(errors='replace').strip().replace('\n', ' / '))
        return done.stdout

    def seen_by(self, record):
        """The record as kcat prints it: a null header value looks like the text NULL."""
        return record._replace(headers=tuple((name, b'NULL' if value is None else value)
                                             for name, value in record.headers))

    def writable(self, record):
        return record

    def produce(self, topic, records, codec='none', acks='all', idempotent=False):
        def kind(record):
            empty_is_null = record.key is None or record.value is None
            return record.partition, record.headers, record.key is None, empty_is_null
        settings = ['-X', f'acks={acks}', '-X', 'linger.ms=50', '-X', 'message.max.bytes=80000000',
                    '-X', f'enable.idempotence={"true" if idempotent else "false"}']
        for (partition, headers, no_key, empty_is_null), group in itertools.groupby(records, kind):
            options = [arg for name, value in headers
                       for arg in ('-H', name if value is None else f'{name}={value.decode()}')]
            options += ([] if no_key else ['-K', KEY_END]) + (['-Z'] if empty_is_null else [])
            data = RECORD_END.encode().join(
                (b'' if no_key else (record.key or b'') + KEY_END.encode()) + (record.value or b'')
                for record in group)
            self._run('-P', '-t', topic, '-p', str(partition), '-z', codec, '-D', RECORD_END, *options, *settings,
                      data=data)
        return []

    def consume(self, topic, partition, offset, count, isolation='read_uncommitted'):
        out = self._run('-C', '-t', topic, '-p', str(partition), '-o', str(offset), '-c', str(count), '-q',
                        '-X', f'isolation.level={isolation}', '-X', 'receive.message.max.bytes=160000000',
                        '-f', '%o %T %K %S\n%k%s\n%h\n')
        found, at = [], 0
        while at < len(out):
            line_end = out.index(b'\n', at)
            place, timestamp_ms, key_size, value_size = map(int, out[at:line_end].split())
            at = line_end + 1
            key = None if key_size < 0 else out[at:at + key_size]
            at += max(key_size, 0)
            value = None if value_size < 0 else out[at:at + value_size]
            at += max(value_size, 0) + 1
            line_end = out.index(b'\n', at)
            headers = tuple((name, text.encode()) for name, _, text in
                            (pair.partition('=') for pair in out[at:line_end].decode().split(',') if pair))
            at = line_end + 1
            found.append(Record(partition, timestamp_ms, key, value, headers, place))
        return found

    def offset(self, topic, partition, which):
        which = {'earliest': '-2', 'latest': '-1'}.get(which, which)
        out = self._run('-Q', '-t', f'{topic}:{partition}:{which}').decode()
        return int(out.split()[-1])

    def _metadata(self, *arguments):
        return json.loads(self._run('-L', '-J', *arguments))

    def cluster(self):
        data = self._metadata()
        brokers = [(b['id'], *b['name'].rsplit(':', 1)) for b in data['brokers']]
        return None, data.get('controllerid', data['originating_broker']['id']), \
            [(node, host, int(port)) for node, host, port in brokers]

    def partitions(self, topic):
        return len(self._metadata('-t', topic)['topics'][0]['partitions'])

    def group_read(self, group, topic, count):
        """The values of the next `count` records of the group, which are committed then."""
        return self._run('-G', group, '-c', str(count), '-f', '%s\n', '-X', 'auto.offset.reset=earliest', topic,
                         timeout_s=60).decode().splitlines()

    def join(self, group, topic, reset, session_ms, _protocol='classic'):
        settings = {'auto.offset.reset': {'none': 'error'}.get(reset, reset), 'session.timeout.ms': session_ms,
                    'heartbeat.interval.ms': 500, 'auto.commit.interval.ms': 3_600_000}
        options = [word for name, value in settings.items() for word in ('-X', f'{name}={value}')]
        self.member = GroupMember(['kcat', '-b', self.address, '-G', group, '-u', '-f', '%p %o\n', *options, topic], self.log)

    def poll(self, ms):
        time.sleep(ms / 1000)
        return self.member.taken()

    def commit(self, topic, partition, offset):
        """It commits what it has printed, and only when it ends."""
        self.leave()

    def leave(self):
        if self.member:
            self.member.end(subprocess.Popen.terminate)
        self.member = None
        return []

    def kill(self):
        self.member.end(subprocess.Popen.kill)
        self.member = None

    def transaction(self, name):
        self._run('-P', '-t', name, '-X', f'transactional.id={name}', data=b'x\n', timeout_s=10)

    def close(self):
        self.leave()
