# SPDX-License-Identifier: Apache-2.0
"""Kafka's own command-line tools out of the jars of each release, and its log dumper on our segment files."""

import collections
import contextlib
import json
import os
import re
import subprocess
import time

import wire
from clients import BUILD, JVM, java_jars, tool
from matrix import Skip, check, end_of, make_topic
from broker import until

MAIN = {
    'topics': {'2.8.2': 'kafka.admin.TopicCommand', '': 'org.apache.kafka.tools.TopicCommand'},
    'configs': {'': 'kafka.admin.ConfigCommand'},
    'get-offsets': {'2.8.2': 'kafka.tools.GetOffsetShell', '': 'org.apache.kafka.tools.GetOffsetShell'},
    'delete-records': {'2.8.2': 'kafka.admin.DeleteRecordsCommand', '': 'org.apache.kafka.tools.DeleteRecordsCommand'},
    'log-dirs': {'2.8.2': 'kafka.admin.LogDirsCommand', '': 'org.apache.kafka.tools.LogDirsCommand'},
    'console-producer': {'4.3.1': 'org.apache.kafka.tools.ConsoleProducer', '': 'kafka.tools.ConsoleProducer'},
    'console-consumer': {'2.8.2': 'kafka.tools.ConsoleConsumer',
                         '': 'org.apache.kafka.tools.consumer.ConsoleConsumer'},
    'consumer-groups': {'2.8.2': 'kafka.admin.ConsumerGroupCommand', '': 'org.apache.kafka.tools.consumer.group.ConsumerGroupCommand'},
    'transactions': {'': 'org.apache.kafka.tools.TransactionsCommand'},
    'verifiable-producer': {'': 'org.apache.kafka.tools.VerifiableProducer'},
    'verifiable-consumer': {'': 'org.apache.kafka.tools.VerifiableConsumer'},
    'leader-election': {'2.8.2': 'kafka.admin.LeaderElectionCommand', '': 'org.apache.kafka.tools.LeaderElectionCommand'},
    'perf-test': {'': 'org.apache.kafka.tools.ProducerPerformance'},
    'dump-log': {'4.3.1': 'org.apache.kafka.tools.DumpLogSegments', '': 'kafka.tools.DumpLogSegments'},
}


class Tools:
    def __init__(self, run, version):
        self.run, self.version, self.jars = run, version, java_jars(version)

    def command(self, name, *arguments):
        return [tool('java'), *JVM, '-cp', self.jars, MAIN[name].get(self.version, MAIN[name]['']), *arguments]

    def log(self):
        return open(os.path.join(BUILD, 'logs', f'tools-{self.version}.log'), 'a')

    def ran(self, name, *arguments, data='', timeout_s=60):
        done = subprocess.run(self.command(name, *arguments), input=data, capture_output=True, text=True, timeout=timeout_s)
        with self.log() as log:
            log.write(f'$ {name} {" ".join(arguments)[:2000]}\n{done.stdout[-20000:]}{done.stderr}\n')
        return done

    def call(self, name, *arguments, **settings):
        """(standard output, standard error) of one tool; a failure raises with its last words."""
        done = self.ran(name, *arguments, **settings)
        if done.returncode:
            words = (done.stdout + done.stderr).strip().splitlines()[-3:]
            raise AssertionError(f'{name} exits {done.returncode}: {" / ".join(words)}')
        return done.stdout, done.stderr

    def server(self, name):
        option = '--broker-list' if (name, self.version) == ('get-offsets', '2.8.2') else '--bootstrap-server'
        return option, '%s:%d' % self.run.address

    def on_broker(self, name, *arguments, **settings):
        return self.call(name, *self.server(name), *arguments, **settings)[0]

    def refused(self, name, *arguments):
        """All that a tool says when it cannot do what is asked; some end well all the same."""
        done = self.ran(name, *self.server(name), *arguments)
        return done.stdout + done.stderr

    def topics(self):
        topic = self.run.topic('tools')
        self.on_broker('topics', '--create', '--topic', topic, '--partitions', '3', '--replication-factor', '1',
                       '--config', 'max.message.bytes=200000')
        self.on_broker('topics', '--alter', '--topic', topic, '--partitions', '5')
        text = self.on_broker('topics', '--describe', '--topic', topic)
        check(re.search(r'PartitionCount:\s*5', text) and 'max.message.bytes=200000' in text, text)
        check(len(re.findall(r'Leader:\s*\d+', text)) == 5, text)
        check(topic in self.on_broker('topics', '--list').split(), 'not listed')
        check(topic not in self.on_broker('topics', '--describe', '--under-replicated-partitions'), 'a replica is missing')
        for what, words in ((('--create', '--partitions', '3'), 'already exists'), (('--alter', '--partitions', '2'), 'InvalidPartitions')):
            text = self.refused('topics', *what, '--topic', topic)
            check(words in text, f'{what}: {text}')
        self.on_broker('topics', '--delete', '--topic', topic)
        with wire.Connection(self.run.address) as connection:
            until('the topic gone', lambda: topic not in wire.metadata(connection)[2])

    def configs(self):
        topic = make_topic(self.run, self.run.topic('config'))
        entity = ('--entity-type', 'topics', '--entity-name', topic)
        self.on_broker('configs', '--alter', *entity, '--add-config', 'retention.ms=86400000,max.message.bytes=150000')
        self.on_broker('configs', '--alter', *entity, '--delete-config', 'max.message.bytes')
        text = self.on_broker('configs', '--describe', *entity)
        check('retention.ms=86400000' in text and 'max.message.bytes' not in text, text)
        text = self.on_broker('configs', '--describe', '--all', *entity)
        check('segment.bytes=' in text and 'max.message.bytes=' in text, text)
        with wire.Connection(self.run.address) as connection:
            node = wire.metadata(connection, [])[0]
        text = self.on_broker('configs', '--describe', '--all', '--entity-type', 'brokers', '--entity-name', str(node))
        check('log.dirs=' in text or 'log.dir=' in text, text)

    def broker_configs(self):
        """What a broker has of its own goes before what all have; a key that is read at the start is not changed."""
        with wire.Connection(self.run.address) as connection:
            one = ('--entity-type', 'brokers', '--entity-name', str(wire.metadata(connection, [])[0]))
        everyone, key = ('--entity-type', 'brokers', '--entity-default'), 'log.segment.delete.delay.ms'
        self.on_broker('configs', '--alter', *everyone, '--add-config', f'{key}=50000')
        self.on_broker('configs', '--alter', *one, '--add-config', f'{key}=40000')
        text = self.on_broker('configs', '--describe', *one)
        for words in (f'{key}=40000 ', f'DYNAMIC_BROKER_CONFIG:{key}=40000', f'DYNAMIC_DEFAULT_BROKER_CONFIG:{key}=50000'):
            check(words in text, f'{words}: {text}')
        self.on_broker('configs', '--alter', *one, '--delete-config', key)
        check(key not in self.on_broker('configs', '--describe', *one), 'it still has a value of its own')
        text = self.on_broker('configs', '--describe', '--all', *one)
        check(f'{key}=50000 ' in text, text)
        self.on_broker('configs', '--alter', *everyone, '--delete-config', key)
        text = self.on_broker('configs', '--describe', *everyone)
        check(key not in text, text)
        text = self.refused('configs', '--alter', *one, '--add-config', 'node.id=7')
        check('node.id' in text and 'Completed' not in text, text)

    def quotas(self):
        """kafka-configs sets, shows and removes the quotas of clients, users, both and addresses."""
        client, rates = self.run.topic('quota'), 'producer_byte_rate=1048576,request_percentage=12.5'
        named = ('--entity-type', 'clients', '--entity-name', client)
        both = ('--entity-type', 'users', '--entity-name', client, '--entity-type', 'clients', '--entity-default')
        address = ('--entity-type', 'ips', '--entity-name', '192.0.2.77')
        for entity, values in ((named, rates), (both, 'consumer_byte_rate=7000'), (address, 'connection_creation_rate=9')):
            self.on_broker('configs', '--alter', *entity, '--add-config', values)
        text = self.on_broker('configs', '--describe', *named)
        check('producer_byte_rate=1048576.0' in text and 'request_percentage=12.5' in text and client in text, text)
        text = self.on_broker('configs', '--describe', *both)
        check('consumer_byte_rate=7000.0' in text and 'default' in text, text)
        text = self.on_broker('configs', '--describe', *address)
        check('connection_creation_rate=9.0' in text, text)
        self.on_broker('configs', '--alter', *named, '--delete-config', 'producer_byte_rate')
        text = self.on_broker('configs', '--describe', *named)
        check('producer_byte_rate' not in text and 'request_percentage=12.5' in text, text)
        for entity, keys in ((named, 'request_percentage'), (both, 'consumer_byte_rate'), (address, 'connection_creation_rate')):
            self.on_broker('configs', '--alter', *entity, '--delete-config', keys)
        check('request_percentage' not in self.on_broker('configs', '--describe', *named), 'it is not gone')

    def broker_loggers(self):
        """kafka-configs shows the loggers of a broker, sets a level, and takes it back; a level that is none is refused."""
        with wire.Connection(self.run.address) as connection:
            one = ('--entity-type', 'broker-loggers', '--entity-name', str(wire.metadata(connection, [])[0]))

        def level(logger):
            return re.search(rf'^\s*{logger}=(\w+)', self.on_broker('configs', '--describe', *one), re.M)[1]
        root = level('root')
        self.on_broker('configs', '--alter', *one, '--add-config', 'quota=DEBUG')
        check((level('quota'), level('root')) == ('DEBUG', root), 'quota is not DEBUG alone')
        text = self.refused('configs', '--alter', *one, '--add-config', 'quota=LOUD')
        check('LOUD' in text and level('quota') == 'DEBUG', text)
        self.on_broker('configs', '--alter', *one, '--delete-config', 'quota')
        check(level('quota') == root, 'quota does not go by the root')

    def console(self):
        topic = make_topic(self.run, self.run.topic('console'), 2)
        lines = [f'key{i}\tvalue {i}' for i in range(1000)]
        self.on_broker('console-producer', '--topic', topic, '--property', 'parse.key=true',
                       '--compression-codec', 'lz4', data='\n'.join(lines) + '\n')
        got = []
        for partition in range(2):
            count = end_of(self.run, topic, partition)
            check(count > 0, f'nothing in partition {partition}')
            out = self.on_broker('console-consumer', '--topic', topic, '--partition', str(partition),
                                 '--offset', 'earliest' if partition else '0', '--max-messages', str(count),
                                 '--timeout-ms', '15000', '--property', 'print.key=true')
            # 4.3 says on standard output that --property will be renamed.
            got += [line for line in out.splitlines() if line.startswith('key')]
        check(sorted(got) == sorted(lines), f'{len(got)} lines read, {len(set(got) & set(lines))} of 1000 as written')
        text = self.on_broker('get-offsets', '--topic', topic)
        total = sum(int(line.split(':')[2]) for line in text.split() if line.startswith(topic + ':'))
        check(total == 1000, f'get-offsets says {total}: {text}')

    def group_state(self, group):
        """{partition: (committed offset, log end offset, lag)} as kafka-consumer-groups describes it."""
        text = self.on_broker('consumer-groups', '--describe', '--group', group)
        rows = [line.split() for line in text.splitlines() if line.startswith(group)]
        return {int(row[2]): tuple(None if part == '-' else int(part) for part in row[3:6]) for row in rows}

    def check_group(self, group, *wanted):
        found = self.group_state(group)
        check(found in wanted, f'{found}, not {wanted[0]}')

    def consumer_groups(self):
        """A console consumer reads in a group and goes on where it was; the group is listed, described, deleted."""
        topic, group = make_topic(self.run, self.run.topic('groups')), self.run.topic('console')
        self.on_broker('console-producer', '--topic', topic, data=''.join(f'value {i}\n' for i in range(10)))
        for count, wanted in ((6, range(6)), (4, range(6, 10))):
            out = self.on_broker('console-consumer', '--topic', topic, '--group', group, '--max-messages', str(count),
                                 '--timeout-ms', '30000', '--consumer-property', 'auto.offset.reset=earliest',
                                 '--consumer-property', 'max.poll.records=1')
            got = [line for line in out.splitlines() if line.startswith('value')]
            check(got == [f'value {i}' for i in wanted], f'{got}')
            self.check_group(group, {0: (wanted[-1] + 1, 10, 9 - wanted[-1])})
        check(group in self.on_broker('consumer-groups', '--list').split(), 'not listed')
        text = self.on_broker('consumer-groups', '--describe', '--group', group, '--state')
        check(re.search(r'Empty\s+0', text), text)
        text = self.on_broker('consumer-groups', '--delete', '--group', group)
        check('successful' in text, text)
        check(group not in self.on_broker('consumer-groups', '--list').split(), 'listed after its deletion')

    def described_members(self, group):
        """(host, number of partitions) of the members, as they are described."""
        text = self.on_broker('consumer-groups', '--describe', '--group', group, '--members')
        return [(row[2], row[4]) for row in map(str.split, text.splitlines()) if row[:1] == [group]]

    def members(self):
        """Two console consumers share a group, of the newer protocol in the newest release: it is described with its members,
        and is neither reset nor deleted under them."""
        topic, group = make_topic(self.run, self.run.topic('members'), 2), self.run.topic('members')
        newer = ('--consumer-property', 'group.protocol=consumer') if self.version == '4.3.1' else ()
        command = self.command('console-consumer', *self.server('console-consumer'), '--topic', topic, '--group', group, *newer)
        groups = ('consumer-groups', '--group', group)
        with contextlib.ExitStack() as stack:
            log, consumers = stack.enter_context(self.log()), []
            for _ in range(2):
                consumers.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
                stack.callback(consumers[-1].kill)
            until('two members with a partition each', lambda: self.described_members(group) == [('/127.0.0.1', '1')] * 2, 60)
            text = self.on_broker(*groups, '--describe', '--members', '--verbose')
            named = '' if self.version == '3.9.2' else topic  # that release leaves it out
            check(all(re.search(rf'\s{named}[(:]{partition}', text) for partition in range(2)), text)
            text = self.on_broker(*groups, '--describe', '--state')
            check(re.search(r'Stable\s+2', text), text)
            text = self.on_broker('consumer-groups', '--list', '--state', 'Stable')
            check(re.search(rf'^{group}\s.*Stable', text, re.M), text)
            for what, words in ((('--reset-offsets', '--topic', topic, '--to-earliest', '--execute'), 'inactive|Stable'),
                                (('--delete',), 'GroupNotEmpty|not empty')):
                text = self.refused(*groups, *what)
                check(re.search(words, text), f'{what}: {text}')
            for consumer in consumers:
                consumer.terminate()
                consumer.wait(30)
        text = self.on_broker(*groups, '--describe', '--state')
        check(re.search(r'Empty\s+0', text), text)

    def reset_offsets(self):
        """Every way of kafka-consumer-groups to move a group's offsets, and to say which; a plan is written and carried out."""
        topic, group = make_topic(self.run, self.run.topic('resets')), self.run.topic('reset')
        self.on_broker('console-producer', '--topic', topic, data=''.join(f'value {i}\n' for i in range(10)))
        whole, one, known = ('--topic', topic), ('--topic', f'{topic}:0'), ('--all-topics',)
        reset = ('consumer-groups', '--group', group, '--reset-offsets')
        for where, how, wanted in ((whole, ('--to-offset', '4'), 4), (one, ('--to-earliest',), 0), (known, ('--to-latest',), 10),
                                   (one, ('--shift-by', '-3'), 7), (known, ('--to-current',), 7), (whole, ('--by-duration', 'PT1H'), 0),
                                   (whole, ('--to-datetime', '2038-01-01T00:00:00.000'), 10)):
            self.on_broker(*reset, *where, *how, '--execute')
            self.check_group(group, {0: (wanted, 10, 10 - wanted)})
        text = self.on_broker(*reset, *whole, '--to-offset', '7', '--dry-run', '--export')
        row = next(line for line in text.splitlines() if topic in line)
        check(row.replace('"', '') in (f'{topic},0,7', f'{group},{topic},0,7'), text)
        self.check_group(group, {0: (10, 10, 0)})
        plan = os.path.join(BUILD, f'reset-{self.version}.csv')
        with open(plan, 'w') as file:
            file.write(row + '\n')
        self.on_broker(*reset, '--from-file', plan, '--execute')
        self.check_group(group, {0: (7, 10, 3)})
        self.on_broker('consumer-groups', '--group', group, '--delete-offsets', '--topic', topic)
        self.check_group(group, {}, {0: (None, 10, None)})

    def compaction(self):
        """A compacted topic loses what newer records have made superfluous, and a consumer reads the newest of each key."""
        topic = make_topic(self.run, self.run.topic('compacted'), 1, {
            'cleanup.policy': 'compact', 'segment.bytes': '1048576', 'min.cleanable.dirty.ratio': '0.01'})
        lines = [f'key{i % 100}\tvalue {i} {"x" * 200}' for i in range(20_000)]
        self.on_broker('console-producer', '--topic', topic, '--property', 'parse.key=true', data='\n'.join(lines) + '\n')
        stored = lambda: sum(batch['count'] for batch in wire.stored_batches(self.run.address, topic, 0))  # noqa: E731
        # A sealed segment waits for a checkpoint (5 s), and that for the cleaner's next look (15 s, beside other work).
        until('less records', lambda: stored() < 10_000, 60)
        check(end_of(self.run, topic, 0) == 20_000, 'the end has moved')
        count = stored()
        out = self.on_broker('console-consumer', '--topic', topic, '--partition', '0', '--offset', '0', '--max-messages',
                             str(count), '--timeout-ms', '15000', '--property', 'print.key=true')
        got = dict(line.split('\t') for line in out.splitlines() if line.startswith('key'))
        check(got == dict(line.split('\t') for line in lines), f'{len(got)} keys, not the newest values of all')

    def perf_test(self):
        topic, count = make_topic(self.run, self.run.topic('perf'), 3), 50_000
        text, _ = self.call('perf-test', '--topic', topic, '--num-records', str(count), '--record-size', '200',
                            '--throughput', '-1', '--producer-props', 'bootstrap.servers=%s:%d' % self.run.address)
        check(f'{count} records sent' in text, text[-300:])
        total = sum(end_of(self.run, topic, partition) for partition in range(3))
        check(total == count, f'{total} records stored')
        found = wire.stored_batches(self.run.address, topic, 0)
        check(self.version == '2.8.2' or all(batch['producer_id'] >= 0 for batch in found), 'not idempotent')


    def events(self, name, *arguments):
        """[what it tells, a JSON object a line] of a tool that ends by itself."""
        return [json.loads(line) for line in self.on_broker(name, *arguments).splitlines() if line.startswith('{')]

    def verifiable(self):
        """The pair that Kafka's system tests are made with: what is acknowledged is read once, and committed."""
        topic, group, count = make_topic(self.run, self.run.topic('verifiable'), 3), self.run.topic('verifiable'), 1000
        said = self.events('verifiable-producer', '--topic', topic, '--acks', '-1', '--max-messages', str(count), '--repeating-keys', '10')
        sent = sorted((event['partition'], event['offset']) for event in said if event['name'] == 'producer_send_success')
        ends = collections.Counter(partition for partition, _ in sent)
        check(len(set(sent)) == count and len(ends) == 3 and said[-1].get('acked') == count, f'{len(sent)} sent, at last {said[-2:]}')
        said = self.events('verifiable-consumer', '--topic', topic, '--group-id', group, '--reset-policy', 'earliest',
                           '--max-messages', str(count), '--verbose')
        read = sorted((event['partition'], event['offset']) for event in said if event['name'] == 'record_data')
        check(read == sent, f'{len(read)} read of {count}')
        commits = [event for event in said if event['name'] == 'offsets_committed']
        check(commits and all(event['success'] for event in commits), f'{commits[-1:]}')
        self.check_group(group, {partition: (end, end, 0) for partition, end in ends.items()})

    def times(self):
        """Whose time a record has, as the console consumer prints it, and which offset a time has."""
        begin_ms = int(time.time() * 1000)
        for kind in ('CreateTime', 'LogAppendTime'):
            topic = make_topic(self.run, self.run.topic('times'), 1, {'message.timestamp.type': kind})
            for i in range(3):
                time.sleep(0.01)  # another millisecond for each batch
                with wire.Connection(self.run.address) as connection:
                    data = wire.batch([b'value'] * 2, base_timestamp=begin_ms - 9000 + i, max_timestamp=begin_ms - 9000 + i)
                    check(wire.produce(connection, topic, 0, data)[0] == 0, 'produce')
            out = self.on_broker('console-consumer', '--topic', topic, '--partition', '0', '--offset', '0',
                                 '--max-messages', '6', '--timeout-ms', '15000', '--property', 'print.timestamp=true')
            found = re.findall(rf'^{kind}:(\d+)\s+value$', out, re.M)
            wanted = [begin_ms - 9000 + i // 2 for i in range(6)]
            check(len(found) == 6 and (kind == 'LogAppendTime' and min(map(int, found)) >= begin_ms or
                                       [int(at) for at in found] == wanted), f'{out[:300]} for {kind}')
            asked = [(str(begin_ms - 8999), {'CreateTime': '2', 'LogAppendTime': '0'}[kind]), ('-1', '6'), ('-2', '0')]
            if self.version != '2.8.2':
                asked += [('max-timestamp', '4'), ('earliest', '0'), ('latest', '6')]
            for which, offset in asked:
                text = self.on_broker('get-offsets', '--topic', topic, '--time', which)
                check(f'{topic}:0:{offset}' in text.split(), f'get-offsets --time {which}: {text}, not {offset}')

    def delete_records(self):
        topic = make_topic(self.run, self.run.topic('trim'), 2)
        self.on_broker('console-producer', '--topic', topic, data='\n'.join(map(str, range(1000))) + '\n')
        ends = [end_of(self.run, topic, partition) for partition in range(2)]
        partition = 0 if ends[0] else 1
        for asked, start in ((ends[partition] // 2,) * 2, (-1, ends[partition])):
            text = self.delete(topic, partition, asked)
            check(f'low_watermark: {start}' in text, f'to {asked}: {text}')
            text = self.on_broker('get-offsets', '--topic', topic, '--time', '-2')
            check(f'{topic}:{partition}:{start}' in text.split(), text)
        text = self.delete(topic, partition, ends[partition] + 1)
        check('OffsetOutOfRange' in text, text)

    def delete(self, topic, partition, offset):
        path = os.path.join(BUILD, f'delete-{self.version}.json')
        with open(path, 'w') as file:
            json.dump({'version': 1, 'partitions': [{'topic': topic, 'partition': partition, 'offset': offset}]}, file)
        return self.on_broker('delete-records', '--offset-json-file', path)

    def log_dirs(self):
        topic = make_topic(self.run, self.run.topic('dirs'), 3)
        self.on_broker('console-producer', '--topic', topic, data='x' * 50_000 + '\n')
        text = self.on_broker('log-dirs', '--describe', '--topic-list', topic)
        told = json.loads(next(line for line in text.splitlines() if line.startswith('{')))
        (directory,) = told['brokers'][0]['logDirs']
        sizes = {each['partition']: each['size'] for each in directory['partitions']}
        check(sorted(sizes) == [f'{topic}-{partition}' for partition in range(3)], str(sizes))
        check(50_000 < sum(sizes.values()) < 51_000 and directory['error'] is None, text)


    def producers(self):
        """Who wrote to a partition of late, and how far: an idempotent producer's ten records, one by one."""
        if self.version == '2.8.2':
            raise Skip('that release has no tool for it')
        topic = make_topic(self.run, self.run.topic('producers'), 2)
        partition = ('--topic', topic, '--partition')
        self.on_broker('console-producer', '--topic', topic, '--producer-property', 'enable.idempotence=true',
                       '--property', 'parse.key=true', data=''.join(f'key\tvalue {i}\n' for i in range(10)))
        found = []
        for index in range(2):
            lines = self.on_broker('transactions', 'describe-producers', *partition, str(index)).splitlines()
            found += [line.split() for line in lines if line[:1].isdigit()]
        check(len(found) == 1 and found[0][1:4] == ['0', '-1', '9'] and found[0][5] == 'None', found)

    def elections(self):
        """The only replica leads: there is nothing to elect, of either kind, named or not."""
        topic = make_topic(self.run, self.run.topic('elections'), 2)
        for kind in ('preferred', 'unclean'):
            text = self.on_broker('leader-election', '--election-type', kind, '--topic', topic, '--partition', '1')
            check('already elected' in text, text)
            self.on_broker('leader-election', '--election-type', kind, '--all-topic-partitions')
        text = self.refused('leader-election', '--election-type', 'preferred', '--topic', topic, '--partition', '7')
        check(re.search('7|UnknownTopicOrPartition', text) and 'already' not in text, text)


CASES = [('topics', Tools.topics), ('configs', Tools.configs), ('broker-configs', Tools.broker_configs),
         ('broker-loggers', Tools.broker_loggers), ('quotas', Tools.quotas), ('console', Tools.console), ('consumer-groups', Tools.consumer_groups),
         ('members', Tools.members), ('reset-offsets', Tools.reset_offsets), ('perf-test', Tools.perf_test),
         ('verifiable', Tools.verifiable), ('delete-records', Tools.delete_records), ('compaction', Tools.compaction),
         ('log-dirs', Tools.log_dirs), ('producers', Tools.producers), ('elections', Tools.elections), ('times', Tools.times)]

# What the dumper says when it finds a segment wanting, in 3.9 and 4.3.
COMPLAINTS = re.compile(r'isvalid: false|Mismatches in|Non-consecutive offsets|Found (?:timestamp|out of order)|Exception|'
                        r'not valid|Index timestamp|corrupt|mismatch|not found in', re.I)
# 4.3 says so of the first record of every segment that does not begin at offset 0.
FIRST_RECORD = re.compile(r'Non-consecutive offsets in \S+\s+-1 is followed by \d+')


def segments(data_dir):
    """{(topic, partition): [segment files in order]}"""
    found = {}
    for folder, _, names in os.walk(data_dir):
        place = re.fullmatch(r'(.+)-(\d+)', os.path.basename(folder))
        logs = sorted(name for name in names if re.fullmatch(r'\d{20}\.log', name))
        if place and logs:
            found[(place[1], int(place[2]))] = [os.path.join(folder, name) for name in logs]
    return found


def dump_log(version, data_dir, ends):
    """Kafka's dumper reads every segment without complaint and finds every record: `ends` is {(topic, partition):
    (start, end)} as the broker said before it was stopped, or None when nobody asked."""
    found = segments(data_dir)
    check(found, f'no segment files under {data_dir}')
    for place, (start, end) in (ends or {}).items():
        check(start == end or place in found, f'no segment file for {place}')
    files = [name for place, names in found.items() for name in names if 'compacted' not in place[0]]
    holes = [name for place, names in found.items() for name in names if 'compacted' in place[0]]
    indexes = [name[:-len('.log')] + suffix for name in files + holes for suffix in ('.index', '.timeindex')]
    indexes = [name for name in indexes if os.path.exists(name) and os.path.getsize(name)]
    kit, out = Tools(None, version), ''
    said = list(kit.call('dump-log', '--verify-index-only', '--files', ','.join(indexes), timeout_s=300)) if indexes else []
    for some in filter(None, (files, holes)):
        texts = kit.call('dump-log', '--deep-iteration', '--files', ','.join(some), timeout_s=300)
        # It calls the holes that compaction leaves offsets that do not follow each other; all else must be as ever.
        said += [text if some is files else text.replace('Non-consecutive offsets', 'Holes') for text in texts]
        out += texts[0]
    for text in said:
        text = FIRST_RECORD.sub('', text)
        complaint = COMPLAINTS.search(text)
        check(not complaint, complaint and text[complaint.start():][:400])
    records, place = {}, None
    places = {name: where for where, names in found.items() for name in names}
    for line in out.splitlines():
        if line.startswith('Dumping '):
            place = places[line[len('Dumping '):].strip()]
        elif line.lstrip('| ').startswith('offset:'):
            records.setdefault(place, []).append(int(line.split('offset:')[1].split()[0]))
    for place, (start, end) in (ends or {}).items():
        got = [offset for offset in records.get(place, []) if offset >= start]
        if 'compacted' in place[0]:
            continue
        check(got == list(range(start, end)), f'{place}: offsets {start} to {end} promised, {len(got)} records dumped')
    total = sum(map(len, records.values()))
    check(total > 0, 'no record dumped')
    return f'{len(files) + len(holes)} files, {total} records, {len(indexes)} indexes'
