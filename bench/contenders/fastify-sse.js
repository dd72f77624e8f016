// @ts-check
import Fastify from 'fastify'
import fastifySse from '@fastify/sse'
import { Chats } from './chats.js'
import { listen } from './listen.js'

/** @fastify/sse has no broadcast. As its README shows, each reply gets the event as an object. */
export default async function start () {
  /** @type {Chats<import('@fastify/sse').SSEReplyInterface>} */
  const chats = new Chats()
  const app = Fastify()
  // Its types and those of fastify-sse-v2 disagree about `reply.sse`.
  await app.register(/** @type {any} */ (fastifySse))
  app.get('/:chat', { sse: 'only' }, async (/** @type {any} */ { params }, /** @type {any} */ { sse, raw }) => {
    sse.keepAlive()
    sse.sendHeaders()
    raw.flushHeaders()
    sse.onClose(chats.enter(params.chat, sse))
  })
  let id = 0
  return {
    port: await listen(app),
    path: '/:chat',
    publish (/** @type {string} */ chatId, /** @type {object} */ event) {
      const message = { id: String(++id), event: 'message', data: event }
      for (const sse of chats.in(chatId)) sse.send(message).catch(() => {})
    }
  }
}
