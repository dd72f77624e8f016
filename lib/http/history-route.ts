import type { FastifyInstance } from 'fastify'
import type { Downloads } from './downloads.ts'
import { routeDescriptions } from './route-descriptions.ts'
import { clientRouteOptions, type RealtimeRouteOptions } from './route-options.ts'

interface Route {
  Params: { chatId: string }
  /** A parameter that is given twice is an array, which `ChatEvents.history` refuses. */
  Querystring: { after?: string, before?: string, limit?: string }
}

/** `GET {prefix}/chats/:chatId/history`: what `ChatEvents.history` returns, for clients with access to the chat. */
export function historyRoute (
  app: FastifyInstance, prefix: string, downloads: Downloads, given?: RealtimeRouteOptions
): void {
  const options = clientRouteOptions(routeDescriptions.history, given)
  app.get<Route>(`${prefix}/chats/:chatId/history`, options, async (request, reply) => {
    const { params: { chatId }, query: { after, before, limit } } = request
    await downloads.admit(request, reply, chatId)
    // `history` checks all of them, since the app's parser of queries may return anything.
    const page = await app.chatEvents.history(chatId, { after, before, limit: numberOf(limit) })
    return await reply.header('cache-control', 'no-store').send(page)
  })
}

/** Returns anything but a number of events as it is. */
function numberOf (limit: unknown): number | undefined {
  const isNumber = typeof limit === 'string' && /^\d{1,9}$/.test(limit)
  return isNumber ? Number(limit) : limit as undefined // Whatever else it is, it will be refused.
}
