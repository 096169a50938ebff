// SPDX-License-Identifier: Apache-2.0

// The pipe of the Node clients: a driver answers the runner's requests, here they are read and written. Which requests
// there are and what a record's line is: see clients.py and records.py. Argument: HOST:PORT.
'use strict'

const readline = require('node:readline')

const bytesOf = text => (text === '~' ? null : Buffer.from(text, 'base64'))
const textOf = data => (data === null || data === undefined ? '~' : Buffer.from(data).toString('base64'))
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

function recordOf (line) {
  const [, partition, timestampMs, key, value, headers] = line.split('\t')
  return {
    partition: Number(partition),
    timestampMs: Number(timestampMs),
    key: bytesOf(key),
    value: bytesOf(value),
    headers: headers.split(',').filter(Boolean).map(pair => pair.split(':')).map(([name, data]) => [bytesOf(name).toString(), bytesOf(data)]),
    offset: -1
  }
}

function lineOf (r) {
  const headers = r.headers.map(([name, data]) => textOf(Buffer.from(name)) + ':' + textOf(data)).join(',')
  return [r.offset, r.partition, r.timestampMs, textOf(r.key), textOf(r.value), headers].join('\t')
}

// Producers that make one batch of all they are given: what a batch may hold by default, in order.
function * slices (records, bytesMax = 1_000_000) {
  let slice = []
  let bytes = 0
  for (const record of records) {
    const size = (record.key?.length ?? 0) + (record.value?.length ?? 0)
    if (slice.length && bytes + size > bytesMax) {
      yield slice
      slice = []
      bytes = 0
    }
    slice.push(record)
    bytes += size
  }
  yield slice
}

// Fills in the offsets of a slice from {partition: offset of its first record there}.
function number (slice, first) {
  for (const record of slice) {
    if (record.partition in first) record.offset = first[record.partition]++
  }
}

// What a client that reads by itself has read and owns.
class Inbox {
  constructor () {
    this.records = []
    this.error = null
    this.owned = []
  }

  put (record) { this.records.push(record) }
  fail (error) { this.error = error }

  throwFailure () {
    const error = this.error
    this.error = null
    if (error) throw error
  }

  async poll (ms) {
    await sleep(ms)
    this.throwFailure()
    const records = this.records
    this.records = []
    return [this.owned.join(','), ...records.map(r => `${r.partition}\t${r.offset}`)]
  }
}

// Clients that read only as members of a group wait for seconds at each join; so one reader of all partitions of a topic
// answers several requests. driver.follow(topic, committed, inbox) starts it and returns how to stop it.
class Reading {
  constructor (driver) { this.driver = driver }

  async open (topic, isolation) {
    if (this.stop && this.topic === topic && this.isolation === isolation && Date.now() < this.end) return
    await this.close()
    Object.assign(this, { topic, isolation, end: Date.now() + 10_000, inbox: new Inbox() })
    this.stop = await this.driver.follow(topic, isolation === 'read_committed', this.inbox)
  }

  async close () {
    const stop = this.stop
    this.stop = null
    if (stop) await stop()
  }

  async consume (topic, partition, offset, count, isolation) {
    await this.open(topic, isolation)
    const wanted = r => r.partition === Number(partition) && r.offset >= Number(offset)
    for (const end = Date.now() + 20_000; ;) {
      this.inbox.throwFailure()
      const found = this.inbox.records.filter(wanted)
      if (found.length >= Number(count)) return found.slice(0, Number(count)).map(lineOf)
      if (Date.now() > end) {
        await this.close()
        throw new Error(`timeout: ${found.length} of ${count} records`)
      }
      await sleep(20)
    }
  }
}

const within = (ms, work) => Promise.race([work, sleep(ms).then(() => { throw new Error(`no answer within ${ms} ms`) })])

// One method of the driver per request: what it returns are the rows of the answer.
async function serve (driver) {
  const reading = new Reading(driver)
  const lines = readline.createInterface({ input: process.stdin, crlfDelay: Infinity })[Symbol.asyncIterator]()
  for (let next = await lines.next(); !next.done; next = await lines.next()) {
    const [name, ...f] = next.value.split('\t')
    const begin = Date.now()
    const records = []
    if (name === 'produce') {
      for (let i = Number(f[4]); i > 0; i--) records.push(recordOf((await lines.next()).value))
    }
    try {
      let rows
      if (name === 'produce') {
        await driver.produce(f[0], f[1], f[2], f[3] === '1', records)
        rows = f[2] === '0' ? [] : records.map(r => `${r.partition}\t${r.offset}`)
      } else if (name === 'consume') {
        rows = await reading.consume(...f)
      } else if (!driver[name]) {
        process.stdout.write(`error\t0\tcannot\t${name}\n`)
        continue
      } else {
        rows = (await driver[name](...f)) ?? []
      }
      process.stdout.write([`ok\t${rows.length}`, ...rows].join('\n') + '\n')
    } catch (error) {
      console.error(error)
      const { kind, text } = driver.tell(error)
      process.stdout.write(['error', Date.now() - begin, kind, text.replace(/\s+/g, ' ')].join('\t') + '\n')
    }
  }
  process.exit(0)
}

const pairsOf = text => text.split(',').filter(Boolean).map(pair => pair.split('='))

module.exports = { Inbox, number, pairsOf, serve, slices, sleep, within }
