import { promiseTry } from '../core/promise-try.ts'
import type { Logger } from '../core/logger.ts'
import type { Metrics } from '../observability/metrics.ts'
import { logFailure, logPublished } from '../observability/log-failure.ts'
import { tracePublish } from '../observability/tracing.ts'
import { eventName } from './event-name.ts'
import type { PublishOptions, PublishReceipt } from './provider.ts'

/** A publish, and where to report it. `message` is logged at level debug on success. */
export interface Observed {
  channel: string,
  data: unknown,
  options: PublishOptions | undefined,
  log: Logger,
  metrics: Metrics,
  message: string
}

/**
 * Publishes with tracing and metrics, and logs a failure. It never throws synchronously. A caller that ignores the
 * promise causes no `unhandledRejection`. Messages are published in the order of the calls.
 */
export function observePublish (
  { channel, data, options, log, metrics, message }: Observed,
  publish: (traceparent: string | undefined) => Promise<PublishReceipt>
): Promise<PublishReceipt> {
  const begun = performance.now()
  // Invalid options are rejected later, by `checkPublish`.
  const traceparent = (options as PublishOptions | null | undefined)?.traceparent
  const published = promiseTry(() => tracePublish(
    () => ({ channel, event: eventName(data), traceparent }),
    traceparent,
    publish
  ))
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
