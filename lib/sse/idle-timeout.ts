import { sessionOf, type RawResponse } from './connection.ts'

/** A socket, or a session of HTTP/2. Of the latter @types/node does not know `timeout`. */
interface Idling { timeout?: number, setTimeout (ms: number): unknown }

/** How many streams a connection has, and its timeout without them. */
const suspended = new WeakMap<object, { streams: number, timeout: number | undefined }>()

/** Keeps the connection of a stream from counting as idle, until the last stream on it is closed. */
export function suspendIdleTimeout (raw: RawResponse): void {
  const connection = (sessionOf(raw) ?? raw.socket) as Partial<Idling> | null
  // The socket of an injected request has none.
  if (typeof connection?.setTimeout !== 'function') return
  const idling = connection as Idling
  const state = suspended.get(idling) ?? { streams: 0, timeout: idling.timeout }
  suspended.set(idling, state)
  state.streams++
  idling.setTimeout(0)
  raw.once('close', () => {
    if (--state.streams > 0) return
    suspended.delete(idling)
    // Over HTTP/1.1 Node has set one by now where connections are kept alive.
    if (idling.timeout === 0 && state.timeout !== undefined) idling.setTimeout(state.timeout)
  })
}
