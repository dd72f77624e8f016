import type { Frame } from './sse-parser.ts'
import { expandPart } from './event-id.ts'
import type { ChatSubscriptions, StreamEvent } from './stream-event.ts'

/** An event of one of the chats of a stream. */
export interface RoutedEvent {
  /** The chat of the request; absent if it is not one of them. */
  chat: ChatSubscriptions[number] | undefined
  event: string
  data: StreamEvent['data']
  /** The event id of the chat; absent without a position. */
  id: string | undefined
}

/** Returns a function that finds out to which chat of a stream a frame belongs. */
export function routeFrames (chats: ChatSubscriptions): (frame: Frame) => RoutedEvent {
  // The parts of the last event id.
  let last: string[] = []
  return ({ event = 'message', id, data: json }) => {
    const data = parse(json)
    const parts = id?.split('.') ?? []
    // An event belongs to the chat whose part of the event id has changed, whatever its data says. If no part has
    // changed, its data names the chat. The data of a control event always does.
    const changed = parts.findIndex((part, index) => part !== last[index])
    const namedInData = chats.findIndex(([chatId]) => chatId === data?.chatId)
    const index = chats.length === 1
      ? 0
      : changed < 0 || (/^(ready|reset|refused)$/.test(event) && namedInData >= 0) ? namedInData : changed
    if (parts.length) last = parts
    const part = parts[index]
    return { chat: chats[index], event, data, id: part ? expandPart(part) : undefined }
  }
}

/** Parses the JSON object of an event. Returns `undefined` for anything else. */
function parse (json: string): StreamEvent['data'] {
  try {
    return /^\s*{/.test(json) ? JSON.parse(json) : undefined
  } catch {
    return undefined
  }
}
