import type { ChatEvent, ChatEventInput } from '../event-types.ts'
import { mustBeObject, notJson } from '../core/json.ts'
import { checkEventType } from '../pubsub/names.ts'

/** Builds the event that handlers and browsers get. Throws `RT_EVENT_TYPE_INVALID` or `RT_PAYLOAD_INVALID`. */
export function buildEvent (chatId: string, event: ChatEventInput): ChatEvent {
  const built = copyWithChatId(chatId, event)
  // Check the copy: a getter may return another value the next time.
  const { type, message, action } = built as { type: unknown, message?: unknown, action?: unknown }
  checkEventType(type)
  // JSON would silently leave out an undefined `message` or `action`.
  if (type === 'message') mustBeObject('message', message)
  if (type === 'bot_action') mustBeObject('action', action)
  return built
}

function copyWithChatId (chatId: string, event: ChatEventInput): ChatEvent {
  try {
    // A spread is many times slower, but only a spread copies `__proto__` as a plain field.
    return Object.hasOwn(Object(event), '__proto__') ? { ...event, chatId } : Object.assign({}, event, { chatId })
  } catch {
    throw notJson('one whose getter or Proxy throws')
  }
}
