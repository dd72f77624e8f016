import { promiseTry } from '../core/promise-try.ts'
import type { Logger } from '../core/logger.ts'
import type { Metrics } from '../observability/metrics.ts'
import { logFailure, logPublished } from '../observability/log-failure.ts'
import { tracePublish, type PublishTrace } from '../observability/tracing.ts'
import { makeEnvelope } from './envelope.ts'
import type { Envelope } from './event-log.ts'
import { eventName } from './event-name.ts'
import { checkPublish } from './own-publish.ts'
import type { PublishOptions, PublishReceipt } from './provider.ts'

/** What the publishes of a provider have in common. */
export interface Publishing {
  instanceId: string
  maxPayloadBytes: number
  log: Logger
  metrics: Metrics
  /** Logged at level debug after each publish. */
  message: string
  /** Throws once the provider is closed. */
  mustBeOpen (): void
}

/** A message that was checked, on its way to be sent. */
export interface Outgoing {
  channel: string
  envelope: Envelope
  ephemeral: boolean
  /** The idempotency key, if the app gave one. */
  key: string | undefined
}

/**
 * Checks a message, then sends it with tracing and metrics, and logs a failure. It never throws synchronously. A caller
 * that ignores the promise causes no `unhandledRejection`. Messages are published in the order of the calls.
 */
export function instrumentPublish (
  { instanceId, maxPayloadBytes, log, metrics, message, mustBeOpen }: Publishing,
  [channel, data, options]: readonly [channel: string, data: unknown, options: PublishOptions | undefined],
  send: (outgoing: Outgoing) => Promise<PublishReceipt>
): Promise<PublishReceipt> {
  const begun = performance.now()
  // Invalid options are rejected later, by `checkPublish`.
  const given = (options as PublishOptions | null | undefined)?.traceparent
  const publish = (traceparent: string | undefined): Promise<PublishReceipt> => {
    mustBeOpen()
    const { ephemeral, idempotencyKey: key } = checkPublish(channel, data, options)
    return send({ channel, envelope: makeEnvelope(data, instanceId, maxPayloadBytes, traceparent), ephemeral, key })
  }
  const describe = (): PublishTrace => ({ channel, event: eventName(data), traceparent: given })
  const published = promiseTry(() => tracePublish(describe, given, publish))
  // Not chained to the returned promise: callers don't wait for it, and their own reactions run after the count.
  published.then((receipt) => {
    metrics.publish(receipt, begun)
    logPublished(log)
    log.debug({ channel }, message)
  }, (error: unknown) => {
    metrics.fail(error)
    logFailure(error, log, { channel })
  }).then(undefined, ignore)
  return published
}

function ignore (): void {}
