/**
 * One instance of an app, as a process of its own: listens on PORT, takes options of the plugin as JSON from REALTIME, tells its address
 * to its parent, closes on SIGTERM. With ioredis' options for a Sentinel in REDIS_SENTINEL, or the nodes of a Cluster in REDIS_CLUSTER, both
 * as JSON, the app has a client of its own, which the plugin shares.
 */
import Fastify from 'fastify'
import { Cluster, Redis } from 'ioredis'
import realtimePlugin from '../../lib/index.ts'

const app = Fastify({ trustProxy: process.env.TRUST_PROXY ?? false, logger: { level: process.env.LOG_LEVEL ?? 'silent' } })
process.on('unhandledRejection', (error) => { app.log.fatal(error); process.exit(70) })
const redis = openClient()
redis?.on('error', (error) => app.log.warn(error))
// The hooks of the plugin, which come later, run before it.
app.addHook('onClose', async () => { redis?.disconnect() })
await app.register(realtimePlugin, { ...redis && { redis }, ...JSON.parse(process.env.REALTIME ?? '{}') })
app.post<{ Params: { chatId: string }, Body: Record<string, unknown> }>('/api/chats/:chatId/messages', async (request, reply) => {
  const idempotencyKey = request.headers['idempotency-key'] as string | undefined // It comes once.
  return reply.code(202).send(await app.chatEvents.emitChatMessage(request.params.chatId, request.body, { idempotencyKey }))
})
// Ignores what becomes of it, as many an app does.
app.post('/ignore', async () => { app.chatEvents.emitChatMessage('ignored', {}); return {} })
app.get('/ip', async ({ ip }) => ip)
process.once('SIGTERM', () => { app.close() })
await app.listen({ port: Number(process.env.PORT ?? 0), host: '127.0.0.1' })
process.send?.((app.server.address() as { port: number }).port)
// Only what the app itself holds may keep this process alive.
process.disconnect?.()

/** As docs/guarantees.md says; else with the defaults of ioredis, as most apps have them. */
function openClient (): Redis | Cluster | undefined {
  const { REDIS_SENTINEL, REDIS_CLUSTER } = process.env
  if (REDIS_SENTINEL !== undefined) return new Redis({ ...JSON.parse(REDIS_SENTINEL), failoverDetector: true, disconnectTimeout: 100 })
  if (REDIS_CLUSTER !== undefined) return new Cluster(JSON.parse(REDIS_CLUSTER))
  return undefined
}
