import { RealtimeError, kindOf } from '../errors.ts'

const MAX_CHANNEL_BYTES = 4096
const MAX_CHAT_ID_BYTES = 1024

/** Returns a channel or pattern as it is. Throws `RT_CHANNEL_INVALID`. */
export function checkChannel (channel: unknown): string {
  const wrong = whyNot(channel, MAX_CHANNEL_BYTES)
  if (wrong !== undefined) throw new RealtimeError('RT_CHANNEL_INVALID', wrong)
  return channel as string
}

/** The channel of a chat. Throws `RT_CHAT_ID_INVALID`. */
export function getChatChannel (chatId: string): string {
  const wrong = whyNot(chatId, MAX_CHAT_ID_BYTES)
  if (wrong !== undefined) throw new RealtimeError('RT_CHAT_ID_INVALID', wrong)
  return `chat:${chatId}`
}

/** A lone surrogate is refused, since in UTF-8 it turns into the same bytes as every other one: chats would mix. */
function whyNot (name: unknown, most: number): string | undefined {
  if (typeof name !== 'string' || name === '') return kindOf(name)
  if (!name.isWellFormed()) return 'a lone surrogate in it'
  const bytes = Buffer.byteLength(name)
  return bytes > most ? `${bytes} bytes` : undefined
}
