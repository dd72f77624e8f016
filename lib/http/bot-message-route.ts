import { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import type { OpenedBotMessage } from '../bot-messages/reader.ts'
import { checkBotMessageId } from '../bot-messages/fields.ts'
import { RealtimeError } from '../errors.ts'
import type { Downloads } from './downloads.ts'
import { routeDescriptions } from './route-descriptions.ts'
import { clientRouteOptions, type RealtimeRouteOptions } from './route-options.ts'

interface Route { Params: { chatId: string, id: string }, Querystring: { at?: string | string[] } }

/**
 * `GET {prefix}/chats/:chatId/bot-messages/:id`: all of a bot message, or with `?at=…` the content from a position on.
 * Pages of a long one are read as fast as the client receives them, as long as it has access.
 */
export function botMessageRoute (
  app: FastifyInstance, prefix: string, downloads: Downloads, given?: RealtimeRouteOptions
): void {
  const options = clientRouteOptions(routeDescriptions.botMessage, given)
  app.get<Route>(`${prefix}/chats/:chatId/bot-messages/:id`, options, async (request, reply) => {
    const { chatId, id } = request.params
    await downloads.admit(request, reply, chatId)
    const from = positionOf(request.query.at)
    const opened = await app.chatEvents.openBotMessage(chatId, checkBotMessageId(id), from)
    if (opened === undefined) throw new RealtimeError('RT_BOT_MESSAGE_NOT_FOUND')
    reply.header('cache-control', 'no-store').type('application/json; charset=utf-8')
    return await reply.send(Readable.from(jsonOf(opened, request.query.at !== undefined)))
  })
}

/** Throws `RT_POSITION_INVALID`. */
function positionOf (at: unknown = '0'): number {
  if (typeof at === 'string' && /^\d{1,15}$/.test(at)) return Number(at)
  throw new RealtimeError('RT_POSITION_INVALID')
}

async function * jsonOf (
  { head, format, at, contents }: OpenedBotMessage, withPosition: boolean
): AsyncGenerator<string> {
  yield JSON.stringify({ ...head, ...withPosition && { at } }).slice(0, -1)
  if (format === 'text') {
    yield ',"text":"'
    for await (const content of contents()) yield JSON.stringify(content).slice(1, -1)
    yield '"}'
  } else {
    yield ',"chunks":['
    let isFirst = true
    for await (const content of contents()) {
      yield isFirst ? content.slice(1) : content
      isFirst = false
    }
    yield ']}'
  }
}
