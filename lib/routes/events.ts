import type { FastifyInstance } from 'fastify'
import { logWithoutQuery } from './log-without-query.ts'

/**
 * `GET {prefix}/chats/:chatId/events`: the stream of a chat.
 * `GET {prefix}/chats/events?chat=…&chat=…`: one stream of several chats.
 */
export function eventsRoutes (app: FastifyInstance, prefix: string): void {
  const options = { exposeHeadRoute: false, childLoggerFactory: logWithoutQuery() }
  app.get<{ Params: { chatId: string } }>(`${prefix}/chats/:chatId/events`, options, async (request, reply) => {
    await reply.sse.chat(request.params.chatId)
  })
  app.get<{ Querystring: { chat?: string | string[] } }>(`${prefix}/chats/events`, options, async (request, reply) => {
    await reply.sse.chats([request.query.chat ?? []].flat())
  })
}
