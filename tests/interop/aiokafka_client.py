# SPDX-License-Identifier: Apache-2.0
"""aiokafka as a client process of the matrix. Argument: HOST:PORT. Its loop runs in a thread of its own, because members
of groups send heartbeats between requests."""

import asyncio
import sys
import threading

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

import repl
from records import Record

BIG = 80_000_000


def raise_for(code, text=''):
    if code:
        raise for_code(code)(text or for_code(code).description)


class Client:
    def __init__(self, address):
        self.base = {'bootstrap_servers': address, 'client_id': 'interop-aiokafka'}
        self.loop, self.admin_client, self.member = asyncio.new_event_loop(), None, None
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def wait(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    @staticmethod
    def kind_of(error):
        return type(error).__name__ + ('/retriable' if getattr(error, 'retriable', False) else '')

    async def admin(self):
        if self.admin_client is None:
            admin = AIOKafkaAdminClient(**self.base)
            await admin.start()
            self.admin_client = admin
        return self.admin_client

    def hello(self):
        return [('version', aiokafka.__version__), ('codecs', 'none,gzip,snappy,lz4,zstd'),
                ('features', 'create,delete,configs,alter,idempotent,transactions,isolation,null-header,binary,timestamps,'
                             'offsets,groups,reset-none')]

    def create(self, topic, partitions, configs):
        return self.wait(self._create(topic, int(partitions), dict(pair.split('=') for pair in configs.split(',') if pair)))

    async def _create(self, topic, partitions, configs):
        answer = await (await self.admin()).create_topics([NewTopic(topic, partitions, 1, topic_configs=configs)])
        for _, code, text in answer.topic_errors:
            raise_for(code, text)
        return []

    def delete(self, topic):
        return self.wait(self._delete(topic))

    async def _delete(self, topic):
        answer = await (await self.admin()).delete_topics([topic])
        for _, code in answer.topic_error_codes:
            raise_for(code)
        return []

    def produce(self, topic, codec, acks, idempotent, records):
        return self.wait(self._produce(topic, codec, 'all' if acks == 'all' else int(acks), idempotent == '1', records))

    async def _produce(self, topic, codec, acks, idempotent, records):
        is_big = any(len(record.value or b'') > 1_000_000 for record in records)
        producer = AIOKafkaProducer(**self.base, acks=acks, compression_type=None if codec == 'none' else codec,
                                    enable_idempotence=idempotent, linger_ms=50, max_request_size=BIG,
                                    max_batch_size=BIG if is_big else 1 << 18)
        await producer.start()
        try:
            sent = [await producer.send(topic, value=r.value, key=r.key, headers=list(r.headers), partition=r.partition,
                                        timestamp_ms=r.timestamp_ms) for r in records]
            done = [await asyncio.wait_for(future, 30) for future in sent]
            return [(one.partition, one.offset) for one in done if one is not None]
        finally:
            await producer.stop()

    def consume(self, topic, partition, offset, count, isolation):
        return self.wait(self._consume(TopicPartition(topic, int(partition)), int(offset), int(count), isolation))

    async def _consume(self, where, offset, count, isolation):
        consumer = AIOKafkaConsumer(**self.base, enable_auto_commit=False, auto_offset_reset='none',
                                    fetch_max_wait_ms=100, isolation_level=isolation)
        consumer.assign([where])
        await consumer.start()
        try:
            consumer.seek(where, offset)
            found = []
            while len(found) < count:
                message = await asyncio.wait_for(consumer.getone(), 20)
                found.append(Record(message.partition, message.timestamp, message.key, message.value,
                                    tuple(message.headers), message.offset))
            return found
        finally:
            await consumer.stop()

    def offset(self, topic, partition, which):
        return self.wait(self._offset(TopicPartition(topic, int(partition)), which))

    async def _offset(self, where, which):
        consumer = AIOKafkaConsumer(**self.base)
        consumer.assign([where])
        await consumer.start()
        try:
            if which == 'earliest':
                return [((await consumer.beginning_offsets([where]))[where],)]
            if which == 'latest':
                return [((await consumer.end_offsets([where]))[where],)]
            found = (await consumer.offsets_for_times({where: int(which)}))[where]
            return [(-1 if found is None else found.offset,)]
        finally:
            await consumer.stop()

    async def _described(self, topic):
        found = (await (await self.admin()).describe_topics([topic]))[0]
        raise_for(found['error_code'])
        return found

    def cluster(self):
        return self.wait(self._cluster())

    async def _cluster(self):
        found = await (await self.admin()).describe_cluster()
        return ([(found['cluster_id'], found['controller_id'])] +
                [(broker['node_id'], broker['host'], broker['port']) for broker in found['brokers']])

    def partitions(self, topic):
        return [(len(self.wait(self._described(topic))['partitions']),)]

    def configs(self, topic):
        return self.wait(self._configs(topic))

    async def _configs(self, topic):
        answer = await (await self.admin()).describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        code, text, _, _, entries = answer[0].resources[0]
        raise_for(code, text)
        return [(entry[0], entry[1]) for entry in entries]

    def alter(self, topic, name, value):
        return self.wait(self._alter(ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})))

    async def _alter(self, resource):
        code, text, *_ = (await (await self.admin()).alter_configs([resource]))[0].resources[0]
        raise_for(code, text)
        return []

    def join(self, group, topic, reset, session_ms):
        self.wait(self._join(group, topic, reset, int(session_ms)))
        return []

    async def _join(self, group, topic, reset, session_ms):
        # Its start() waits for the first assignment, which others' polls may have to come before.
        self.member = AIOKafkaConsumer(topic, **self.base, group_id=group, enable_auto_commit=False,
                                       auto_offset_reset=reset, session_timeout_ms=session_ms, heartbeat_interval_ms=500)
        await self.member.start()

    def poll(self, ms):
        return self.wait(self._poll(int(ms)))

    async def _poll(self, ms):
        found = await self.member.getmany(timeout_ms=ms)
        read = [(record.partition, record.offset) for records in found.values() for record in records]
        return [(','.join(str(place.partition) for place in self.member.assignment()),)] + read

    def commit(self, topic, partition, offset):
        self.wait(self.member.commit({TopicPartition(topic, int(partition)): int(offset)}))
        return []

    def leave(self):
        self.wait(self.member.stop())
        return []

    def transaction(self, name):
        return self.wait(self._transaction(name))

    async def _transaction(self, name):
        producer = AIOKafkaProducer(**self.base, transactional_id=name, request_timeout_ms=10_000)
        try:
            await asyncio.wait_for(producer.start(), 10)  # which asks for the producer's id
            return []
        finally:
            await producer.stop()


repl.serve(Client(sys.argv[1]))
