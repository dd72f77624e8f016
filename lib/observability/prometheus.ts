import type { GaugeConfiguration, HistogramConfiguration, MetricConfiguration } from 'prom-client'
import { timing } from '../core/timing.ts'
import { withTimeout } from '../core/with-timeout.ts'
import type { Metrics, LabeledCounter } from './metrics.ts'

/** The methods of a prom-client `Registry` that this package uses. */
export interface MetricsRegistry {
  /** Adds a metric. `never` accepts every registry, whatever type its parameter has. */
  registerMetric (metric: never): void
  /** Removes a metric. */
  removeSingleMetric (name: string): void
}

/** How an outbox is doing. */
export interface OutboxStats {
  /** Rows that wait to be published, counted up to 10,000. */
  waiting: number
  /** Seconds since the oldest of them was added; 0 if none waits. */
  oldestSeconds: number
  /** Rows that were set aside, counted up to 10,000. */
  setAside: number
}

/** The sources of the metrics. */
interface MetricsSource {
  metrics: Metrics
  connections: { readonly size: number, bufferedBytes (): number }
  chatEvents: { stats (): { localChats: number } }
  /** A custom provider may have neither `stats` nor `connected`. */
  pubsub: {
    readonly name: string,
    stats? (): { channels: number, patterns: number },
    connected? (): Record<string, boolean>
  }
  outbox?: { stats (): Promise<OutboxStats> } | undefined
}

type Values = number | Record<string, number> | LabeledCounter

/** The name of a metric, its help text, a function that reads its value, and the name of its label. */
type Row = readonly [name: string, help: string, read: (source: MetricsSource) => Values, label?: string]

const counters: readonly Row[] = [
  ['pubsub_messages_published_total', 'Messages published by this instance', ({ metrics }) => metrics.published],
  [
    'pubsub_messages_received_total',
    'Messages received from Redis, or from this process without Redis',
    ({ metrics }) => metrics.received
  ],
  [
    'pubsub_messages_ignored_total',
    'Messages received that are malformed or have an unknown version',
    ({ metrics }) => metrics.ignored
  ],
  ['pubsub_publish_failures_total', 'Publishes that rejected, by code', ({ metrics }) => metrics.failures, 'code'],
  [
    'pubsub_duplicates_total',
    'Duplicate events, by kind: published again with a known key, or received twice',
    ({ metrics }) => metrics.duplicates,
    'kind'
  ],
  ['realtime_streams_opened_total', 'Streams opened', ({ metrics }) => metrics.opened],
  ['realtime_streams_refused_total', 'Streams refused, by code', ({ metrics }) => metrics.refused, 'code'],
  [
    'realtime_downloads_refused_total',
    'Downloads of bot messages refused, by code',
    ({ metrics }) => metrics.refusedDownloads,
    'code'
  ],
  [
    'realtime_deliveries_total',
    'Events written to streams, counted for each stream',
    ({ metrics }) => metrics.deliveries
  ],
  ['realtime_delivered_bytes_total', 'Bytes of events written to streams', ({ metrics }) => metrics.bytes],
  ['realtime_slow_clients_total', 'Streams ended because their client did not keep up', ({ metrics }) => metrics.slow],
  ['realtime_resets_total', 'Resets sent to streams, by reason', ({ metrics }) => metrics.resets, 'reason'],
  ['realtime_resyncs_total', 'Times that the log of a chat was read to catch up', ({ metrics }) => metrics.resyncs]
]

const gauges: readonly Row[] = [
  [
    'pubsub_subscriptions_active',
    'Subscriptions, by kind',
    ({ pubsub }) => ({ ...pubsub.stats?.() }),
    'kind'
  ],
  [
    'pubsub_redis_connected',
    '1 while the connection to Redis is up, otherwise 0',
    ({ pubsub }) => toNumbers(pubsub.connected?.()),
    'connection'
  ],
  ['realtime_streams_open', 'Open streams', ({ connections }) => connections.size],
  [
    'realtime_chats_followed',
    'Chats with a stream or handler on this instance',
    ({ chatEvents }) => chatEvents.stats().localChats
  ],
  [
    'realtime_buffered_bytes',
    'Bytes written to streams that clients have not received yet',
    ({ connections }) => connections.bufferedBytes()
  ]
]

/** The gauges of an outbox. Their value is NaN while its database does not respond. */
const outboxGauges = [
  ['realtime_outbox_waiting_rows', 'Rows of the outbox that wait to be published, counted up to 10,000', 'waiting'],
  ['realtime_outbox_oldest_seconds', 'Age of the oldest row that waits, or 0', 'oldestSeconds'],
  ['realtime_outbox_set_aside_rows', 'Rows that can never be published, counted up to 10,000', 'setAside']
] as const

/** The name of a histogram, its help text, and the callback of `Metrics` that feeds it. */
const histograms = [
  ['pubsub_publish_seconds', 'Time from publish() until it resolves', 'onPublished'],
  [
    'realtime_publish_to_write_seconds',
    'Time from publish() until the event is written to streams, by the clocks of the two instances',
    'onWritten'
  ]
] as const

const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]

/** The names of all metrics. */
export const metricNames: readonly string[] =
  [...counters, ...gauges, ...outboxGauges, ...histograms].map(([name]) => name)

/**
 * Registers all metrics. Resolves with a function that removes them. Rejects if prom-client is not installed, and with
 * prom-client's own error if the registry already contains these names.
 */
export async function exportMetrics (registry: MetricsRegistry, source: MetricsSource): Promise<() => void> {
  // Loaded on demand, because prom-client is an optional peer dependency.
  const { Counter, Gauge, Histogram } = (await import('prom-client')).default
  const registers = [registry] as never // `MetricsRegistry` declares only the methods that this package needs.
  for (const [Metric, rows] of [[Counter, counters], [Gauge, gauges]] as const) {
    for (const [name, help, read, label] of rows) {
      const metric = new Metric({
        name,
        help,
        registers,
        ...label && { labelNames: [label] },
        // Called before each scrape. `Metrics` has the current values, so those of the previous scrape are dropped.
        collect () {
          metric.reset()
          setValues(read(source), label, (labels, value) => metric.inc(labels, value))
        }
      } as MetricConfiguration<string>)
    }
  }
  const readOutbox = shared(() => source.outbox?.stats())
  for (const [name, help, field] of source.outbox === undefined ? [] : outboxGauges) {
    const gauge = new Gauge({
      name,
      help,
      registers,
      async collect () { gauge.set((await readOutbox())?.[field] ?? NaN) }
    } as GaugeConfiguration<string>)
  }
  for (const [name, help, event] of histograms) {
    const histogram = new Histogram({ name, help, registers, buckets: BUCKETS } as HistogramConfiguration<string>)
    source.metrics[event] = (seconds) => histogram.observe(seconds)
  }
  return () => { for (const name of metricNames) registry.removeSingleMetric(name) }
}

/** Returns a function that calls `read` once for all callers who ask at the same time. It never rejects. */
function shared<T> (read: () => Promise<T> | undefined): () => Promise<T | undefined> {
  let reading: Promise<T | undefined> | undefined
  return () => {
    reading ??= withTimeout(Promise.resolve(read()), timing.outboxStats)
      .catch(() => undefined)
      .finally(() => { reading = undefined })
    return reading
  }
}

/** Calls `set` for a single value, or for each value of a metric with a label. */
function setValues (
  values: Values,
  label: string | undefined,
  set: (labels: Record<string, string>, value: number) => void
): void {
  if (typeof values === 'number') return set({}, values)
  const entries = 'counts' in values && values.counts instanceof Map
    ? [...values.counts]
    : Object.entries(values as Record<string, number>)
  for (const [name, value] of entries) set({ [label as string]: name }, value)
}

function toNumbers (flags: Record<string, boolean> = {}): Record<string, number> {
  return Object.fromEntries(Object.entries(flags).map(([name, flag]) => [name, Number(flag)]))
}
