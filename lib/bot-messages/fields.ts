import type { BotMessage, ChatEvent } from '../event-types.ts'
import { RealtimeError, kindOf } from '../errors.ts'

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

/** An event with a piece of a bot message, or all of it. */
export function botMessage (chatId: string, message: BotMessage): ChatEvent<'bot_message'> {
  return { type: 'bot_message', chatId, ...message }
}

/** Returns the id of a bot message unchanged if it is valid. Throws `RT_BOT_MESSAGE_ID_INVALID`. */
export function checkBotMessageId (id: unknown): string {
  if (typeof id === 'string' && id !== '' && id.length <= 128 && id.isWellFormed()) return id
  throw new RealtimeError(
    'RT_BOT_MESSAGE_ID_INVALID',
    typeof id === 'string' && id !== '' ? `${id.length} or a lone surrogate` : kindOf(id)
  )
}
