import type { Frame } from './sse-parser.ts'
import type { StreamEvent } from './stream-event.ts'
import { isObject } from './shape.ts'

/** An event of one of the chats of a stream. */
export interface RoutedEvent {
  /** The index of the chat in the list of the request; -1 if it is not one of them. */
  index: number
  event: string
  data: StreamEvent['data']
  /** The chat's part of the event id. Missing or empty without a position. */
  part: string | undefined
}

/** Control events of the stream. Their data names the chat. */
const CONTROL_EVENTS = new Set(['ready', 'reset', 'refused'])

/** Finds out to which chat each frame of a stream belongs. */
export class FrameRouter {
  readonly #chatIds: string[]
  /** The parts of the last event id. */
  #parts: string[] = []

  constructor (chatIds: string[]) {
    this.#chatIds = chatIds
  }

  route ({ event = 'message', id, data: json }: Frame): RoutedEvent {
    const data = parse(json)
    const parts = id?.split('.') ?? []
    // An event belongs to the chat whose part of the event id has changed, whatever its data says. If no part has
    // changed, its data names the chat.
    const changed = parts.findIndex((part, index) => part !== this.#parts[index])
    const namedInData = this.#chatIds.findIndex((chatId) => chatId === data?.chatId)
    const index = this.#chatIds.length === 1
      ? 0
      : changed === -1 || (CONTROL_EVENTS.has(event) && namedInData !== -1) ? namedInData : changed
    if (parts.length > 0) this.#parts = parts
    return { index, event, data, part: parts[index] }
  }
}

/** Parses the JSON object of an event. Returns `undefined` for anything else. */
function parse (json: string): StreamEvent['data'] {
  try {
    const data: unknown = JSON.parse(json)
    return isObject(data) ? data : undefined
  } catch {
    return undefined
  }
}
