import { whenAborted } from './listeners.ts'
import type { ChatSubscriptions } from './stream-event.ts'

export type Headers = Record<string, string>

export interface RequestOptions {
  /** The prefix of the server's routes. */
  url: string
  headers: Headers | (() => Headers | Promise<Headers>) | undefined
  fetch: typeof fetch
}

/** Paths that every URL parser would change into another one. */
const CHANGED_PATH = /\/\.\.?([/?]|$)/

/** Returns the address of the stream of some chats, after the prefix of the routes. */
export function pathOf (subscriptions: ChatSubscriptions): string {
  const query = rewindsOf(subscriptions).map((rewind) => `rewind=${rewind}`)
  const chats = subscriptions.map(([chatId]) => encodeURIComponent(chatId))
  const path = `/chats/${chats.join('/')}/`
  // Fastify accepts 100 characters of a path parameter by default (`maxParamLength`).
  const isShort = chats.length === 1 && path.length < 109 && !CHANGED_PATH.test(path)
  if (!isShort) query.push(...chats.map((chat) => `chat=${chat}`))
  return `${isShort ? path : '/chats/'}events?${query.join('&')}`
}

/** Returns the `Last-Event-ID` of a request, with a part for each chat; `undefined` if no chat has a position. */
export function positionHeader (subscriptions: ChatSubscriptions): Headers {
  // The app may pass any string as an id: it must not break the header, nor the positions of the other chats. `!` is an
  // invalid position, which the server answers with a reset. An empty part means that there is no position yet.
  const ids = subscriptions.map(([, { id = '' }]) => /^[\w-]{0,64}$/.test(id) ? id : '!')
  return ids.join('') ? { 'last-event-id': ids.join('.') } : {}
}

/** The `rewind` of each chat, or one value for all. The server ignores the value of a chat that has a position. */
function rewindsOf (subscriptions: ChatSubscriptions): number[] {
  const rewinds = subscriptions.map(([, { id, rewind = 0 }]) => id ? 0 : rewind)
  const max = Math.max(...rewinds)
  const isShared = subscriptions.every(([, { id }], index) => id || rewinds[index] === max)
  return max > 0 ? isShared ? [max] : rewinds : []
}

/**
 * Requests a path after the prefix of the routes, with the headers of the app. Rejects once the signal aborts. Responds
 * with a network error, without a request, if a part of the path is `.` or `..`: every URL parser would change it into
 * another path.
 */
export async function request (
  { headers, url, fetch }: RequestOptions, path: string, signal: AbortSignal, own?: Headers
): Promise<Response> {
  if (CHANGED_PATH.test(path)) return Response.error()
  // The `headers` function may hang, so the signal ends it, too.
  const given = await Promise.race([
    typeof headers === 'function' ? headers() : headers,
    new Promise<never>((_resolve, reject) => whenAborted(signal, reject))
  ])
  return await fetch(url + path, {
    headers: { ...given, ...own },
    // Firefox delays a second request for a URL until the first response is in its cache, which never happens for a
    // stream.
    cache: 'no-store',
    signal
  } as RequestInit) // Node's type lacks `cache`, since Node has no cache.
}
