// @ts-check
import Fastify from 'fastify'
import { FastifySSEPlugin } from 'fastify-sse-v2'
import { Chats } from './chats.js'
import { listen } from './listen.js'

/** fastify-sse-v2 has no broadcast. As its README shows, each reply gets the event as JSON, which is encoded once. */
export default async function start () {
  /** @type {Chats<import('fastify').FastifyReply>} */
  const chats = new Chats()
  const app = Fastify()
  await app.register(FastifySSEPlugin)
  app.get('/:chat', async (request, reply) => {
    // Opens the stream.
    reply.sse({ comment: 'hello' })
    reply.raw.on('close', chats.enter(/** @type {any} */ (request.params).chat, reply))
  })
  let id = 0
  return {
    port: await listen(app),
    path: '/:chat',
    ready: 'retry: 3000',
    publish (/** @type {string} */ chatId, /** @type {object} */ event) {
      const message = { id: String(++id), event: 'message', data: JSON.stringify(event) }
      for (const reply of chats.in(chatId)) reply.sse(message)
    }
  }
}
