import type { FastifyInstance, RouteShorthandOptions } from 'fastify'
import { clientRouteOptions, type RealtimeRouteOptions } from './route-options.ts'

/**
 * `GET {prefix}/chats/:chatId/events`: the stream of one chat.
 * `GET {prefix}/chats/events?chat=…&chat=…`: one stream of several chats.
 * `GET {prefix}/chats/:chatId/stream`: the chat's UI message in progress; 204 if there is none.
 */
export function streamRoutes (app: FastifyInstance, prefix: string, given?: RealtimeRouteOptions): void {
  const options = (): RouteShorthandOptions => clientRouteOptions(given)
  app.get<{ Params: { chatId: string } }>(`${prefix}/chats/:chatId/events`, options(), async (request, reply) => {
    await reply.sse.chat(request.params.chatId)
  })
  app.get<{ Querystring: { chat?: string | string[] } }>(
    `${prefix}/chats/events`,
    options(),
    async (request, reply) => { await reply.sse.chats([request.query.chat ?? []].flat()) }
  )
  app.get<{ Params: { chatId: string } }>(`${prefix}/chats/:chatId/stream`, options(), async (request, reply) => {
    if (!await reply.sse.activeUIMessage(request.params.chatId)) reply.code(204).send()
  })
}
