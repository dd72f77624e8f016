/** A server as an app has it. It serves the built page. */
import '../page/events.ts'
import { createReadStream } from 'node:fs'
import Fastify from 'fastify'
import realtimePlugin from 'fastify-realtime'

const app = Fastify()
await app.register(realtimePlugin)
await app.chatEvents.emitChatMessage('general', { author: 'Ada', text: 'Hello' })
await app.chatEvents.publish('general', { type: 'poll', votes: { yes: 1 } })
// @ts-expect-error The author is missing.
app.chatEvents.emitChatMessage('other', { text: 'Hello' })
// @ts-expect-error There is no such event.
app.chatEvents.publish('other', { type: 'typo' })
const types = { html: 'text/html', js: 'text/javascript' } as const
app.get<{ Params: { '*': string } }>('/*', async ({ params: { '*': path } }, reply) => {
  const file = path === '' ? 'index.html' : path
  return reply.type(types[file.endsWith('.js') ? 'js' : 'html']).send(createReadStream(`page/dist/${file}`))
})
console.log(await app.listen({ port: 0, host: '127.0.0.1' }))
