import { promiseTry } from '../core/promise-try.ts'
import type { Logger } from '../core/logger.ts'
import type { Metrics } from '../observability/metrics.ts'
import { logFailure, logPublished } from '../observability/log-failure.ts'
import { tracePublish } from '../observability/tracing.ts'
import { eventName } from './event-name.ts'
import type { PublishOptions, PublishReceipt } from './provider.ts'

/** A publish, who is told of it, and what the log says then, at level debug. */
export interface Observed { channel: string, data: unknown, options: PublishOptions | undefined, log: Logger, metrics: Metrics, message: string }

/**
 * Publishes, and lets it be traced, counted, and its failure be logged. Nothing is thrown, whoever ignores the promise causes no
 * `unhandledRejection`, and what comes first is published first.
 */
export function observePublish ({ channel, data, options, log, metrics, message }: Observed, publish: (traceparent: string | undefined) => Promise<PublishReceipt>): Promise<PublishReceipt> {
  const begun = performance.now()
  // What is wrong with it shows where it is checked.
  const traceparent = (options as PublishOptions | null | undefined)?.traceparent
  const published = promiseTry(() => tracePublish(() => ({ channel, event: eventName(data), traceparent }), traceparent, publish))
  // Beside it: whoever awaits it waits for nothing more, and finds it counted.
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
