import { readFile } from 'node:fs/promises'
import Fastify from 'fastify'
import realtimePlugin from 'fastify-realtime'

const page = await readFile(new URL('page.html', import.meta.url))
const text = { type: 'string', minLength: 1, maxLength: 1_000 }
const body = { type: 'object', required: ['text'], properties: { text } }

const app = Fastify()
await app.register(realtimePlugin, { redisUrl: process.env.REDIS_URL })

app.get('/', (_request, reply) => reply.type('text/html').send(page))

app.post('/api/chats/general/messages', { schema: { body } }, async (request, reply) => {
  await app.chatEvents.emitChatMessage('general', request.body)
  return reply.code(202).send({ accepted: true })
})

const url = await app.listen({ port: Number(process.env.PORT ?? 3000) })
console.log(`The chat is open at ${url}`)
