/**
 * Lets clients and rooms come and go, then looks whether heap and handles are back where they were. Needs redis-server.
 *
 *     npm run soak -- --seconds 1200
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { Registry } from 'prom-client'
import realtimePlugin from '../../dist/index.js'
import { settledHeap } from './heap.js'
import { startRedis } from './redis.js'

const { values: { seconds } } = parseArgs({ options: { seconds: { type: 'string', default: '1200' } } })
/**
 * What compiled code, pools of buffers and caches may differ by. A leak of 100 bytes a stream is more, in 20 minutes.
 * RSS keeps what the peak took.
 */
const BOUND = 8_000_000
const ROOMS = 300
/** Code is compiled and pools are filled meanwhile. */
const WARM_UP_MS = 15_000
const KILL_EVERY_MS = 5_000

const redis = await startRedis()
const metrics = new Registry()
const options = {
  redisUrl: redis.url,
  history: { size: 100, ttlMs: 5_000 },
  idempotencyTtlMs: 5_000,
  maxBufferedBytes: 20_000,
  heartbeatMs: 500,
  retryMs: 100,
  maxConnectionsPerClient: 100
}
const authorize = ({ headers }) => ({ userId: headers.authorization, expiresAt: Date.now() + 5_000 })
const app = await start({}, { ...options, metrics, authorize })
const overHttp2 = await start({ http2: true }, { ...options, authorize })
const admin = new Redis(redis.url)
await app.inject('/api/health/pubsub')

let streams = 0
for (const { server } of [app, overHttp2]) server.on('request', () => { streams++ })

await churn(WARM_UP_MS)
const before = await measure()
await churn(Number(seconds) * 1_000)
const after = await measure()

const grown = after.heap - before.heap
console.log(
  `${streams} streams in ${seconds} s: ` +
    `heap ${mb(before.heap)} → ${mb(after.heap)}, RSS ${mb(before.rss)} → ${mb(after.rss)}`
)
console.log(`handles: ${before.handles} → ${after.handles}`)
if (grown > BOUND) fail(`The heap grew by ${mb(grown)}, more than ${mb(BOUND)}`)
if (after.handles !== before.handles) fail('Not the same handles')

admin.disconnect()
await Promise.all([app.close(), overHttp2.close()])
redis.child.kill()
await once(redis.child, 'exit')
// Handles close at the end of their turn.
await delay(0)
const left = process.getActiveResourcesInfo().filter((kind) => !['PipeWrap', 'TTYWrap'].includes(kind))
if (left.length > 0) fail(`After closing, these are left: ${left}`)

async function start (server, options) {
  const app = Fastify(server)
  await app.register(realtimePlugin, options)
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app
}

/** For so long, clients come and go, events and handlers too, and now and then the subscriptions break. */
async function churn (ms) {
  const clients = fork(
    new URL('clients.js', import.meta.url),
    [app, overHttp2].map(({ server }) => String(server.address().port)).concat(String(Date.now() % 1_000))
  )
  const end = performance.now() + ms
  const undo = new Set()
  let killed = performance.now()
  for (let n = 0; performance.now() < end; n++) {
    const room = () => String(Math.floor(Math.random() * ROOMS))
    const [one, other] = [app, overHttp2].map((app) => app.chatEvents)
    undo.add(one.onChatEvent(room(), () => {}))
    if (undo.size > 100) for (const stop of undo) if (Math.random() < 0.5 && undo.delete(stop)) stop()
    await Promise.allSettled([
      ...Array.from({ length: 10 }, () => one.emitChatMessage(room(), { n, text: 'x'.repeat(1_000) })),
      other.publish(room(), { type: 'typing' }, { ephemeral: true }),
      other.emitBotAction(room(), { n }, { idempotencyKey: String(n >> 1) }),
      one.revoke(room(), String(n % 50))
    ])
    if (performance.now() - killed > KILL_EVERY_MS) {
      killed = performance.now()
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    }
    await delay(5)
  }
  for (const stop of undo) stop()
  clients.disconnect()
  await once(clients, 'exit')
}

/** The memory in use once all clients have disconnected. */
async function measure () {
  const connections = async ({ server }) =>
    await new Promise((resolve) => server.getConnections((_error, count) => resolve(count)))
  const health = async (instance) => (await instance.inject('/api/health/pubsub')).json()
  for (const instance of [app, overHttp2]) {
    while (await connections(instance) > 0) await delay(20)
    // Chats are followed for some seconds after all clients have left. One channel is for what is revoked.
    for (let now = await health(instance); !now.healthy || now.stats.channels > 1; now = await health(instance)) {
      await delay(20)
    }
  }
  const heap = await settledHeap()
  return { heap, rss: process.memoryUsage().rss, handles: process.getActiveResourcesInfo().sort().join(' ') }
}

function fail (reason) {
  console.error(reason)
  process.exitCode = 1
}

function mb (bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`
}
