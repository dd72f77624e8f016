import { whenAborted } from './listen.ts'
import type { ChatSubscriptions } from './stream-event.ts'

export type Headers = Record<string, string>

export interface RequestOptions {
  /** The prefix of the server's routes. */
  url: string
  headers: Headers | (() => Headers | Promise<Headers>) | undefined
  fetch: typeof fetch
}

/**
 * Chat ids that can be a path parameter: Fastify accepts 100 characters by default (`maxParamLength`), and `.` and `..`
 * would mean another path.
 */
const PATH_PARAMETER = /^(?!\.\.?$).{1,100}$/
/** Strings that are safe as one part of `Last-Event-ID`. An empty string means that there is no position yet. */
const LAST_EVENT_ID = /^[\w-]{0,64}$/

/** Returns the address of the stream of some chats, after the prefix of the routes. */
export function pathOf (subscriptions: ChatSubscriptions): string {
  const query = rewindsOf(subscriptions).map((rewind) => `rewind=${rewind}`)
  const chats = subscriptions.map(([chatId]) => encodeURIComponent(chatId))
  const isShort = chats.length === 1 && PATH_PARAMETER.test(chats[0] as string)
  if (!isShort) query.push(...chats.map((chat) => `chat=${chat}`))
  return `/chats/${isShort ? `${chats[0]}/` : ''}events?${query.join('&')}`
}

/** Returns the `Last-Event-ID` of a request, with a part for each chat; `undefined` if no chat has a position. */
export function positionHeader (subscriptions: ChatSubscriptions): Headers {
  // The app may pass any string as an id: it must not break the header, nor the positions of the other chats. `!` is an
  // invalid position, which the server answers with a reset.
  const ids = subscriptions.map(([, { id = '' }]) => LAST_EVENT_ID.test(id) ? id : '!')
  return ids.some((id) => id !== '') ? { 'last-event-id': ids.join('.') } : {}
}

/** The `rewind` of each chat, or one value for all. The server ignores the value of a chat that has a position. */
function rewindsOf (subscriptions: ChatSubscriptions): number[] {
  const rewinds = subscriptions.map(([, { id, rewind = 0 }]) => id ? 0 : rewind)
  const max = Math.max(...rewinds)
  const isShared = subscriptions.every(([, { id }], index) => id || rewinds[index] === max)
  return max === 0 ? [] : isShared ? [max] : rewinds
}

/** Requests a path after the prefix of the routes, with the headers of the app. Rejects once the signal aborts. */
export async function request (
  { headers, url, fetch }: RequestOptions, path: string, signal: AbortSignal, own?: Headers
): Promise<Response> {
  // The `headers` function may hang, so the signal ends it, too.
  const given = typeof headers === 'function'
    ? await Promise.race([
      headers(),
      new Promise<never>((_resolve, reject) => whenAborted(signal, reject))
    ])
    : headers
  return await fetch(url + path, {
    headers: { ...given, ...own },
    // Firefox delays a second request for a URL until the first response is in its cache, which never happens for a
    // stream.
    cache: 'no-store',
    signal
  } as RequestInit) // Node's type lacks `cache`, since Node has no cache.
}
