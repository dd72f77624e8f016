import { sessionOf, type RawResponse } from './connection.ts'

/** A socket or an HTTP/2 session. For the session, @types/node does not declare `timeout`. */
interface Idling { timeout?: number, setTimeout (ms: number): unknown }

/** By connection: the number of open streams, and the timeout to restore after the last one. */
const suspended = new WeakMap<object, { streams: number, timeout: number | undefined }>()

/** Disables the idle timeout of a stream's connection until the last stream on it is closed. */
export function suspendIdleTimeout (raw: RawResponse): void {
  const connection = (sessionOf(raw) ?? raw.socket) as Partial<Idling> | null
  // The socket of an injected request has no `setTimeout`.
  if (typeof connection?.setTimeout !== 'function') return
  const idling = connection as Idling
  const state = suspended.get(idling) ?? { streams: 0, timeout: idling.timeout }
  suspended.set(idling, state)
  state.streams++
  idling.setTimeout(0)
  raw.once('close', () => {
    if (--state.streams > 0) return
    suspended.delete(idling)
    // Over HTTP/1.1, Node has already set the keep-alive timeout by now; keep that one.
    if (idling.timeout === 0 && state.timeout !== undefined) idling.setTimeout(state.timeout)
  })
}
