import type { StreamEvent } from './stream-event.ts'
import { isObject, isText } from './shape.ts'

/** The server refused a chat, or all of them. It is not asked again before the chat is opened anew, or `client.reconnect()`. */
export interface Refusal {
  message: string
  /** The status of HTTP. */
  status: number
  /**
   * The code that the server gave, such as `RT_FORBIDDEN`; or one of the client: `RT_NOT_EVENT_STREAM` for a 200 that is no event stream,
   * `RT_EVENT_TOO_LARGE` for an event of more than 16 million characters.
   */
  code?: string | undefined
  /** The chat that was refused. Absent where it holds for a connection, whatever chats it carries. */
  chatId?: string | undefined
}

/** Reads why the server refused. */
export async function refusalOf (response: Response): Promise<Refusal> {
  const { status } = response
  // A proxy may answer, too, with anything.
  const body: unknown = await response.json().catch(() => undefined)
  const { message, code } = isObject(body) ? body : {}
  return { message: isText(message) ? message : `The server answered ${status}`, status, code: textOf(code) }
}

/** Reads why the server left one of several chats out: the data of an event `refused`. */
export function refusalIn (data: StreamEvent['data']): Refusal {
  const code = textOf(data?.code)
  return { message: 'The server refused this chat', status: /^RT_(CHAT_ID|REWIND)_/.test(code ?? '') ? 400 : 403, code }
}

function textOf (value: unknown): string | undefined {
  return isText(value) ? value : undefined
}

/** Whether the server refused because there were too many chats in one request. Fewer may be allowed. */
export function isTooMany ({ status, code }: Refusal): boolean {
  return status === 414 || status === 431 || code === 'RT_TOO_MANY_CHATS'
}

/** How many chats to ask for, where `count` were too many. The server's message says it; where it does not, half of them. */
export function mostOf ({ code, message }: Refusal, count: number): number {
  const said = code === 'RT_TOO_MANY_CHATS' ? Number(/\d+/.exec(message)) : 0
  return said > 0 && said < count ? said : Math.floor(count / 2)
}

/** Why a response with status 200 is not read, if it is no event stream. */
export function misfitOf ({ headers, status }: Response): Refusal | undefined {
  const type = headers.get('content-type') ?? 'no content type'
  if (/^text\/event-stream\b/i.test(type)) return undefined
  return { message: `Expected an event stream, got ${type}. Check the client's url.`, status, code: 'RT_NOT_EVENT_STREAM' }
}

export const TOO_LARGE: Refusal = { message: 'An event takes more than 16 million characters.', status: 200, code: 'RT_EVENT_TOO_LARGE' }
