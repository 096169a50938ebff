# SPDX-License-Identifier: Apache-2.0
"""What every client must be able to do: one function per case, and the table at the end that names them.

A case gets the run (address, unique topic names, whether the broker is Apache Kafka) and a client. It returns when all
is well and raises otherwise. Consumers are given their partitions; consumer groups are not used.
"""

import re
import time

import wire
from broker import until
from clients import Cannot, Refused
from kcat import Failed
from records import Record, describe, incompressible, sample


class Skip(Exception):
    pass


def need(client, feature):
    if feature not in client.features:
        raise Skip(f'{client.name} cannot: {feature}')


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def make_topic(run, name, partitions=1, configs=None):
    """Created by hand, so that a client's own cases do not hang on its admin calls."""
    with wire.Connection(run.address) as connection:
        error, text = wire.create_topic(connection, name, partitions, configs)
        check(error == 0, f'CreateTopics {name}: {wire.name_of(error)} {text}')

        def is_led():
            error, found = wire.metadata(connection, [name])[2][name]
            return error == 0 and len(found) == partitions and all(
                wire.list_offset(connection, name, partition, -1)[0] == 0 for partition in found)
        until(f'a leader for {name}', is_led)
    return name


def end_of(run, topic, partition):
    with wire.Connection(run.address) as connection:
        return wire.list_offset(connection, topic, partition, -1)[2]


def sample_for(client):
    return [client.writable(record) for record in sample(
        int(time.time() * 1000), binary='binary' in client.features, null_header='null-header' in client.features,
        null_record='null-record' in client.features)]


def compare(written, read, reader, timed=True, first_offset=0):
    """Records of one partition: same number, order, offsets, bytes; `timed`: the writer chose the timestamps."""
    check(len(written) == len(read), f'{len(read)} records read, {len(written)} written')
    now_ms = time.time() * 1000
    for index, (wanted, got) in enumerate(zip(written, read)):
        wanted = reader.seen_by(wanted)._replace(offset=first_offset + index)
        if not timed:
            check(now_ms - 600_000 < got.timestamp_ms < now_ms + 1000, f'timestamp {got.timestamp_ms} at {index}')
            wanted = wanted._replace(timestamp_ms=got.timestamp_ms)
        check(wanted == got, f'wrote {describe(wanted)}, read {describe(got)}')


def round_trip(run, client, topic, records, isolation='read_uncommitted', **settings):
    """Writes the records to a fresh topic and reads them back, partition by partition."""
    answer = client.produce(topic, records, **settings)
    partitions = sorted({record.partition for record in records})
    for partition in partitions:
        mine = [record for record in records if record.partition == partition]
        until(f'{len(mine)} records in {topic}-{partition}', lambda: end_of(run, topic, partition) >= len(mine))
        if answer and settings.get('acks') != 0:
            offsets = [offset for place, offset in answer if place == partition]
            check(offsets == list(range(len(mine))), f'acknowledged offsets {offsets}')
        compare(mine, client.consume(topic, partition, 0, len(mine), isolation), client, 'timestamps' in client.features)


# --- cases -------------------------------------------------------------------------------------------------------

def create(run, client):
    need(client, 'create')
    topic = run.topic('create')
    client.create(topic, 3)
    until('three partitions', lambda: client.partitions(topic) == 3)
    try:
        client.create(topic, 3)
        raise AssertionError('created twice')
    except Refused as refused:
        check('exist' in str(refused).lower(), f'second creation: {refused}')


def delete(run, client):
    """And a topic of the same name is another one."""
    need(client, 'delete')
    topic = make_topic(run, run.topic('delete'))
    client.produce(topic, [Record(0, int(time.time() * 1000), b'k', b'v')])
    client.delete(topic)

    def is_gone():
        with wire.Connection(run.address) as connection:
            return topic not in wire.metadata(connection)[2]  # to ask for it by name would make it
    until('the topic is gone', is_gone)
    make_topic(run, topic)
    check(end_of(run, topic, 0) == 0, 'the new topic has records of the old one')


def refusals(run, client):
    """Requests that make no sense are refused at once, with words that name what is wrong."""
    need(client, 'create')
    missing = run.topic('missing')
    for what, act, words in (
            ('a name with blanks', lambda: client.create('no such name', 1), ('invalidtopic', 'topicexception', 'illegal')),
            ('no partitions', lambda: client.create(missing, 0), ('partition',)),
            ('a config that is none', lambda: client.create(missing, 1, {'no.such.key': '1'}), ('config',)),
            ('a value that is none', lambda: client.create(missing, 1, {'retention.ms': 'soon'}), ('config',)),
            ('a deletion of nothing', lambda: client.delete(missing), ('unknowntopic', 'doesnothost', 'doesnotexist')),
            ('configs of nothing', lambda: client.configs(missing), ('unknowntopic', 'doesnothost', 'doesnotexist'))):
        begin = time.monotonic()
        try:
            act()
        except Cannot:
            continue
        except (Refused, Failed) as refused:
            text = re.sub('[^a-z]', '', str(refused).lower())
            check(any(word in text for word in words), f'{what} is refused with: {refused}')
            check(time.monotonic() - begin < 5, f'{what} is refused only after {time.monotonic() - begin:.1f} s')
        else:
            raise AssertionError(f'{what} is accepted')


def codec_case(codec):
    def case(run, client):
        if codec not in client.codecs:
            raise Skip(f'{client.name} has no {codec}')
        topic, records = make_topic(run, run.topic(codec), 3), sample_for(client)
        round_trip(run, client, topic, records, codec=codec)
        for partition in range(3):
            for batch in wire.stored_batches(run.address, topic, partition):
                # librdkafka and kafka-python keep a batch plain when the codec would make it larger.
                plain_is_smaller = batch['codec'] == 'none' and batch['size'] < 110
                check(batch['codec'] == codec or plain_is_smaller,
                      f'asked for {codec}, stored {batch["codec"]}, {batch["size"]} bytes')
    return case


def acks_case(acks):
    def case(run, client):
        topic = make_topic(run, run.topic(f'acks{acks}'), 3)
        round_trip(run, client, topic, sample_for(client), acks=acks)
    return case


def idempotent(run, client):
    need(client, 'idempotent')
    topic = make_topic(run, run.topic('idempotent'), 3)
    round_trip(run, client, topic, sample_for(client), codec='lz4', idempotent=True)
    for partition in range(3):
        following = {}
        for batch in wire.stored_batches(run.address, topic, partition):
            producer = batch['producer_id']
            check(producer >= 0, 'a batch without producer id')
            check(batch['base_sequence'] == following.get(producer, 0), f'sequence {batch["base_sequence"]}')
            following[producer] = batch['base_sequence'] + batch['count']


def read_committed(run, client):
    need(client, 'isolation')
    topic = make_topic(run, run.topic('committed'), 3)
    round_trip(run, client, topic, sample_for(client), isolation='read_committed')


def one_megabyte(run, client):
    topic = make_topic(run, run.topic('1mb'), 3)
    now_ms = int(time.time() * 1000)
    round_trip(run, client, topic, [Record(i % 3, now_ms - i, b'key %d' % i, incompressible(1_000_000, i))
                                    for i in range(9)])


def forty_megabytes(run, client):
    if client.name not in run.newest_of_family:
        raise Skip('the newest of its family does it')
    topic = make_topic(run, run.topic('40mb'), 1, {'max.message.bytes': 64 << 20})
    now_ms = int(time.time() * 1000)
    round_trip(run, client, topic, [Record(0, now_ms, b'small', b'before'),
                                    Record(0, now_ms, b'big', incompressible(40_000_000)),
                                    Record(0, now_ms, b'small', b'after')])


def too_large(run, client):
    topic = make_topic(run, run.topic('toolarge'))
    try:
        client.produce(topic, [Record(0, int(time.time() * 1000), b'k', incompressible(2_000_000))])
    except (Refused, Failed) as refused:
        text = str(refused).lower().replace('_', '').replace(' ', '')
        check('toolarge' in text or 'messagesize' in text, f'refused with: {refused}')
    else:
        raise AssertionError('2 MB were accepted where max.message.bytes is 1 MiB')
    check(end_of(run, topic, 0) == 0, 'the refused record was stored')


def auto_create(run, client):
    topic, now_ms = run.topic('auto'), int(time.time() * 1000)
    records = [Record(0, now_ms + i, b'key %d' % i, b'value %d' % i) for i in range(10)]
    round_trip(run, client, topic, records)


def list_offsets(run, client):
    need(client, 'offsets')
    topic, start_ms = make_topic(run, run.topic('offsets')), int(time.time() * 1000) - 60_000
    with wire.Connection(run.address) as connection:
        for i in range(5):
            payload = b''.join(wire.record_bytes(j, None, b'x', timestamp_delta=j * 10) for j in range(2))
            data = wire.batch([b'x', b'x'], payload, base_timestamp=start_ms + i * 1000,
                              max_timestamp=start_ms + i * 1000 + 10)
            check(wire.produce(connection, topic, 0, data) == (0, 2 * i), 'produce')
    for which, wanted in (('earliest', 0), ('latest', 10), (start_ms - 1, 0), (start_ms + 10, 1), (start_ms + 11, 2),
                          (start_ms + 2000, 4), (start_ms + 2005, 5), (start_ms + 4010, 9), (start_ms + 4011, -1)):
        got = client.offset(topic, 0, which)
        if wanted == -1 and 'time-or-end' in client.features:
            wanted = 10
        check(got == wanted, f'offset for {which if isinstance(which, str) else which - start_ms} is {got}, not {wanted}')
    read = client.consume(topic, 0, client.offset(topic, 0, start_ms + 2000), 1)[0]
    check((read.offset, read.timestamp_ms) == (4, start_ms + 2000), f'from a time on: {describe(read)}')


def topic_codec(run, client):
    """The topic's codec, whatever the client writes in."""
    source = next(codec for codec in ('snappy', 'lz4', 'none') if codec in client.codecs or codec == 'none')
    reads_zstd = 'zstd' in client.codecs and client.name not in ('kafka-python-2.0.2', 'rskafka-0.6.0')  # by Fetch 4
    for codec in ('uncompressed', 'gzip', *(['zstd'] if reads_zstd else [])):
        topic = make_topic(run, run.topic('topic-' + codec), 3, {'compression.type': codec})
        round_trip(run, client, topic, sample_for(client), codec=source)
        for partition in range(3 if codec != 'zstd' else 0):  # old fetches, as ours are here, get no zstd
            stored = {batch['codec'] for batch in wire.stored_batches(run.address, topic, partition)}
            check(stored <= {codec.replace('uncompressed', 'none')}, f'{stored} stored where {codec} is wanted')


def append_time(run, client):
    """The broker's time for records of yesterday; a search by time goes by it."""
    topic, begin_ms = make_topic(run, run.topic('append'), 1, {'message.timestamp.type': 'LogAppendTime'}), int(time.time() * 1000)
    records = [record._replace(timestamp_ms=record.timestamp_ms - 86_400_000)
               for record in sample_for(client) if record.partition == 0]
    client.produce(topic, records, codec='gzip')
    until('the records', lambda: end_of(run, topic, 0) >= len(records))
    read = client.consume(topic, 0, 0, len(records), 'read_uncommitted')
    compare(records, read, client, timed='created-times' in client.features)  # it shows those of the records' own
    for batch in wire.stored_batches(run.address, topic, 0):
        check(batch['attributes'] & 8 and batch['max_timestamp'] >= begin_ms, f'a batch of {batch["max_timestamp"]}')
    if 'offsets' in client.features:
        for which, wanted in ((begin_ms - 3_600_000, 0), (begin_ms, 0), (begin_ms + 3_600_000, -1)):
            got = client.offset(topic, 0, which)
            if wanted == -1 and 'time-or-end' in client.features:
                wanted = len(records)
            check(got == wanted, f'offset at {which - begin_ms} is {got}, not {wanted}')


def cluster(run, client):
    name, controller, brokers = client.cluster()
    check(name is None or name, 'no cluster id')
    check(controller in [node for node, _, _ in brokers], f'controller {controller} not among {brokers}')
    check(run.address in [(host, port) for _, host, port in brokers], f'{run.address} not among {brokers}')


def configs(run, client):
    need(client, 'configs')
    topic = make_topic(run, run.topic('configs'), 1, {'max.message.bytes': 123_456})
    found = client.configs(topic)
    check(found.get('max.message.bytes') == '123456', f'max.message.bytes = {found.get("max.message.bytes")}')
    for name in ('cleanup.policy', 'compression.type', 'message.timestamp.type', 'min.insync.replicas', 'retention.ms',
                 'segment.bytes'):
        check(found.get(name), f'no {name}')
    if 'alter' in client.features:
        client.alter(topic, 'max.message.bytes', '234567')
        until('the changed value', lambda: client.configs(topic).get('max.message.bytes') == '234567')
        try:
            client.alter(topic, 'max.message.bytes', 'many')
            # rust-rdkafka keeps the errors of a topic's configs to itself.
            check(client.family == 'rust-rdkafka', 'a word was accepted for a number')
        except Refused as refused:
            check('config' in str(refused).lower(), f'a word for a number: {refused}')
        check(client.configs(topic).get('max.message.bytes') == '234567', 'what was refused has changed the value')


def transaction(run, client):
    """Differs from Kafka on purpose: transactions are not offered yet, and that must be said at once. Returns the words."""
    need(client, 'transactions')
    name, begin = run.topic('transaction'), time.monotonic()
    if run.is_kafka:
        client.transaction(name)
        return ''
    try:
        client.transaction(name)
    except (Refused, Failed) as refused:
        elapsed_ms = getattr(refused, 'elapsed_ms', (time.monotonic() - begin) * 1000)
        check('/retriable' not in getattr(refused, 'kind', ''), f'retriable: {refused}')
        # Sarama asks for the coordinator 51 times, whatever it is told.
        check(elapsed_ms < (8000 if client.family == 'sarama' else 1000), f'refused only after {elapsed_ms:.0f} ms: {refused}')
        return str(refused)
    raise AssertionError('a transaction was begun')


CASES = [
    ('create', create),
    ('delete', delete),
    ('refusals', refusals),
    *((f'codec-{codec}', codec_case(codec)) for codec in wire.CODECS),
    *((f'acks-{acks}', acks_case(acks)) for acks in (0, 1)),
    ('idempotent', idempotent),
    ('read-committed', read_committed),
    ('one-megabyte', one_megabyte),
    ('forty-megabytes', forty_megabytes),
    ('too-large', too_large),
    ('auto-create', auto_create),
    ('list-offsets', list_offsets),
    ('topic-codec', topic_codec),
    ('append-time', append_time),
    ('cluster', cluster),
    ('configs', configs),
    ('transaction', transaction),
]


# --- across clients ----------------------------------------------------------------------------------------------

class Cross:
    """One topic with a partition for each client; everybody writes its own and reads all. The same topic shows that a
    restart loses nothing and that clients which lived through it go on: topic ids, leader epochs and producer ids that
    a broker forgets or turns back are seen by clients only then."""

    def __init__(self, run, clients):
        self.run, self.clients, self.topic, self.written, self.failure = run, clients, None, {}, None

    def write(self):
        self.topic = make_topic(self.run, self.run.topic('cross'), len(self.clients))
        for partition, client in enumerate(self.clients):
            # Header values stay text: kcat prints them without their length.
            records = [record._replace(partition=partition) for record in sample_for(client)
                       if record.partition == 0 and not any(name == 'binary' for name, _ in record.headers)]
            codec = wire.CODECS[partition % 5]
            client.produce(self.topic, records, codec=codec if codec in client.codecs else 'none')
            self.written[partition] = records

    def _append(self, client):
        """Ten more records to the client's own partition."""
        partition, now_ms = self.clients.index(client), int(time.time() * 1000)
        start = len(self.written[partition])
        records = [Record(partition, now_ms, b'more %d' % i, b'value') for i in range(10)]
        answer = client.produce(self.topic, records, idempotent='idempotent' in client.features)
        check(not answer or [offset for _, offset in answer] == list(range(start, start + 10)),
              f'offsets {answer} where {start} was next')
        self.written[partition] += records

    def read_and_append(self, client):
        self.read(client)
        self._append(client)
        partition = self.clients.index(client)
        start = len(self.written[partition]) - 10
        until('what was appended', lambda: end_of(self.run, self.topic, partition) == start + 10)
        compare(self.written[partition][start:], client.consume(self.topic, partition, start, 10), client,
                'timestamps' in client.features, start)

    @staticmethod
    def is_beyond(reader, partition, writer):
        """What a client cannot read of another's, whatever the broker (seen on Apache Kafka as well)."""
        if reader.family == 'rskafka':
            return 'null-header' in writer.features  # no way to show a header without a value: it refuses the batch
        # Its LZ4 library knows no frames as aiokafka's writes them: the batch is skipped.
        return reader.name == 'franz-go-1.16.1' and writer.family == 'aiokafka' and wire.CODECS[partition % 5] == 'lz4'

    def read(self, reader):
        if self.failure is None:
            self.failure = ''
            try:
                self.write()
            except Exception as error:
                self.failure = f'writing: {error}'
        check(not self.failure, self.failure)
        for partition, writer in enumerate(self.clients):
            records = self.written[partition]
            if self.is_beyond(reader, partition, writer):
                continue
            try:
                compare(records, reader.consume(self.topic, partition, 0, len(records)), reader,
                        'timestamps' in writer.features)
            except Exception as error:
                raise AssertionError(f'written by {writer.name}: {error}') from error
