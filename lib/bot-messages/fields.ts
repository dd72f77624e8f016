import type { BotMessage, ChatEvent } from '../event-types.ts'
import { RealtimeError, kindOf } from '../errors.ts'

const PREFIX = 'answer:'

/** The field of a chat's state that holds an answer while it is streamed, with a lease that its producer renews. */
export function fieldOf (id: string): string {
  return PREFIX + id
}

/** The id of the answer that a field holds, if it is one. */
export function botMessageIdOf (field: string): string | undefined {
  return field.startsWith(PREFIX) ? field.slice(PREFIX.length) : undefined
}

/** The key that an answer is finalized with, so that it ends once. */
export function endKeyOf (id: string): string {
  return `bot_message:${id}`
}

/** A piece of an answer, or all of it. */
export function botMessage (chatId: string, message: BotMessage): ChatEvent<'bot_message'> {
  return { type: 'bot_message', chatId, ...message }
}

/** Returns an answer's id as it is. Throws `RT_BOT_MESSAGE_ID_INVALID`. */
export function checkBotMessageId (id: unknown): string {
  if (typeof id === 'string' && id !== '' && id.length <= 128 && id.isWellFormed()) return id
  throw new RealtimeError('RT_BOT_MESSAGE_ID_INVALID', typeof id === 'string' && id !== '' ? `${id.length} or a lone surrogate` : kindOf(id))
}
