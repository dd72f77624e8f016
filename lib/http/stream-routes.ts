import type { FastifyInstance, RouteShorthandOptions } from 'fastify'
import { routeDescriptions } from './route-descriptions.ts'
import { clientRouteOptions, type RealtimeRouteOptions } from './route-options.ts'

interface OneChat { Params: { chatId: string } }

interface ManyChats { Querystring: { chat?: string | string[] } }

/**
 * `GET {prefix}/chats/:chatId/events`: the stream of one chat.
 * `GET {prefix}/chats/events?chat=…&chat=…`: one stream of several chats.
 * `GET {prefix}/chats/:chatId/stream`: the chat's UI message in progress; 204 if there is none.
 */
export function streamRoutes (app: FastifyInstance, prefix: string, given?: RealtimeRouteOptions): void {
  const options = (name: 'chatStream' | 'multiChatStream' | 'uiMessageStream'): RouteShorthandOptions =>
    clientRouteOptions(routeDescriptions[name], given)
  app.get<OneChat>(`${prefix}/chats/:chatId/events`, options('chatStream'), async (request, reply) => {
    await reply.sse.chat(request.params.chatId)
  })
  app.get<ManyChats>(`${prefix}/chats/events`, options('multiChatStream'), async (request, reply) => {
    await reply.sse.chats([request.query.chat ?? []].flat())
  })
  app.get<OneChat>(`${prefix}/chats/:chatId/stream`, options('uiMessageStream'), async (request, reply) => {
    if (!await reply.sse.activeUIMessage(request.params.chatId)) reply.code(204).send()
  })
}
