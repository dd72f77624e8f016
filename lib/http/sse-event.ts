import { RealtimeError, kindOf } from '../errors.ts'
import { toJson } from '../core/json.ts'
import type { Connection } from '../sse/connection.ts'
import { encodeFrame } from '../sse/frame.ts'

/** One event of a custom stream. */
export interface SseEvent {
  /** Any JSON value. The client reads it with `JSON.parse`. */
  data: unknown
  /** The event name that the client listens to: `^[\w.-]{1,64}$`. @default 'message' */
  event?: string | undefined
  /** The id that the client sends as `Last-Event-ID` when it reconnects. Not empty, no line breaks. @default none */
  id?: string | undefined
  /** Milliseconds after which the client reconnects. @default the value set before */
  retry?: number | undefined
}

export function encodeEvent (event: SseEvent): Buffer {
  if (typeof event !== 'object' || event === null) {
    throw new RealtimeError('RT_SSE_FIELD_INVALID', `an event must be an object with data, got ${kindOf(event)}`)
  }
  return encodeFrame({ id: event.id, event: event.event, retry: event.retry, json: toJson(event.data) })
}

export function iteratorOf<T> (events: AsyncIterable<T>): AsyncIterator<T> {
  if (typeof (events as Partial<AsyncIterable<T>> | null | undefined)?.[Symbol.asyncIterator] === 'function') {
    return events[Symbol.asyncIterator]()
  }
  throw new RealtimeError(
    'RT_SSE_FIELD_INVALID',
    `stream() takes an async iterable of events, got ${kindOf(events)}`
  )
}

/** Resolves with the next event, or with the end once the client disconnects, even if the iterable hangs. */
export function nextOrClosed<T> (
  iterator: AsyncIterator<T>, connection: Connection
): Promise<IteratorResult<T, unknown>> {
  if (connection.closed) return Promise.resolve({ done: true, value: undefined })
  return new Promise((resolve, reject) => {
    const removeListener = connection.onClose(() => resolve({ done: true, value: undefined }))
    iterator.next().then(resolve, reject).finally(removeListener)
  })
}
