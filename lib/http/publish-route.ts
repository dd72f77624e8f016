import type { FastifyInstance, FastifyRequest, RouteShorthandOptions } from 'fastify'
import { RealtimeError } from '../errors.ts'
import type { ChatEventInput } from '../event-types.ts'
import type { Access } from './access.ts'
import { idempotencyKeyOf } from './idempotency-key.ts'
import { routeDescriptions } from './route-descriptions.ts'
import { clientRouteOptions, type RealtimeRouteOptions } from './route-options.ts'
import type { Replayable } from '../pubsub/event-log.ts'
import { findEntry } from '../pubsub/find-entry.ts'
import { getChatChannel } from '../pubsub/names.ts'
import type { PubSubProvider, PublishReceipt } from '../pubsub/provider.ts'
import { asOwn } from '../pubsub/publisher.ts'

interface PublishRoute {
  /** Decides who may publish. */
  access: Access
  maxPayloadBytes: number
  routeOptions?: RealtimeRouteOptions | undefined
}

interface Route {
  Params: { chatId: string }
  /** The body is checked when it is published. */
  Body: ChatEventInput
  Headers: { 'idempotency-key'?: string | string[], traceparent?: string }
}

/** `POST {prefix}/chats/:chatId/events`: publishes the event of the body, for other services and languages. */
export function publishRoute (
  app: FastifyInstance, prefix: string, { access, maxPayloadBytes, routeOptions: given }: PublishRoute
): void {
  const options = { ...clientRouteOptions(routeDescriptions.publish, given), bodyLimit: maxPayloadBytes }
  const errorHandler = withOwnErrors(given?.errorHandler, maxPayloadBytes)
  app.post<Route>(`${prefix}/chats/:chatId/events`, { ...options, errorHandler }, async (request, reply) => {
    const { chatId } = request.params
    const permits = await access.check(request, [chatId])
    permits.release()
    checkContentType(request)
    const event = { ...request.body, chatId }
    const { traceparent, 'idempotency-key': key } = request.headers
    const idempotencyKey = idempotencyKeyOf(key)
    const receipt = await app.chatEvents.publish(chatId, event, asOwn({ traceparent, idempotencyKey }))
    if (receipt.duplicate) await checkSame(app.pubsub, chatId, event, receipt)
    return await reply.code(202).send(receipt)
  })
}

/** Throws `RT_CONTENT_TYPE_INVALID`. A page of another origin can send other types without being asked by CORS. */
function checkContentType ({ headers }: FastifyRequest): void {
  if (!/^application\/json *(;|$)/i.test(headers['content-type'] ?? '')) {
    throw new RealtimeError('RT_CONTENT_TYPE_INVALID')
  }
}

/** Rejects with `RT_IDEMPOTENCY_KEY_REUSED` if the log still has the event of a receipt, and it is another one. */
async function checkSame (
  { eventLog }: PubSubProvider & Partial<Replayable>, chatId: string, event: object, { id }: PublishReceipt
): Promise<void> {
  if (eventLog === undefined || id === undefined) return
  const entry = await findEntry(eventLog, getChatChannel(chatId), id)
  if (entry !== undefined && entry.json !== JSON.stringify(event)) throw new RealtimeError('RT_IDEMPOTENCY_KEY_REUSED')
}

type ErrorHandler = NonNullable<RouteShorthandOptions['errorHandler']>

/** Returns an error handler that replaces the errors of Fastify about a body by those of this package. */
function withOwnErrors (given: RealtimeRouteOptions['errorHandler'], maxPayloadBytes: number): ErrorHandler {
  return function (this: FastifyInstance, error, request, reply) {
    const own = ownError(error.code, maxPayloadBytes) ?? error
    if (given === undefined) throw own
    return given.call(this, own, request, reply)
  }
}

function ownError (code: string, maxPayloadBytes: number): RealtimeError | undefined {
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new RealtimeError('RT_PAYLOAD_TOO_LARGE', `more than ${maxPayloadBytes}`)
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new RealtimeError('RT_CONTENT_TYPE_INVALID')
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new RealtimeError('RT_PAYLOAD_INVALID', 'The body must be an event as JSON. Send all of it')
    default:
      return undefined
  }
}
