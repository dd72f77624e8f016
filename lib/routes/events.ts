import type { FastifyInstance } from 'fastify'
import { symbols } from 'pino'

/** `GET {prefix}/chats/:chatId/events`: the stream of a chat. `GET {prefix}/chats/events?chat=…&chat=…`: one stream of several. */
export function eventsRoutes (app: FastifyInstance, prefix: string): void {
  const { req } = (app.log as { [symbols.serializersSym]?: Record<string, Serializer> })[symbols.serializersSym] ?? {}
  const options = { exposeHeadRoute: false, ...req && { logSerializers: { req: withoutQuery(req) } } }
  app.get<{ Params: { chatId: string } }>(`${prefix}/chats/:chatId/events`, options, async (request, reply) => {
    await reply.sse.chat(request.params.chatId)
  })
  app.get<{ Querystring: { chat?: string | string[] } }>(`${prefix}/chats/events`, options, async (request, reply) => {
    await reply.sse.chats([request.query.chat ?? []].flat())
  })
}

type Serializer = (request: unknown) => unknown

/** How the app logs requests, but for the query: an EventSource can't send a header, so that is where tickets stand. */
function withoutQuery (req: Serializer): Serializer {
  return (request) => {
    const line = req(request)
    if (typeof line !== 'object' || line === null || !('url' in line) || typeof line.url !== 'string') return line
    return { ...line, url: line.url.replace(/\?.*/, '?…') }
  }
}
