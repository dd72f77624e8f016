import type { StreamEvent } from './stream-event.ts'
import { textOf } from './shape.ts'

/**
 * The server refused a chat, or all of them. The client does not request the chat again until it is opened again, or
 * until `client.reconnect()`.
 */
export interface Refusal {
  message: string
  /** The HTTP status. */
  status: number
  /**
   * The error code of the server, such as `RT_FORBIDDEN`, or one of the client: `RT_NOT_EVENT_STREAM` for a 200
   * response that is not an event stream, `RT_EVENT_TOO_LARGE` for an event of more than 16 million characters.
   */
  code?: string | undefined
  /** The refused chat. Absent if the whole connection was refused, independent of its chats. */
  chatId?: string | undefined
}

/** Reads the reason from a response that refuses the request. */
export async function refusalOfResponse (response: Response): Promise<Refusal> {
  const { status } = response
  // The response may come from a proxy and have any body.
  const { message, code } = Object(await response.json().catch(() => {})) as Record<string, unknown>
  return { message: textOf(message) ?? `Status ${status}`, status, code: textOf(code) }
}

/** Reads the data of an event `refused`: the reason why the server left out one of several chats. */
export function refusalOfEvent (data: StreamEvent['data']): Refusal {
  const code = textOf(data?.code)
  // Without a code, the pattern is tested against the text `undefined`.
  return { message: 'Refused', status: /^RT_(CHAT_ID|REWIND)_/.test(code as string) ? 400 : 403, code }
}

/**
 * If the server refused `count` chats since they were too many for one request: how many to request instead. That is
 * the limit in the server's message, or else half of them.
 */
export function limitOf ({ status, code, message }: Refusal, count: number): number | undefined {
  const isLimit = code === 'RT_TOO_MANY_CHATS'
  if (count < 2 || !(isLimit || status === 414 || status === 431)) return undefined
  const limit = isLimit ? Number(/\d+/.exec(message)) : 0
  return limit && limit < count ? limit : count >> 1
}

/** The refusal for a response with status 200 that is not an event stream. */
export function notEventStreamOf ({ headers }: Response): Refusal | undefined {
  const type = headers.get('content-type') ?? 'none'
  if (!/^text\/event-stream\b/i.test(type)) return problemOf('RT_NOT_EVENT_STREAM', `No event stream: ${type}`)
}

/** The refusal of a whole connection: a retry would have the same result. */
export function problemOf (code: string, message: string): Refusal {
  return { message, status: 200, code }
}
