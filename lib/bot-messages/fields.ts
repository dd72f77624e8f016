import type {
  BotMessageBody, BotMessageFormat, BotMessageMeta, BotMessagePiece, ChatEvent
} from '../event-types.ts'
import { RealtimeError, kindOf } from '../errors.ts'
import { budgets } from '../core/budgets.ts'
import { parseJson, toJson } from '../core/json.ts'
import type { Finalization } from '../pubsub/state-store.ts'
import { chunksJson, parseChunks } from './chunks.ts'

/** Fixed by docs/protocol.md: instances of other versions read these fields, too. */
const PREFIX = 'answer:'

/** The field of a chat's state that holds a bot message while it is streamed. Its producer renews the lease. */
export function fieldOf (id: string): string {
  return PREFIX + id
}

/** The id of the bot message in a field. Returns `undefined` for any other field. */
export function botMessageIdOf (field: string): string | undefined {
  return field.startsWith(PREFIX) ? field.slice(PREFIX.length) : undefined
}

/** The idempotency key of the final event, so that a bot message ends once. */
export function endKeyOf (id: string): string {
  return `bot_message:${id}`
}

/** Ids that cannot be a part of a path: URLs are normalized, also if the dots are percent-encoded. */
const DOTS = ['.', '..']

/** Returns the id of a bot message unchanged if it is valid. Throws `RT_BOT_MESSAGE_ID_INVALID`. */
export function checkBotMessageId (id: unknown): string {
  if (typeof id !== 'string' || id === '') throw new RealtimeError('RT_BOT_MESSAGE_ID_INVALID', kindOf(id))
  if (DOTS.includes(id)) throw new RealtimeError('RT_BOT_MESSAGE_ID_INVALID', `"${id}"`)
  if (id.length <= 128 && id.isWellFormed()) return id
  throw new RealtimeError('RT_BOT_MESSAGE_ID_INVALID', `${id.length} or a lone surrogate`)
}

/** What is known of a bot message from its start on. It is the header of its draft. */
export interface BotMessageHeader {
  format: BotMessageFormat
  /** What the chunks are. */
  protocol?: string | undefined
  meta?: (BotMessageMeta & object) | undefined
  /** When it was started, in milliseconds since 1970, by the clock of its producer. */
  startedAt: number
}

const NO_HEADER: BotMessageHeader = { format: 'text', startedAt: 0 }

/** Parses a header. That of a draft that Redis has lost is empty until its producer writes it again. */
export function parseHeader (json: string): BotMessageHeader {
  return json === '' ? NO_HEADER : parseJson(json) as BotMessageHeader // Only this package writes headers.
}

/** Returns the content of a draft as a text or as chunks. */
export function bodyOf (format: BotMessageFormat, content: string): BotMessageBody {
  return format === 'text' ? { text: content } : { chunks: parseChunks(content) }
}

/** Returns an event with all of a bot message, or with a piece of it. */
export function botMessage (chatId: string, piece: BotMessagePiece): ChatEvent<'bot_message'> {
  return { type: 'bot_message', chatId, ...piece }
}

/** Returns the JSON of an event with a piece of a bot message in progress. Chunks are not parsed. */
export function pieceJson (
  chatId: string, id: string, { format, meta }: BotMessageHeader, at: number, content: string
): string {
  const head = JSON.stringify({ type: 'bot_message', chatId, id, status: 'streaming', meta, at }).slice(0, -1)
  const body = format === 'text' ? `"text":${JSON.stringify(content)}` : `"chunks":${chunksJson(content)}`
  return `${head},${body}}`
}

/** The last event of a bot message. */
export type FinalEvent = ChatEvent<'bot_message'>

/** The final status of a bot message. */
export type BotMessageStatus = Exclude<BotMessagePiece['status'], 'streaming'>

/** How a bot message ends. */
export type Ending = Pick<BotMessagePiece, 'extra' | 'error'> & { status: BotMessageStatus }

/** The content of a bot message that ends. `joined` is `undefined` if only its length is known. */
export interface EndingContent { length: number, joined: string | undefined }

/** The most bytes of JSON of a final event that repeats the content. */
export function mostRepeated (maxPayloadBytes: number): number {
  return Math.min(maxPayloadBytes, budgets.piece)
}

/**
 * Returns the final event of a bot message: with its whole content if that fits into `maxBytes` of JSON, otherwise with
 * its length. Throws `RT_PAYLOAD_INVALID` if `extra` cannot be JSON.
 */
export function finalEvent (
  chatId: string, id: string, { format, meta }: BotMessageHeader, ending: Ending,
  { length, joined }: EndingContent, maxBytes: number
): FinalEvent {
  const event = (at: number, content: string): FinalEvent => {
    const { status, ...rest } = ending
    const head = { id, status, ...meta !== undefined && { meta }, at }
    return botMessage(chatId, { ...head, ...bodyOf(format, content), ...rest })
  }
  const whole = joined === undefined ? undefined : event(0, joined)
  return whole !== undefined && Buffer.byteLength(toJson(whole)) <= maxBytes ? whole : event(length, '')
}

/**
 * Throws `RT_BOT_MESSAGE_EXTRA_TOO_LARGE` if a final event takes more than a piece may. Only `extra` can be so large:
 * the id and `meta` are limited, and a content or an `error` that does not fit is left out.
 */
export function checkFinalEvent (event: FinalEvent): void {
  const bytes = Buffer.byteLength(toJson(event))
  if (bytes <= budgets.piece) return
  throw new RealtimeError('RT_BOT_MESSAGE_EXTRA_TOO_LARGE', `${bytes} of at most ${budgets.piece}`)
}

/**
 * Returns the request that replaces a bot message by its final event. Its content is kept if the event does not repeat
 * it. Without an `owner`, the lease must have expired.
 */
export function finalizationOf (id: string, event: FinalEvent, owner?: string): Finalization {
  return { field: fieldOf(id), owner, event, keepContent: event.at > 0, key: endKeyOf(id) }
}
