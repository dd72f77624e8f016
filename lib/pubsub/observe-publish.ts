import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import { reportFailure } from '../report-failure.ts'
import { checkTraceparent, tracePublish } from '../tracing.ts'
import { eventName } from './envelope.ts'
import type { PublishOptions, PublishReceipt } from './provider.ts'

/** Publishes, and lets it be traced, counted, and its failure be logged. Nothing is thrown, and what comes first is published first. */
export function observePublish (
  { channel, data, options, log, metrics }: { channel: string, data: unknown, options: PublishOptions, log: Logger, metrics: Metrics },
  publish: (channel: string, data: unknown, options: PublishOptions) => Promise<PublishReceipt>
): Promise<PublishReceipt> {
  const traced = async (): Promise<PublishReceipt> => {
    const trace = { channel, event: eventName(data), traceparent: options.traceparent }
    return await tracePublish(trace, () => publish(channel, data, { ...options, traceparent: checkTraceparent(trace.traceparent) }))
  }
  return reportFailure(metrics.publish(traced()), log, { channel })
}
