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

const publishing = tracingChannel<unknown, PublishTrace>('fastify-realtime:publish')
const delivering = channel('fastify-realtime:deliver')

/**
 * Calls `publish` with the valid `traceparent` of the event. Reports the call to the tracing channel if it has
 * subscribers, which may replace the `traceparent`. `publish` must not throw
 * synchronously, since an exception would not emit `asyncEnd`.
 */
export function tracePublish<T> (
  describe: () => PublishTrace,
  traceparent: unknown,
  publish: (traceparent: string | undefined) => Promise<T>
): Promise<T> {
  if (!publishing.start.hasSubscribers && !publishing.asyncEnd.hasSubscribers) {
    return publish(checkTraceparent(traceparent))
  }
  const trace = describe()
  return publishing.tracePromise(() => publish(checkTraceparent(trace.traceparent)), trace)
}

/** Reports a delivery if the channel has subscribers. */
export function traceDeliver (describe: () => DeliverTrace): void {
  if (delivering.hasSubscribers) delivering.publish(describe())
}

/** Returns a valid `traceparent`. An invalid one is ignored, as the W3C specification requires. */
export function checkTraceparent (traceparent: unknown): string | undefined {
  return typeof traceparent === 'string' && TRACEPARENT.test(traceparent) ? traceparent : undefined
}

const TRACEPARENT = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/
