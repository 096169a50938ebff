// SPDX-License-Identifier: Apache-2.0

// KafkaJS as a client process of the matrix, with the codecs that people plug into it.
'use strict'

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, Partitioners, logLevel } = require('kafkajs')
const { version } = require('kafkajs/package.json')
const Snappy = require('kafkajs-snappy')
const LZ4 = require('@2l/kafkajs-lz4')
const zstd = require('@mongodb-js/zstd')
const { Inbox, number, pairsOf, serve, slices, within } = require('./pipe')

CompressionCodecs[CompressionTypes.Snappy] = Snappy
CompressionCodecs[CompressionTypes.LZ4] = new LZ4().codec
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: encoder => zstd.compress(encoder.buffer),
  decompress: data => zstd.decompress(data)
})
const CODECS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD }

// Header names are the keys of an object, so those of one name come together.
function objectOf (headers) {
  const object = {}
  for (const [name, value] of headers) object[name] = name in object ? [].concat(object[name], [value]) : value
  return object
}

const pairsIn = object => Object.entries(object).flatMap(([name, value]) => [].concat(value).map(one => [name, one]))

class Client {
  constructor (address) {
    this.kafka = new Kafka({ clientId: 'interop-kafkajs', brokers: [address], logLevel: logLevel.WARN, retry: { initialRetryTime: 100 } })
    this.admin = this.kafka.admin()
    this.groups = 0
  }

  tell (error) {
    const inner = error.errors?.[0] ?? error.cause ?? error
    return { kind: (inner.type ?? inner.name) + (inner.retriable ? '/retriable' : ''), text: inner.message }
  }

  async hello () {
    await this.admin.connect()
    return [`version\t${version}`, 'codecs\tnone,gzip,snappy,lz4,zstd',
      'features\tcreate,delete,configs,alter,idempotent,transactions,isolation,null-record,binary,timestamps,offsets,groups,headers-grouped,time-or-end']
  }

  async create (topic, partitions, configs) {
    const configEntries = pairsOf(configs).map(([name, value]) => ({ name, value }))
    const made = await this.admin.createTopics({ topics: [{ topic, numPartitions: Number(partitions), replicationFactor: 1, configEntries }] })
    if (!made) throw new Error('createTopics says false: the topic exists')
  }

  async delete (topic) {
    await this.admin.deleteTopics({ topics: [topic] })
  }

  async produce (topic, codec, acks, idempotent, records) {
    const producer = this.kafka.producer({ idempotent, createPartitioner: Partitioners.DefaultPartitioner })
    await producer.connect()
    try {
      for (const slice of slices(records)) {
        const messages = slice.map(r => ({ key: r.key, value: r.value, partition: r.partition, timestamp: String(r.timestampMs), headers: objectOf(r.headers) }))
        const done = await producer.send({ topic, acks: acks === 'all' ? -1 : Number(acks), compression: CODECS[codec], messages })
        number(slice, Object.fromEntries((done ?? []).map(one => [one.partition, Number(one.baseOffset)])))
      }
    } finally {
      await producer.disconnect()
    }
  }

  recordOf (partition, message) {
    return { partition, offset: Number(message.offset), timestampMs: Number(message.timestamp), key: message.key, value: message.value, headers: pairsIn(message.headers) }
  }

  async start (consumer, topic, fromBeginning, inbox) {
    const { GROUP_JOIN, REBALANCING, CRASH } = consumer.events
    consumer.on(GROUP_JOIN, ({ payload }) => { inbox.owned = payload.memberAssignment[topic] ?? [] })
    consumer.on(REBALANCING, () => { inbox.owned = [] })
    consumer.on(CRASH, ({ payload }) => { if (!payload.restart) inbox.fail(payload.error) })
    await consumer.connect()
    await consumer.subscribe({ topics: [topic], fromBeginning })
    await consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => inbox.put(this.recordOf(partition, message))
    })
  }

  async follow (topic, committed, inbox) {
    const consumer = this.kafka.consumer({ groupId: `kafkajs-${process.pid}-${++this.groups}`, readUncommitted: !committed, maxWaitTimeInMs: 100 })
    await this.start(consumer, topic, true, inbox)
    return () => consumer.disconnect()
  }

  async offset (topic, partition, which) {
    const mine = found => found.find(one => one.partition === Number(partition))
    if (which === 'earliest' || which === 'latest') {
      const found = mine(await this.admin.fetchTopicOffsets(topic))
      return [which === 'earliest' ? found.low : found.high]
    }
    return [mine(await this.admin.fetchTopicOffsetsByTimestamp(topic, Number(which))).offset]
  }

  async cluster () {
    const { clusterId, controller, brokers } = await this.admin.describeCluster()
    return [`${clusterId}\t${controller}`, ...brokers.map(one => `${one.nodeId}\t${one.host}\t${one.port}`)]
  }

  async partitions (topic) {
    return [String((await this.admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length)]
  }

  async configs (topic) {
    const { resources } = await this.admin.describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }], includeSynonyms: false })
    return resources[0].configEntries.map(one => `${one.configName}\t${one.configValue}`)
  }

  async alter (topic, name, value) {
    await this.admin.alterConfigs({ validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name, value }] }] })
  }

  async join (group, topic, reset, sessionMs) {
    this.inbox = new Inbox()
    this.member = this.kafka.consumer({ groupId: group, sessionTimeout: Number(sessionMs), heartbeatInterval: 500, maxWaitTimeInMs: 100 })
    await this.start(this.member, topic, reset === 'earliest', this.inbox)
  }

  poll (ms) { return this.inbox.poll(Number(ms)) }

  async commit (topic, partition, offset) {
    await this.member.commitOffsets([{ topic, partition: Number(partition), offset }])
  }

  async leave () {
    await this.member.disconnect()
  }

  async transaction (name) {
    const producer = this.kafka.producer({ transactionalId: name, idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    try {
      await within(10_000, producer.transaction())
    } finally {
      await producer.disconnect()
    }
  }
}

serve(new Client(process.argv[2]))
