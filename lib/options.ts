import { featureOptions } from './chat/features.ts'
import type { RelayedOutbox } from './chat/relayed-outbox.ts'
import { option, withMethods } from './core/option-kinds.ts'
import { refuseUnknown, resolve, type OptionsFrom, type ValuesFrom } from './core/options.ts'
import { RealtimeError } from './errors.ts'
import { routeOptions } from './http/options.ts'
import type { MetricsRegistry } from './observability/prometheus.ts'
import { checkSharded, providerOptions } from './pubsub/provider-options.ts'
import type { PubSubProvider } from './pubsub/provider.ts'
import type { RedisClient } from './pubsub/redis/client.ts'
import { checkRedisUrl } from './pubsub/redis/url.ts'
import { roomOptions } from './rooms/options.ts'
import { connectionOptions } from './sse/options.ts'

/** Options that choose the provider. At most one of them is given. */
const sourceOptions = {
  /**
   * The URL of the Redis that all instances share: `redis://` or `rediss://`. If unset, events stay in this process.
   * @default process.env.REDIS_URL
   */
  redisUrl: option<string, string>({ scope: 'process', check: (_name, given) => checkRedisUrl(given) }),
  /**
   * The app's own client of ioredis 5.4 or later, or 6, instead of `redisUrl`, such as the `fastify.redis` of
   * `@fastify/redis` 7 to 9. The plugin publishes with it and duplicates it to subscribe and to read. The app must
   * close it.
   * @default none
   */
  redis: withMethods<RedisClient>({
    methods: ['publish', 'duplicate'], expected: 'an ioredis client', scope: 'process'
  }),
  /**
   * A custom provider instead of Redis. The app must close it.
   * See docs/custom-provider.md.
   * @default none
   */
  pubsub: withMethods<PubSubProvider>({
    methods: ['publish', 'subscribe', 'subscribeExact', 'isHealthy', 'close'],
    expected: 'a PubSubProvider',
    scope: 'process'
  })
}

const outboxOptions = {
  /**
   * An outbox from `fastify-realtime/outbox`. The plugin publishes its rows from the moment the app is ready until it
   * closes. Requires `history`.
   * See docs/outbox.md.
   * @default none
   */
  outbox: withMethods<RelayedOutbox>({
    methods: ['startRelay', 'stats'], expected: 'an outbox of fastify-realtime/outbox', scope: 'app'
  })
}

const metricsOptions = {
  /**
   * A `Registry` of prom-client, an optional peer dependency, that exports the metrics of this instance.
   * See docs/observability.md.
   * @default none
   */
  metrics: withMethods<MetricsRegistry>({
    methods: ['registerMetric', 'removeSingleMetric'], expected: 'a Registry of prom-client', scope: 'app'
  })
}

/** The options of the plugin, in the order of docs/reference.md. */
export const pluginOptions = {
  ...sourceOptions,
  ...routeOptions,
  ...connectionOptions,
  ...roomOptions,
  ...providerOptions,
  ...featureOptions,
  ...outboxOptions,
  ...metricsOptions
}

/** Options of the plugin. All are optional. Registration rejects an invalid or unknown option. */
export interface RealtimeOptions extends OptionsFrom<typeof pluginOptions> {}

/** Options of the plugin after defaults and validation. */
export type ResolvedOptions = ValuesFrom<typeof pluginOptions>

/** Options that `app.register` itself handles. */
const FASTIFY_OPTIONS = ['logLevel', 'logSerializers']

/**
 * Applies the defaults and validates every option. Throws `RT_OPTION_INVALID`, `RT_STATE_UNAVAILABLE` or
 * `RT_REDIS_URL_INVALID`.
 */
export function resolveOptions (given: RealtimeOptions): ResolvedOptions {
  const ours = Object.fromEntries(Object.entries(given).filter(([name]) => !FASTIFY_OPTIONS.includes(name)))
  refuseUnknown(pluginOptions, ours)
  const sources = Object.keys(sourceOptions).filter((name) => ours[name] !== undefined)
  if (sources.length > 1) {
    throw new RealtimeError('RT_OPTION_INVALID', `Give one of redisUrl, redis and pubsub, got ${sources.join(' and ')}`)
  }
  if (sources.length === 0) ours.redisUrl = process.env.REDIS_URL
  const options = resolve(pluginOptions, ours)
  checkSharded(options.sharded, options.redis)
  checkPresence(options)
  checkOutbox(options)
  return options
}

/** Checked before anything is opened. For a custom provider, a missing log is detected later. */
function checkOutbox ({ outbox, history, pubsub }: ResolvedOptions): void {
  if (outbox !== undefined && history === false && pubsub === undefined) {
    throw new RealtimeError('RT_OPTION_INVALID', '`outbox` needs `history`: ' +
      'without it, a row could be published twice. Turn history on, or leave `outbox` out')
  }
}

function checkPresence ({ presence, history, pubsub, authorize }: ResolvedOptions): void {
  if (presence === false) return
  if (authorize === undefined) {
    throw new RealtimeError('RT_OPTION_INVALID', '`presence` needs `authorize`: ' +
      'only a client whose userId it returns can be shown. Give both, or leave `presence` out')
  }
  // Checked before anything is opened. For a custom provider, missing state support is detected later.
  if (history === false && pubsub === undefined) throw new RealtimeError('RT_STATE_UNAVAILABLE')
}
