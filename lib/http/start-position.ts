import type { FastifyRequest } from 'fastify'
import { RealtimeError, kindOf } from '../errors.ts'
import type { ChatAccess } from '../chat/entrances.ts'

/** Replaces a `lastEventId` that is not a string. No event has this id. */
const UNREADABLE_ID = '!'

/** The last event id of a reconnecting client: its `Last-Event-ID` header, otherwise the query's `lastEventId`. */
export function lastEventIdOf (request: FastifyRequest): string | undefined {
  const given = givenEventId(request)
  return typeof given === 'string' ? given : undefined
}

/**
 * The event id from which a chat stream starts. A client that sent an unreadable id must not count as a new client,
 * since a new client cannot have missed anything and would get no `reset`.
 */
export function startIdOf (request: FastifyRequest): string | undefined {
  return givenEventId(request) === undefined ? undefined : lastEventIdOf(request) ?? UNREADABLE_ID
}

/**
 * Returns the number of past events that the client requests for each chat: `rewind` stands in the query once for all
 * chats, or once for each. Refuses a chat whose `rewind` exceeds `maxRewind`.
 */
export function rewindsOf (request: FastifyRequest, chats: readonly ChatAccess[], maxRewind: number): number[] {
  const { rewind: given } = queryOf(request)
  const isPerChat = Array.isArray(given) && given.length === chats.length
  return chats.map((chat, index) => {
    const rewind = rewindOf(isPerChat ? given[index] : given, maxRewind)
    if (rewind > maxRewind) chat.refuse(rewindInvalid(maxRewind, String(rewind)))
    return rewind
  })
}

/** The id as sent. Its type is unknown: a query can repeat the parameter, and a custom parser may create objects. */
function givenEventId (request: FastifyRequest): unknown {
  const header = request.headers['last-event-id']
  if (header !== undefined && header !== '') return header
  const { lastEventId } = queryOf(request)
  return lastEventId === '' ? undefined : lastEventId
}

function queryOf (request: FastifyRequest): Record<string, unknown> {
  return request.query as Record<string, unknown> // Its parser can be the app's, so its values are unknown.
}

/** Parses `rewind` of the query. Throws `RT_REWIND_INVALID`. */
function rewindOf (given: unknown, maxRewind: number): number {
  if (given === undefined) return 0
  if (typeof given === 'string' && /^\d{1,6}$/.test(given)) return Number(given)
  throw rewindInvalid(maxRewind, typeof given === 'string' ? 'something else' : kindOf(given))
}

function rewindInvalid (maxRewind: number, got: string): RealtimeError {
  return new RealtimeError('RT_REWIND_INVALID', `${maxRewind}, got ${got}`)
}
