import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import { logFailure } from '../report-failure.ts'
import { tracePublish } from '../tracing.ts'
import { eventName } from './envelope.ts'
import type { PublishOptions, PublishReceipt } from './provider.ts'

/** A publish, and who is told of it. */
export interface Observed { channel: string, data: unknown, options: PublishOptions, log: Logger, metrics: Metrics }

/**
 * Publishes, and lets it be traced, counted, and its failure be logged. Nothing is thrown, whoever ignores the promise causes no
 * `unhandledRejection`, and what comes first is published first.
 */
export function observePublish (observed: Observed, publish: (traceparent: string | undefined) => Promise<PublishReceipt>): Promise<PublishReceipt> {
  const published = observe(observed, publish)
  published.catch(ignore)
  return published
}

async function observe ({ channel, data, options: { traceparent }, log, metrics }: Observed, publish: (traceparent: string | undefined) => Promise<PublishReceipt>): Promise<PublishReceipt> {
  const begun = performance.now()
  try {
    const receipt = await tracePublish(() => ({ channel, event: eventName(data), traceparent }), traceparent, publish)
    metrics.publish(receipt, begun)
    return receipt
  } catch (error) {
    metrics.fail(error)
    logFailure(error, log, { channel })
    throw error
  }
}

function ignore (): void {}
