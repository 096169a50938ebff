// SPDX-License-Identifier: Apache-2.0

// librdkafka through Node (node-rdkafka), as a client process of the matrix.
'use strict'

const rdkafka = require('node-rdkafka')
const { version } = require('node-rdkafka/package.json')
const { Inbox, pairsOf, serve, sleep } = require('./pipe')

const BIG = 80_000_000
const names = Object.fromEntries(Object.entries(rdkafka.CODES.ERRORS).map(([name, code]) => [code, name]))

// A call whose last argument is a callback, as a promise.
const call = (object, name, ...rest) => new Promise((resolve, reject) =>
  object[name](...rest, (error, answer) => (error ? reject(error) : resolve(answer))))

class Client {
  constructor (address) {
    this.base = { 'metadata.broker.list': address, 'client.id': 'interop-node-rdkafka' }
  }

  tell (error) {
    const kind = (names[error.code] ?? error.name) + (error.isRetriable ? '/retriable' : '') + (error.isFatal ? '/fatal' : '')
    return { kind, text: error.message }
  }

  async hello () {
    this.plain = await this.open(rdkafka.Producer, {})
    this.admin = rdkafka.AdminClient.create(this.base)
    return [`version\t${version}/librdkafka ${rdkafka.librdkafkaVersion}`, 'codecs\tnone,gzip,snappy,lz4,zstd',
      'features\tcreate,delete,idempotent,transactions,isolation,null-record,binary,timestamps,offsets,groups,reset-none,kip-848,headers-text,empty-written-as-null']
  }

  async open (kind, settings, topicSettings = {}) {
    const client = new kind({ ...this.base, ...settings }, topicSettings)
    client.on('event.error', error => console.error('event', error.message))
    await call(client, 'connect', {})
    return client
  }

  async create (topic, partitions, configs) {
    await call(this.admin, 'createTopic', { topic, num_partitions: Number(partitions), replication_factor: 1, config: Object.fromEntries(pairsOf(configs)) })
  }

  async delete (topic) {
    await call(this.admin, 'deleteTopic', topic)
  }

  async produce (topic, codec, acks, idempotent, records) {
    const settings = { 'compression.codec': codec, 'linger.ms': 50, 'message.max.bytes': BIG, dr_cb: true }
    if (idempotent) settings['enable.idempotence'] = true
    const producer = await this.open(rdkafka.Producer, settings, { acks: acks === 'all' ? -1 : Number(acks) })
    const failures = []
    producer.on('delivery-report', (error, report) => {
      if (error) failures.push(error)
      else records[report.opaque].offset = report.offset
    })
    records.forEach((r, index) => {
      const headers = r.headers.map(([name, value]) => ({ [name]: value.toString() }))
      producer.produce(topic, r.partition, r.value, r.key, r.timestampMs, index, headers)
    })
    try {
      await call(producer, 'flush', 30_000)
      producer.poll()
      await sleep(10) // reports come by a timer of their own
      if (failures.length) throw failures[0]
    } finally {
      await call(producer, 'disconnect')
    }
  }

  recordOf (m) {
    const headers = (m.headers ?? []).flatMap(one => Object.entries(one))
    return { partition: m.partition, offset: m.offset, timestampMs: m.timestamp, key: m.key, value: m.value, headers }
  }

  consumer (reset, settings) {
    return this.open(rdkafka.KafkaConsumer, {
      'group.id': 'unused', 'enable.auto.commit': false, 'receive.message.max.bytes': 2 * BIG, 'fetch.wait.max.ms': 100, ...settings
    }, { 'auto.offset.reset': reset === 'none' ? 'error' : reset })
  }

  async follow (topic, committed, inbox) {
    const consumer = await this.consumer('none', { 'isolation.level': committed ? 'read_committed' : 'read_uncommitted' })
    const count = Number((await this.partitions(topic))[0])
    consumer.assign(Array.from({ length: count }, (_, partition) => ({ topic, partition, offset: 0 })))
    consumer.on('data', message => inbox.put(this.recordOf(message)))
    consumer.consume()
    return () => call(consumer, 'disconnect')
  }

  async offset (topic, partition, which) {
    if (which === 'earliest' || which === 'latest') {
      const found = await call(this.plain, 'queryWatermarkOffsets', topic, Number(partition), 15_000)
      return [String(which === 'earliest' ? found.lowOffset : found.highOffset)]
    }
    const consumer = await this.consumer('none', {})
    try {
      const found = await call(consumer, 'offsetsForTimes', [{ topic, partition: Number(partition), offset: Number(which) }], 15_000)
      return [String(found[0].offset)]
    } finally {
      await call(consumer, 'disconnect')
    }
  }

  async cluster () {
    const found = await call(this.plain, 'getMetadata', { timeout: 15_000 })
    return [`\t${found.orig_broker_id}`, ...found.brokers.map(one => `${one.id}\t${one.host}\t${one.port}`)]
  }

  async partitions (topic) {
    const found = await call(this.plain, 'getMetadata', { topic, allTopics: false, timeout: 15_000 })
    return [String(found.topics[0].partitions.length)]
  }

  async join (group, topic, reset, sessionMs, protocol = 'classic') {
    this.inbox = new Inbox()
    const own = protocol === 'classic' ? { 'session.timeout.ms': Number(sessionMs), 'heartbeat.interval.ms': 500 } : {}
    this.member = await this.consumer(reset, { 'group.id': group, 'group.protocol': protocol, ...own })
    this.member.on('event.error', error => this.inbox.fail(error))
    this.member.on('data', message => this.inbox.put(this.recordOf(message)))
    this.member.setDefaultConsumeTimeout(100)
    this.member.subscribe([topic])
    this.read(this.member, this.inbox)
  }

  // In portions: consume() without a number ends by itself, and tells nobody, at an error that comes instead of a message.
  async read (member, inbox) {
    while (member.isConnected()) await call(member, 'consume', 100).catch(error => inbox.fail(error))
  }

  poll (ms) {
    this.inbox.owned = this.member.assignments().map(one => one.partition)
    return this.inbox.poll(Number(ms))
  }

  async commit (topic, partition, offset) {
    this.member.commitSync([{ topic, partition: Number(partition), offset: Number(offset) }])
  }

  async leave () {
    await call(this.member, 'disconnect')
  }

  async transaction (name) {
    const producer = await this.open(rdkafka.Producer, { 'transactional.id': name })
    try {
      await call(producer, 'initTransactions', 10_000)
    } finally {
      producer.disconnect()
    }
  }
}

serve(new Client(process.argv[2]))
