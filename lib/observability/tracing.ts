import { channel, tracingChannel } from 'node:diagnostics_channel'
import { promiseTry } from '../core/promise-try.ts'

/** What subscribers of the tracing channel `fastify-realtime:publish` get. In `start` they may set `traceparent`, which travels along. */
export interface PublishTrace {
  /** What it is published to. */
  channel: string
  /** The event's name. */
  event: string
  /** A W3C `traceparent`. */
  traceparent: string | undefined
}

/** What subscribers of the channel `fastify-realtime:deliver` get, once for each event of a chat on each instance that follows it. */
export interface DeliverTrace {
  /** The chat. */
  chatId: string
  /** The event's name. */
  event: string
  /** The event's place in the chat's log, if it has one. */
  id: string | undefined
  /** The W3C `traceparent` that it was published with. */
  traceparent: string | undefined
  /** How many streams it is written to. */
  streams: number
}

const publishing = tracingChannel<unknown, PublishTrace>('fastify-realtime:publish')
const delivering = channel('fastify-realtime:deliver')

/** Publishes with the `traceparent` that travels along, and tells whoever traces that. */
export function tracePublish<T> (describe: () => PublishTrace, given: unknown, publish: (traceparent: string | undefined) => Promise<T>): Promise<T> {
  if (!publishing.start.hasSubscribers && !publishing.asyncEnd.hasSubscribers) return publish(checkTraceparent(given))
  const trace = describe()
  // What is thrown would never come to `asyncEnd`.
  return publishing.tracePromise(() => promiseTry(() => publish(checkTraceparent(trace.traceparent))), trace)
}

/** Tells whoever traces of a delivery. */
export function traceDeliver (describe: () => DeliverTrace): void {
  if (delivering.hasSubscribers) delivering.publish(describe())
}

/** A `traceparent` as it may travel; one that is none is ignored, as the W3C asks for. */
export function checkTraceparent (traceparent: unknown): string | undefined {
  return typeof traceparent === 'string' && TRACEPARENT.test(traceparent) ? traceparent : undefined
}

const TRACEPARENT = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/
