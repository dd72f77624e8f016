/**
 * One instance of an app with the built plugin, as a process of its own. It listens on PORT, takes the plugin's options
 * as JSON from REALTIME, sends its address to its parent, and closes on SIGTERM. With the options of ioredis for a
 * Sentinel in REDIS_SENTINEL, or the nodes of a Cluster in REDIS_CLUSTER (both as JSON), the app has a client of its
 * own, which the plugin shares. With USERS it trusts the user names that clients send.
 */
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import Fastify from 'fastify'
import { Cluster, Redis } from 'ioredis'
import { Registry } from 'prom-client'
import realtimePlugin from 'fastify-realtime'

const app = Fastify({
  trustProxy: process.env.TRUST_PROXY ?? false,
  logger: { level: process.env.LOG_LEVEL ?? 'silent' }
})
process.on('unhandledRejection', (error) => { app.log.fatal(error); process.exit(70) })
const redis = openClient()
redis?.on('error', (error) => app.log.warn(error))
// The hooks of the plugin, which come later, run before it.
app.addHook('onClose', async () => { redis?.disconnect() })
const believe = ({ query: { user } }) => user === undefined || { userId: user }
const metrics = new Registry()
await app.register(realtimePlugin, {
  metrics,
  ...(redis && { redis }),
  ...(process.env.USERS !== undefined && { authorize: believe }),
  ...JSON.parse(process.env.REALTIME ?? '{}')
})
app.post('/api/chats/:chatId/messages', async (request, reply) => {
  const idempotencyKey = request.headers['idempotency-key']
  return reply
    .code(202)
    .send(await app.chatEvents.emitChatMessage(request.params.chatId, request.body, { idempotencyKey }))
})
// Answers once the bot message is open: only then must it end, whatever happens to this process.
app.post('/api/chats/:chatId/answers', async ({ params, body }) => {
  await new Promise((resolve, reject) => {
    const source = (signal) => { resolve(); return tokens(body, signal) }
    app.chatEvents.streamBotMessage(params.chatId, source, { id: body.id }).catch(reject)
  })
  return {}
})
/** The ids of UI messages whose signal has aborted. */
const aborted = []
app.post('/api/chats/:chatId/ui-messages', async ({ params, body }) => {
  const { streamUIMessage } = await import('fastify-realtime/ai')
  const chunks = async function * (signal) {
    signal.addEventListener('abort', () => { aborted.push(body.id) })
    yield * body.chunks
    await once(signal, 'abort')
  }
  streamUIMessage(app.chatEvents, params.chatId, chunks, { id: body.id })
  return {}
})
app.get('/aborted', async () => aborted)
// Ignores what becomes of it, as many an app does.
app.post('/ignore', async () => { app.chatEvents.emitChatMessage('ignored', {}); return {} })
app.get('/presence/:chatId', async ({ params }) => await app.chatEvents.presence(params.chatId))
app.get('/slow', async () => (await metrics.getSingleMetric('realtime_slow_clients_total').get()).values[0].value)
app.get('/ip', async ({ ip }) => ip)
process.once('SIGTERM', () => { app.close() })
await app.listen({ port: Number(process.env.PORT ?? 0), host: '127.0.0.1' })
process.send(app.server.address().port)
// Only what the app itself holds may keep this process alive.
process.disconnect()

/** The output of a model: the numbers up to a count, each followed by some characters more. */
async function * tokens ({ count, everyMs, filler = 0 }, signal) {
  for (let n = 1; n <= count && !signal.aborted; n++) {
    yield `${n} ${'x'.repeat(filler)}`
    await delay(everyMs)
  }
}

/** As docs/guarantees.md says; else with the defaults of ioredis, as most apps have them. */
function openClient () {
  const { REDIS_SENTINEL, REDIS_CLUSTER } = process.env
  if (REDIS_SENTINEL !== undefined) {
    return new Redis({ ...JSON.parse(REDIS_SENTINEL), failoverDetector: true, disconnectTimeout: 100 })
  }
  if (REDIS_CLUSTER !== undefined) return new Cluster(JSON.parse(REDIS_CLUSTER))
  return undefined
}
