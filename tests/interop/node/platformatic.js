// SPDX-License-Identifier: Apache-2.0

// @platformatic/kafka as a client process of the matrix.
'use strict'

const { Inbox, number, pairsOf, serve, slices, within } = require('./pipe')

class Client {
  constructor (address, kafka, version) {
    Object.assign(this, { kafka, version, groups: 0 })
    this.base = { clientId: 'interop-platformatic', bootstrapBrokers: [address], retryDelay: 200, autocreateTopics: true }
    this.admin = new kafka.Admin(this.base)
  }

  tell (error) {
    let inner = error
    while (inner.errors?.length || (inner.cause && !inner.apiId)) inner = inner.errors?.[0] ?? inner.cause
    return { kind: (inner.apiId ?? inner.code ?? inner.name) + (inner.canRetry ? '/retriable' : ''), text: inner.message }
  }

  async hello () {
    return [`version\t${this.version}`, 'codecs\tnone,gzip,snappy,lz4,zstd',
      'features\tcreate,delete,configs,alter,idempotent,transactions,isolation,null-header,null-record,binary,timestamps,offsets,groups,reset-none,kip-848,created-times']
  }

  async create (topic, partitions, configs) {
    await this.admin.createTopics({ topics: [topic], partitions: Number(partitions), replicas: 1, configs: pairsOf(configs).map(([name, value]) => ({ name, value })) })
  }

  async delete (topic) {
    await this.admin.deleteTopics({ topics: [topic] })
  }

  async produce (topic, codec, acks, idempotent, records) {
    const producer = new this.kafka.Producer({ ...this.base, acks: acks === 'all' ? -1 : Number(acks), compression: codec, idempotent })
    try {
      for (const slice of slices(records)) {
        const messages = slice.map(r => ({
          topic, partition: r.partition, key: r.key, value: r.value, timestamp: BigInt(r.timestampMs), headers: new Map(r.headers.map(([name, value]) => [Buffer.from(name), value]))
        }))
        const done = await producer.send({ messages })
        number(slice, Object.fromEntries((done.offsets ?? []).map(one => [one.partition, Number(one.offset)])))
      }
    } finally {
      await producer.close()
    }
  }

  start (stream, inbox) {
    stream.on('data', m => inbox.put({
      partition: m.partition, offset: Number(m.offset), timestampMs: Number(m.timestamp), key: m.key, value: m.value, headers: m.headerEntries
    }))
    stream.on('error', error => inbox.fail(error))
  }

  async follow (topic, committed, inbox) {
    const consumer = new this.kafka.Consumer({ ...this.base, groupId: `platformatic-${process.pid}-${++this.groups}`, maxWaitTime: 100 })
    const stream = await consumer.consume({ topics: [topic], mode: 'earliest', autocommit: false, maxBytes: 80_000_000, isolationLevel: committed ? 1 : 0 })
    this.start(stream, inbox)
    return () => consumer.close(true)
  }

  async offset (topic, partition, which) {
    const timestamp = { earliest: -2n, latest: -1n }[which] ?? BigInt(which)
    const found = await this.admin.listOffsets({ topics: [{ name: topic, partitions: [{ partitionIndex: Number(partition), timestamp }] }] })
    return [String(found[0].partitions[0].offset)]
  }

  async cluster () {
    const found = await this.admin.metadata({ topics: [] })
    return [`${found.id}\t${found.controllerId}`, ...[...found.brokers].map(([id, one]) => `${id}\t${one.host}\t${one.port}`)]
  }

  async partitions (topic) {
    const found = await this.admin.metadata({ topics: [topic], forceUpdate: true, autocreateTopics: false })
    return [String(found.topics.get(topic).partitionsCount)]
  }

  async configs (topic) {
    const found = await this.admin.describeConfigs({ resources: [{ resourceType: 2, resourceName: topic, configurationKeys: null }], includeSynonyms: false, includeDocumentation: false })
    return found[0].configs.map(one => `${one.name}\t${one.value}`)
  }

  async alter (topic, name, value) {
    await this.admin.incrementalAlterConfigs({ resources: [{ resourceType: 2, resourceName: topic, configs: [{ name, configOperation: 0, value }] }], validateOnly: false })
  }

  async join (group, topic, reset, sessionMs, protocol = 'classic') {
    this.inbox = new Inbox()
    const own = protocol === 'classic' ? { sessionTimeout: Number(sessionMs), heartbeatInterval: 500 } : {}
    this.member = new this.kafka.Consumer({ ...this.base, groupId: group, groupProtocol: protocol, maxWaitTime: 100, ...own })
    const fallbackMode = { none: 'fail' }[reset] ?? reset
    // It returns when the group has an assignment, which other members may have to take part in.
    this.joined = this.member.consume({ topics: [topic], mode: 'committed', fallbackMode, autocommit: false })
      .then(stream => this.start(stream, this.inbox), error => this.inbox.fail(error))
  }

  async poll (ms) {
    this.inbox.owned = this.member.assignments?.flatMap(one => one.partitions) ?? []
    return this.inbox.poll(Number(ms))
  }

  async commit (topic, partition, offset) {
    await this.member.commit({ offsets: [{ topic, partition: Number(partition), offset: BigInt(offset), leaderEpoch: -1 }] })
  }

  async leave () {
    await this.member.close(true)
  }

  async transaction (name) {
    const producer = new this.kafka.Producer({ ...this.base, transactionalId: name, idempotent: true })
    try {
      await within(10_000, producer.beginTransaction())
    } finally {
      await producer.close(true)
    }
  }
}

const { version } = JSON.parse(require('node:fs').readFileSync(`${__dirname}/node_modules/@platformatic/kafka/package.json`))
import('@platformatic/kafka').then(kafka => serve(new Client(process.argv[2], kafka, version)))
