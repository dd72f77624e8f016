import { sessionOf, type RawResponse } from './connection.ts'

/** A socket or an HTTP/2 session. For the session, @types/node does not declare `timeout`. */
interface IdleConnection { timeout?: number, setTimeout (ms: number): unknown }

/** By connection: the number of open streams, and the timeout to restore after the last one. */
const suspended = new WeakMap<object, { streams: number, timeout: number }>()

/**
 * Disables the idle timeout of a stream's connection, if it has one. It is enabled again when the response is closed:
 * the last stream of the connection does so.
 */
export function suspendIdleTimeout (raw: RawResponse): void {
  const connection = (sessionOf(raw) ?? raw.socket) as IdleConnection
  let state = suspended.get(connection)
  if (state === undefined) {
    const timeout = (connection as IdleConnection | null)?.timeout
    // By default, a server has no such timeout. The socket of a request made by `app.inject` never has one.
    if (timeout === undefined || timeout === 0) return
    suspended.set(connection, state = { streams: 0, timeout })
    connection.setTimeout(0)
  }
  const { timeout } = state
  state.streams++
  raw.on('close', () => {
    if (--state.streams > 0) return
    suspended.delete(connection)
    // Over HTTP/1.1, Node has already set the keep-alive timeout by now; keep that one.
    if (connection.timeout === 0) connection.setTimeout(timeout)
  })
}
