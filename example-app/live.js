// @ts-check
import { rooms } from './rooms.js'

/**
 * The stream that the page opens: the events of one chat, and two kinds of its own. `instance` says who serves it, and
 * `activity` that somebody wrote in another room. That way one connection is enough for all rooms: over HTTP/1.1 a browser has six.
 *
 * @param {import('fastify').FastifyInstance} app
 */
export function liveRoutes (app) {
  /** @type {Set<{ chatId: string, sse: import('fastify').FastifyReply['sse'] }>} */
  const streams = new Set()

  for (const { id } of rooms) {
    app.chatEvents.onChatEvent(id, (payload) => {
      if (payload.type !== 'message') return
      for (const { chatId, sse } of streams) {
        if (chatId !== id) sse.send({ event: 'activity', data: { chatId: id } })
      }
    })
  }

  app.get('/api/chats/:chatId/live', { exposeHeadRoute: false }, async (request, reply) => {
    const { chatId } = /** @type {{ chatId: string }} */ (request.params)
    const { sse } = reply
    await sse.chat(chatId)
    sse.send({ event: 'instance', data: { instanceId: instanceOf(app) } })
    const stream = { chatId, sse }
    streams.add(stream)
    sse.signal.addEventListener('abort', () => streams.delete(stream), { once: true })
  })
}

/** Both built-in providers have a name for this instance; one of an app's own need not. @param {import('fastify').FastifyInstance} app */
function instanceOf ({ pubsub }) {
  return 'instanceId' in pubsub ? String(pubsub.instanceId) : pubsub.name
}
