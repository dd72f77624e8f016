import { sessionOf, type RawResponse } from './connection.ts'

/** A socket or an HTTP/2 session. For the session, @types/node does not declare `timeout`. */
interface IdleConnection { timeout?: number, setTimeout (ms: number): unknown }

/** By connection: the number of open streams, and the timeout to restore after the last one. */
const suspended = new WeakMap<object, { streams: number, timeout: number | undefined }>()

/** Disables the idle timeout of a stream's connection until the last stream on it is closed. */
export function suspendIdleTimeout (raw: RawResponse): void {
  const candidate = (sessionOf(raw) ?? raw.socket) as Partial<IdleConnection> | null
  // The socket of a request made by `app.inject` has no `setTimeout`.
  if (typeof candidate?.setTimeout !== 'function') return
  const connection = candidate as IdleConnection
  const state = suspended.get(connection) ?? { streams: 0, timeout: connection.timeout }
  suspended.set(connection, state)
  state.streams++
  connection.setTimeout(0)
  raw.on('close', () => {
    if (--state.streams > 0) return
    suspended.delete(connection)
    // Over HTTP/1.1, Node has already set the keep-alive timeout by now; keep that one.
    if (connection.timeout === 0 && state.timeout !== undefined) connection.setTimeout(state.timeout)
  })
}
