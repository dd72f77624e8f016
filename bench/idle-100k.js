// @ts-check
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { closePubSub, emitChatMessage } from '../dist/index.js'
import { startChild } from './child.js'
import { makeEvent } from './event.js'
import { startRedis } from './redis.js'

// 100,000 idle streams on one machine: workers of `node:cluster` behind one port, and Redis. Prints what a stream
// costs, how long an event takes to all of them, and how its clients resume after a worker was killed. With `--bare`,
// it prints only what a stream of `node:http` without this package takes.

const { values } = parseArgs({
  options: {
    streams: { type: 'string', default: '100000' },
    workers: { type: 'string', default: '7' },
    clients: { type: 'string', default: '8' },
    seconds: { type: 'string', default: '60' },
    bare: { type: 'boolean', default: false }
  }
})
const STREAMS = Number(values.streams)
const WORKERS = Number(values.workers)
/** The processes of the clients: each has a limit of open files. */
const CLIENTS = Number(values.clients)
const SECONDS = Number(values.seconds)
const PER_CHAT = 100
const CHATS = STREAMS / PER_CHAT
/** Streams that one client process opens at the same time. */
const LANES = 25

const redis = await startRedis()
process.env.REDIS_URL = redis.url
const server = startChild('cluster.js', process.env.BENCH_NODE_OPTIONS?.split(' '))
/** @type {[file: string, options: object]} */
const contender = values.bare
  ? ['./contenders/res-write.js', { greets: true }]
  : ['./contenders/ours.js', { redisUrl: redis.url }]
const address = await server.call('start', ...contender, undefined, WORKERS)
const clients = Array.from({ length: CLIENTS }, () => startChild('idle-client.js'))
/** The number of the next event of each chat. */
let number = 0

try {
  await warmUp()
  const bare = await memory()
  report('Before', bare)
  await timed('All streams open', open)
  if (!values.bare) await stayIdle()
  const idle = await memory()
  report('Idle', idle)
  const streams = (/** @type {number} */ kB) => `${(kB / STREAMS).toFixed(2)} kB a stream`
  console.log(`  resident, base included: ${streams(idle.pss)}; without the base: ${streams(idle.pss - bare.pss)}`)
  console.log(`  kernel, half of what both sides take: ${streams((idle.kernel - bare.kernel) / 2)}`)
  if (!values.bare) await publishAndKill()
} finally {
  await Promise.all([...clients, server].map((child) => child.stop()))
  await closePubSub()
  await redis.stop()
}

/** Loads the code of the servers, in a chat of its own. */
async function warmUp () {
  const client = startChild('client.js')
  await client.call('open', { ...address, path: address.path.replace(':chat', 'warm'), perChat: 100 * WORKERS })
  await client.stop()
  if (!values.bare) await emitChatMessage('warm', {})
}

async function open () {
  const count = STREAMS / CLIENTS
  await Promise.all(clients.map(({ call }, index) => call('open', {
    ...address, network: index + 1, chats: CHATS, count, lanes: LANES
  })))
}

/** Measures the CPU time of heartbeats, and of comparing quiet chats with Redis. */
async function stayIdle () {
  await server.call('begin')
  await delay(SECONDS * 1000)
  const minutes = SECONDS / 60
  const cpu = await server.call('end')
  const each = (cpu / STREAMS / minutes).toFixed(0)
  console.log(`CPU of all server processes: ${each} µs for a stream and minute`)
}

async function publishAndKill () {
  await timed('An event reached all', publish)
  await timed('An event reached all', publish)
  await killWorker()
  report('After the kill', await memory())
}

/** Publishes an event to each chat, and waits until all clients have it. */
async function publish () {
  await publishToAll()
  await untilReceived()
}

async function publishToAll () {
  const all = Array.from({ length: CHATS }, (_, chat) => `chat${chat}`)
  await Promise.all(all.map((chatId) => emitChatMessage(chatId, makeEvent(chatId, number).message)))
  number++
}

async function untilReceived () {
  while ((await totals()).received < number * STREAMS) await delay(20)
}

/** Kills a worker, and publishes while its clients are away. */
async function killWorker () {
  const before = await totals()
  const start = performance.now()
  const replaced = server.call('kill')
  await publishToAll()
  await publishToAll()
  await replaced
  console.log(`Another worker listens after ${seconds(start)}`)
  await untilReceived()
  const after = await totals()
  const { resumed, refused } = after
  console.log(`${resumed - before.resumed} clients lost their streams; ${refused - before.refused} attempts failed`)
  console.log(`All ${after.open} clients have both events, each once, after ${seconds(start)}`)
}

/** @returns {Promise<{ open: number, opened: number, resumed: number, received: number, refused: number }>} */
async function totals () {
  const all = await Promise.all(clients.map(({ call }) => call('totals')))
  const sum = (/** @type {string} */ name) => all.reduce((total, each) => total + each[name], 0)
  return {
    open: sum('open'),
    opened: sum('opened'),
    resumed: sum('resumed'),
    received: sum('received'),
    refused: sum('refused')
  }
}

/** Memory in kB: of the server's processes, and of the kernel for the sockets of both sides. */
async function memory () {
  // V8 keeps the space for new objects until little has been allocated for a while.
  for (let count = 0; count < 6; count++) {
    await delay(5_000)
    await server.call('collect')
  }
  const pids = await server.call('collect')
  await delay(1_000)
  const sum = (/** @type {string} */ name) =>
    pids.reduce((/** @type {number} */ total, /** @type {number} */ pid) =>
      total + field(`/proc/${pid}/smaps_rollup`, name), 0)
  const sockets = Number(/^TCP:.* mem (\d+)/m.exec(readFileSync('/proc/net/sockstat', 'utf8'))?.[1]) * 4
  return { pss: sum('Pss'), rss: sum('Rss'), kernel: field('/proc/meminfo', 'Slab') + sockets, sockets }
}

/**
 * @param {string} path
 * @param {string} name
 */
function field (path, name) {
  return Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(readFileSync(path, 'utf8'))?.[1])
}

/**
 * @param {string} title
 * @param {Awaited<ReturnType<typeof memory>>} used
 */
function report (title, { pss, rss, kernel, sockets }) {
  const MB = (/** @type {number} */ kB) => `${(kB / 1024).toFixed(0)} MB`
  const ofKernel = `kernel ${MB(kernel)} (${MB(sockets)} buffers)`
  console.log(`${title}: ${MB(pss)} resident (${MB(rss)} with shared pages), ${ofKernel}`)
}

/**
 * @param {string} title
 * @param {() => Promise<void>} run
 */
async function timed (title, run) {
  const start = performance.now()
  await run()
  console.log(`${title} after ${seconds(start)}`)
}

/** @param {number} start */
function seconds (start) {
  return `${((performance.now() - start) / 1000).toFixed(1)} s`
}
