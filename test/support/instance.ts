/**
 * One instance of an app, as a process of its own: listens on PORT, takes options of the plugin as JSON from REALTIME, tells its address
 * to its parent, closes on SIGTERM.
 */
import Fastify from 'fastify'
import realtimePlugin from '../../lib/index.ts'

const app = Fastify({ logger: { level: process.env.LOG_LEVEL ?? 'silent' } })
process.on('unhandledRejection', (error) => { app.log.fatal(error); process.exit(70) })
await app.register(realtimePlugin, JSON.parse(process.env.REALTIME ?? '{}'))
app.post<{ Params: { chatId: string }, Body: Record<string, unknown> }>('/api/chats/:chatId/messages', async (request, reply) => {
  const idempotencyKey = request.headers['idempotency-key'] as string | undefined // It comes once.
  return reply.code(202).send(await app.chatEvents.emitChatMessage(request.params.chatId, request.body, { idempotencyKey }))
})
// Ignores what becomes of it, as many an app does.
app.post('/ignore', async () => { app.chatEvents.emitChatMessage('ignored', {}); return {} })
process.once('SIGTERM', () => { app.close() })
await app.listen({ port: Number(process.env.PORT ?? 0), host: '127.0.0.1' })
process.send?.((app.server.address() as { port: number }).port)
// Only what the app itself holds may keep this process alive.
process.disconnect?.()
