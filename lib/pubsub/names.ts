import type { ReservedEventType } from '../event-types.ts'
import { NAME } from '../core/names.ts'
import { RealtimeError, kindOf } from '../errors.ts'

// Which names of channels, chats, events and publishes are valid, and which of them this package keeps for itself.

/** Prefix of the channels of chats. */
export const CHAT = 'chat:'
/** Prefix of the channels by which instances control each other. */
export const CONTROL = 'fastify-realtime:'
/** Prefix of the idempotency keys that this package uses itself. */
export const OWN_KEY = 'fastify-realtime:'

const MAX_CHANNEL_BYTES = 4096
const MAX_CHAT_ID_BYTES = 1024
const MAX_KEY_LENGTH = 200

/** Validates a channel or pattern and returns it unchanged. Throws `RT_CHANNEL_INVALID`. */
export function checkChannel (channel: unknown): string {
  const problem = problemOf(channel, MAX_CHANNEL_BYTES)
  if (problem !== undefined) throw new RealtimeError('RT_CHANNEL_INVALID', problem)
  return channel as string
}

/** Returns the channel of a chat. Throws `RT_CHAT_ID_INVALID`. */
export function getChatChannel (chatId: string): string {
  const problem = problemOf(chatId, MAX_CHAT_ID_BYTES)
  if (problem !== undefined) throw new RealtimeError('RT_CHAT_ID_INVALID', problem)
  return CHAT + chatId
}

/** Validates an idempotency key and returns it unchanged. Throws `RT_IDEMPOTENCY_KEY_INVALID`. */
export function checkIdempotencyKey (key: unknown): string | undefined {
  if (key === undefined) return undefined
  if (typeof key === 'string' && key !== '' && key.length <= MAX_KEY_LENGTH && key.isWellFormed()) return key
  throw new RealtimeError(
    'RT_IDEMPOTENCY_KEY_INVALID',
    typeof key === 'string' && key !== '' ? `${key.length} or a lone surrogate` : kindOf(key)
  )
}

/** Throws `RT_IDEMPOTENCY_KEY_INVALID` for a key that only this package uses. */
export function refuseOwnKey (key: unknown): void {
  if (typeof key !== 'string' || !key.startsWith(OWN_KEY)) return
  throw new RealtimeError(
    'RT_IDEMPOTENCY_KEY_INVALID', `one that begins with "${OWN_KEY}", which is reserved for this package`
  )
}

/**
 * Returns why a name is invalid, or `undefined`. Lone surrogates are refused, since UTF-8 encodes all of them to the
 * same bytes: different chats would share a channel.
 */
function problemOf (name: unknown, maxBytes: number): string | undefined {
  if (typeof name !== 'string' || name === '') return kindOf(name)
  if (!name.isWellFormed()) return 'a lone surrogate in it'
  const bytes = Buffer.byteLength(name)
  return bytes > maxBytes ? `${bytes} bytes` : undefined
}

/**
 * Event names that apps must not publish:
 *
 * - `stream`: nothing can publish them. A stream writes them itself (`ready`, `reset`, `refused`), or an EventSource
 *   dispatches them itself: a published `error` would call every browser's `onerror`.
 * - `own`: only this package publishes them on the channel of a chat. Otherwise a client could forge presence or the
 *   end of a bot message.
 */
const reserved: Readonly<Record<ReservedEventType, 'stream' | 'own'>> = {
  ready: 'stream',
  reset: 'stream',
  refused: 'stream',
  error: 'stream',
  open: 'stream',
  bot_message: 'own',
  presence: 'own',
  typing: 'own'
}

function reservation (type: string): 'stream' | 'own' | undefined {
  // The cast is safe: `type` is one of the table's keys.
  return Object.hasOwn(reserved, type) ? reserved[type as ReservedEventType] : undefined
}

/** Whether an SSE frame can carry this event name and it has no special meaning there. */
export function isEventName (name: unknown): name is string {
  return typeof name === 'string' && NAME.test(name) && reservation(name) !== 'stream'
}

/** Whether apps must not publish chat events under this name. */
export function isReserved (type: unknown): boolean {
  return typeof type === 'string' && reservation(type) !== undefined
}

/** Throws `RT_EVENT_TYPE_INVALID` unless apps may publish chat events under this name. */
export function checkEventType (type: unknown): void {
  if (!isEventName(type) || isReserved(type)) {
    throw new RealtimeError('RT_EVENT_TYPE_INVALID', typeof type === 'string' ? `"${type.slice(0, 64)}"` : kindOf(type))
  }
}

/** Returns the SSE event name of a published value: its `type` if that is a valid name, otherwise `message`. */
export function eventName (data: unknown): string {
  const type = typeOf(data)
  return isEventName(type) ? type : 'message'
}

/**
 * Returns the `type` of a published value, if it has one. Never throws: an error of a getter or a Proxy surfaces when
 * the whole value is serialized.
 */
export function typeOf (data: unknown): unknown {
  try {
    return typeof data === 'object' && data !== null && 'type' in data ? data.type : undefined
  } catch {
    return undefined
  }
}
