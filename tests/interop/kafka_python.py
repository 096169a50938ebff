# SPDX-License-Identifier: Apache-2.0
"""kafka-python 2.0.2 and 3.x, as a client process of the matrix. Argument: HOST:PORT."""

import sys

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.structs import OffsetAndMetadata

import repl
from records import Record

OLD = int(kafka.__version__.split('.')[0]) < 3
BIG = 80_000_000


class Client:
    def __init__(self, address):
        self.base = {'bootstrap_servers': address, 'client_id': 'interop-kafka-python'}
        self.admin_client = None

    def admin(self):
        if self.admin_client is None:
            self.admin_client = KafkaAdminClient(**self.base)
        return self.admin_client

    @staticmethod
    def kind_of(error):
        return type(error).__name__ + ('/retriable' if getattr(error, 'retriable', False) else '')

    def hello(self):
        features = 'create,delete,configs,binary,timestamps,offsets,groups,reset-none'
        # No release lets a null header value through, nor a record without key and value. 2.0.2 has no idempotent
        # producer and no isolation level, and replaces all configs at once.
        features += '' if OLD else ',alter,idempotent,transactions,isolation'
        return [('version', kafka.__version__), ('codecs', 'none,gzip,snappy,lz4,zstd'), ('features', features)]

    def create(self, topic, partitions, configs):
        config = dict(pair.split('=') for pair in configs.split(',') if pair)
        self.admin().create_topics([NewTopic(topic, int(partitions), 1, topic_configs=config)])
        return []

    def delete(self, topic):
        self.admin().delete_topics([topic])
        return []

    def produce(self, topic, codec, acks, idempotent, records):
        settings = {'compression_type': None if codec == 'none' else codec, 'acks': 'all' if acks == 'all' else int(acks),
                    'linger_ms': 50, 'max_request_size': BIG, 'batch_size': 1 << 18}
        # Without retries 2.0.2 gives up when a topic that was just made has no leader yet.
        settings.update({'buffer_memory': 2 * BIG, 'retries': 20} if OLD else {'enable_idempotence': idempotent == '1'})
        producer = KafkaProducer(**self.base, **settings)
        try:
            sent = [producer.send(topic, value=r.value, key=r.key, headers=list(r.headers), partition=r.partition,
                                  timestamp_ms=r.timestamp_ms) for r in records]
            producer.flush(30)
            return [(done.partition, done.offset) for done in (future.get(30) for future in sent)]
        finally:
            producer.close(10)

    def consumer(self, **settings):
        return KafkaConsumer(**self.base, group_id=None, **settings)

    def consume(self, topic, partition, offset, count, isolation):
        settings = {} if OLD else {'isolation_level': isolation}
        consumer = self.consumer(enable_auto_commit=False, auto_offset_reset='none', consumer_timeout_ms=20_000,
                                 fetch_max_wait_ms=100, **settings)
        try:
            where = TopicPartition(topic, int(partition))
            consumer.assign([where])
            consumer.seek(where, int(offset))
            found = []
            for message in consumer:
                found.append(Record(message.partition, message.timestamp, message.key, message.value,
                                    tuple(message.headers), message.offset))
                if len(found) == int(count):
                    return found
            raise TimeoutError(f'{len(found)} of {count} records')
        finally:
            consumer.close()

    def offset(self, topic, partition, which):
        where = TopicPartition(topic, int(partition))
        consumer = self.consumer()
        try:
            if which == 'earliest':
                return [(consumer.beginning_offsets([where])[where],)]
            if which == 'latest':
                return [(consumer.end_offsets([where])[where],)]
            found = consumer.offsets_for_times({where: int(which)})[where]
            return [(-1 if found is None else found.offset,)]
        finally:
            consumer.close()

    def cluster(self):
        found = self.admin().describe_cluster()
        return ([(found['cluster_id'], found['controller_id'])] +
                [(b['node_id' if 'node_id' in b else 'broker_id'], b['host'], b['port']) for b in found['brokers']])

    def partitions(self, topic):
        consumer = self.consumer()
        try:
            found = consumer.partitions_for_topic(topic)
            if found is None:
                raise KeyError(topic)
            return [(len(found),)]
        finally:
            consumer.close()

    def configs(self, topic):
        wanted = [ConfigResource(ConfigResourceType.TOPIC, topic)]
        if not OLD:
            from kafka.admin import ConfigFilterType
            found = self.admin().describe_configs(wanted, config_filter=ConfigFilterType.ALL)['topic'][topic]
            if not found:
                raise LookupError('the client keeps the error to itself and tells no configs of an unknown topic')
            return [(name, entry['value']) for name, entry in found.items()]
        error, text, _, _, entries = self.admin().describe_configs(wanted)[0].resources[0]
        if error:
            raise kafka.errors.for_code(error)(text)
        return [(entry[0], entry[1]) for entry in entries]

    def alter(self, topic, name, value):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})
        answer = self.admin().alter_configs([resource])['topic'][topic]
        if answer != 'OK':
            raise ValueError(answer)
        return []

    def join(self, group, topic, reset, session_ms):
        self.member = KafkaConsumer(topic, **self.base, group_id=group, enable_auto_commit=False, auto_offset_reset=reset,
                                    session_timeout_ms=int(session_ms), heartbeat_interval_ms=500)
        return []

    def poll(self, ms):
        found = self.member.poll(timeout_ms=int(ms))
        read = [(record.partition, record.offset) for records in found.values() for record in records]
        return [(','.join(str(place.partition) for place in self.member.assignment()),)] + read

    def commit(self, topic, partition, offset):
        place = TopicPartition(topic, int(partition))
        self.member.commit({place: OffsetAndMetadata(int(offset), '', *([] if OLD else [-1]))})
        return []

    def leave(self):
        self.member.close()
        return []

    def transaction(self, name):
        producer = KafkaProducer(**self.base, transactional_id=name, max_block_ms=10_000)
        try:
            producer.init_transactions()
            return []
        finally:
            producer.close(1)


repl.serve(Client(sys.argv[1]))
