import { channel, tracingChannel } from 'node:diagnostics_channel'

/**
 * The message on the tracing channel `fastify-realtime:publish`. Subscribers may set `traceparent` in `start`; it is
 * sent with the event.
 */
export interface PublishTrace {
  /** The channel that the event is published to. */
  channel: string
  /** The event's name. */
  event: string
  /** A W3C `traceparent`. */
  traceparent: string | undefined
}

/**
 * The message on the channel `fastify-realtime:deliver`. It is published once for each event of a chat, on each
 * instance that follows the chat.
 */
export interface DeliverTrace {
  /** The chat. */
  chatId: string
  /** The event's name. */
  event: string
  /** The event id, which is its position in the chat's log. Absent for events that are not in the log. */
  id: string | undefined
  /** The W3C `traceparent` that the event was published with. */
  traceparent: string | undefined
  /** The number of streams that the event is written to. */
  streams: number
}

/** The tracing channel of `tracePublish`. */
export const publishing = tracingChannel<unknown, PublishTrace>('fastify-realtime:publish')

/** A `DeliverTrace` is published to it if it has subscribers. */
export const delivering = channel('fastify-realtime:deliver')

/**
 * Reports a publish to the tracing channel, whose subscribers may replace the `traceparent` when it starts. `publish`
 * must not throw synchronously, since an exception would not emit `asyncEnd`.
 */
export function tracePublish<T> (trace: PublishTrace, publish: (traceparent: unknown) => Promise<T>): Promise<T> {
  return publishing.tracePromise(() => publish(trace.traceparent), trace)
}

/** Returns a valid `traceparent`. An invalid one is ignored, as the W3C specification requires. */
export function checkTraceparent (traceparent: unknown): string | undefined {
  return typeof traceparent === 'string' && TRACEPARENT.test(traceparent) ? traceparent : undefined
}

const TRACEPARENT = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/
