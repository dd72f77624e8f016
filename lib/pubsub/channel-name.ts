import { bytesOver } from '../core/byte-length.ts'
import { RealtimeError, kindOf } from '../errors.ts'

/** Prefix of the channels of chats. */
export const CHAT = 'chat:'
/** Prefix of the channels by which instances control each other. */
export const CONTROL = 'fastify-realtime:'

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

/**
 * Returns why a name is invalid, or `undefined`. Lone surrogates are refused, since UTF-8 encodes all of them to the
 * same bytes: different chats would share a channel.
 */
function problemOf (name: unknown, maxBytes: number): string | undefined {
  if (typeof name !== 'string' || name === '') return kindOf(name)
  if (!name.isWellFormed()) return 'a lone surrogate in it'
  const bytes = bytesOver(name, maxBytes)
  return bytes === undefined ? undefined : `${bytes} bytes`
}
