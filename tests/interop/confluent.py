# SPDX-License-Identifier: Apache-2.0
"""librdkafka through Python (confluent-kafka), as a client process of the matrix. Argument: HOST:PORT."""

import sys
import time

import confluent_kafka
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

import repl
from records import Record

BIG = 80_000_000


class Client:
    def __init__(self, address):
        self.base = {'bootstrap.servers': address, 'client.id': 'interop-confluent'}
        self.admin = AdminClient(self.base)

    @staticmethod
    def kind_of(error):
        inner = error.args[0] if isinstance(error, KafkaException) and error.args else error
        name = getattr(inner, 'name', None)
        if name is None:
            return type(error).__name__
        return name() + ('/retriable' if inner.retriable() else '') + ('/fatal' if inner.fatal() else '')

    def hello(self):
        own = confluent_kafka.version()  # 2.0.2 has its number behind it
        own = own if isinstance(own, str) else own[0]
        return [('version', f'{own}/librdkafka {confluent_kafka.libversion()[0]}'),
                ('codecs', 'none,gzip,snappy,lz4,zstd'),
                ('features', 'create,delete,configs,alter,idempotent,transactions,isolation,null-header,null-record,binary,'
                             'timestamps,offsets,groups,reset-none' + (',kip-848' if confluent_kafka.libversion()[1] >= 0x020c0000 else ''))]

    def create(self, topic, partitions, configs):
        config = dict(pair.split('=') for pair in configs.split(',') if pair)
        new = NewTopic(topic, num_partitions=int(partitions), replication_factor=1, config=config)
        self.admin.create_topics([new])[topic].result(15)
        return []

    def delete(self, topic):
        self.admin.delete_topics([topic])[topic].result(15)
        return []

    def produce(self, topic, codec, acks, idempotent, records):
        settings = {'compression.type': codec, 'acks': acks, 'linger.ms': 50, 'message.max.bytes': BIG}
        if idempotent == '1':
            settings['enable.idempotence'] = True
        producer = Producer({**self.base, **settings})
        answer, failed = [None] * len(records), []

        def delivered(index):
            def call(error, message):
                if error:
                    failed.append(error)
                answer[index] = (message.partition(), -1 if message.offset() is None else message.offset())
            return call
        for index, record in enumerate(records):
            producer.produce(topic, value=record.value, key=record.key, partition=record.partition,
                             timestamp=record.timestamp_ms, headers=list(record.headers) or None,
                             on_delivery=delivered(index))
        if producer.flush(30):
            raise TimeoutError('flush left records behind')
        if failed:
            raise KafkaException(failed[0])
        return answer

    def consume(self, topic, partition, offset, count, isolation):
        consumer = Consumer({**self.base, 'group.id': 'unused', 'enable.auto.commit': False,
                             'isolation.level': isolation, 'auto.offset.reset': 'error',
                             'receive.message.max.bytes': 2 * BIG, 'fetch.wait.max.ms': 100})
        try:
            consumer.assign([TopicPartition(topic, int(partition), int(offset))])
            found = []
            while len(found) < int(count):
                message = consumer.poll(20)
                if message is None:
                    raise TimeoutError(f'{len(found)} of {count} records')
                if message.error():
                    raise KafkaException(message.error())
                headers = tuple((name, value) for name, value in message.headers() or [])
                found.append(Record(message.partition(), message.timestamp()[1], message.key(), message.value(),
                                    headers, message.offset()))
            return found
        finally:
            consumer.close()

    def offset(self, topic, partition, which):
        consumer = Consumer({**self.base, 'group.id': 'unused'})
        try:
            where = TopicPartition(topic, int(partition))
            if which in ('earliest', 'latest'):
                low, high = consumer.get_watermark_offsets(where, timeout=15)
                return [(low if which == 'earliest' else high,)]
            where.offset = int(which)
            found = consumer.offsets_for_times([where], timeout=15)[0]
            if found.error:
                raise KafkaException(found.error)
            return [(found.offset,)]
        finally:
            consumer.close()

    def cluster(self):
        data = self.admin.list_topics(timeout=15)
        return [(data.cluster_id, data.controller_id)] + [(b.id, b.host, b.port) for b in data.brokers.values()]

    def partitions(self, topic):
        data = self.admin.list_topics(topic, timeout=15).topics[topic]
        if data.error:
            raise KafkaException(data.error)
        return [(len(data.partitions),)]

    def configs(self, topic):
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        found = self.admin.describe_configs([resource])[resource].result(15)
        return [(name, entry.value) for name, entry in found.items()]

    def alter(self, topic, name, value):
        if hasattr(self.admin, 'incremental_alter_configs'):
            from confluent_kafka.admin import AlterConfigOpType, ConfigEntry
            entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
            self.admin.incremental_alter_configs([resource])[resource].result(15)
        else:
            resource = ConfigResource(ConfigResource.Type.TOPIC, topic, set_config={name: value})
            self.admin.alter_configs([resource])[resource].result(15)
        return []

    def join(self, group, topic, reset, session_ms, protocol='classic'):
        own = ({'group.protocol': 'consumer'} if protocol == 'consumer' else
               {'session.timeout.ms': int(session_ms), 'heartbeat.interval.ms': 500})
        self.member = Consumer({**self.base, 'group.id': group, 'enable.auto.commit': False,
                                'auto.offset.reset': {'none': 'error'}.get(reset, reset), **own})
        self.member.subscribe([topic])
        return []

    def poll(self, ms):
        end, read = time.monotonic() + int(ms) / 1000, []
        while (left := end - time.monotonic()) > 0:
            message = self.member.poll(left)
            if message is not None and message.error():
                raise KafkaException(message.error())
            if message is not None:
                read.append((message.partition(), message.offset()))
        return [(','.join(str(place.partition) for place in self.member.assignment()),)] + read

    def commit(self, topic, partition, offset):
        self.member.commit(offsets=[TopicPartition(topic, int(partition), int(offset))], asynchronous=False)
        return []

    def leave(self):
        self.member.close()
        return []

    def transaction(self, name):
        Producer({**self.base, 'transactional.id': name}).init_transactions(10)
        return []


repl.serve(Client(sys.argv[1]))
