import type { MetricsRegistry } from './observability/prometheus.ts'
import type { PubSubProvider } from './pubsub/provider.ts'
import type { Authorize } from './http/access.ts'
import { RealtimeError, kindOf } from './errors.ts'
import type { RedisClient } from './pubsub/redis/client.ts'
import { checkRedisUrl } from './pubsub/redis/url.ts'
import { checkRouteOptions, type RealtimeRouteOptions } from './http/route-options.ts'
import { defaults, presenceTimes, type PresenceOptions, type Resolved } from './core/defaults.ts'
import { timing } from './core/timing.ts'
import { hasMethods, text, or, optional, whole, callable } from './core/validate.ts'
import { checkSharded, resolveProviderOptions, type ProviderOptions } from './pubsub/provider-options.ts'

/** Options of the plugin. All are optional. Registration rejects an invalid or unknown option. */
export interface RealtimeOptions extends ProviderOptions {
  /**
   * The URL of the Redis that all instances share: `redis://` or `rediss://`. If unset, events stay in this process.
   * @default process.env.REDIS_URL
   */
  redisUrl?: string | undefined
  /**
   * The app's own client of ioredis 5.4 or later, or 6, such as `fastify.redis` of @fastify/redis, instead of
   * `redisUrl`. The plugin publishes with it and duplicates it to subscribe and to read. The app must close it.
   * @default none
   */
  redis?: RedisClient | undefined
  /**
   * A custom provider instead of Redis. The app must close it.
   * @default none
   */
  pubsub?: PubSubProvider | undefined
  /**
   * The path prefix of the routes; `''` for none. (The type has no `| undefined`, because `app.register` has an option
   * of this name.)
   * @default '/api'
   */
  prefix?: string
  /**
   * Options of Fastify or its plugins for each route of this plugin: `config`, `schema`, hooks, `constraints`,
   * `logLevel` and others, such as `{ config: { rateLimit: false } }`. A schema must accept `chat`, `lastEventId` and
   * `rewind` in the query. The query is never logged on streams, not even with a custom `childLoggerFactory`.
   * @default none
   */
  routeOptions?: RealtimeRouteOptions | undefined
  /**
   * Decides whether a client may open a chat. It is called before anything is subscribed, each time a client connects
   * or reconnects. `true` or `{ userId, expiresAt }` grants access, `false` responds with 403, and an error that it
   * throws is handled like any error of a route.
   * @default every client may open every chat
   */
  authorize?: Authorize | undefined
  /**
   * Maximum number of streams of this instance. It includes requests that wait for `authorize`, and ended streams whose
   * client has not received all data yet. Beyond it, a browser is asked to reconnect later, and other clients get 503.
   * @default no limit
   */
  maxConnections?: number | undefined
  /**
   * Maximum number of streams of one client, counted as for `maxConnections`. A client is a user if `authorize` returns
   * a `userId`, otherwise an IP address (behind a proxy, set Fastify's `trustProxy`) or an IPv6 /64 network. Clients
   * without an address, as over a Unix socket, count as one. A request that waits for `authorize` counts for its
   * address. Once `authorize` has returned a `userId`, many users may share an address: then 100 times as many requests
   * of one address may wait, but not more than half of `maxConnections`.
   * @default no limit
   */
  maxConnectionsPerClient?: number | undefined
  /**
   * Maximum number of streams on one HTTP/2 connection, counted as for `maxConnections`.
   * @default 100
   */
  maxStreamsPerSession?: number | undefined
  /**
   * Maximum number of chats in one stream, at most 100: the ids of more chats would not fit into the request of a
   * reconnecting browser. The client of this package opens additional streams by itself.
   * @default 50
   */
  maxChatsPerStream?: number | undefined
  /**
   * Maximum number of past events that a client may request for each chat with `rewind`, at most 999_999. The default
   * covers the default `history`. Memory use is bounded in bytes regardless of this value, but time and traffic grow
   * with it.
   * @default 1_000
   */
  maxRewind?: number | undefined
  /**
   * Milliseconds after which a stream ends, so that the client reconnects and is authorized again. Each stream ends up
   * to a quarter earlier at random, so that clients do not reconnect all at once.
   * @default no limit
   */
  maxConnectionAgeMs?: number | undefined
  /**
   * Maximum number of chats that this instance follows at the same time.
   * @default no limit
   */
  maxRooms?: number | undefined
  /**
   * Milliseconds without data after which a stream gets a comment, so that proxies do not close it; `0` turns it off.
   * @default 15_000
   */
  heartbeatMs?: number | undefined
  /**
   * Milliseconds that a browser waits before it reconnects after a lost connection.
   * @default 2_000
   */
  retryMs?: number | undefined
  /**
   * Maximum number of bytes buffered for a slow client before it is disconnected. A browser then reconnects by itself.
   * @default 262_144
   */
  maxBufferedBytes?: number | undefined
  /**
   * Milliseconds over which text appended to a bot message is collected into one piece; `0` sends each immediately.
   * @default 50
   */
  botMessageWindowMs?: number | undefined
  /**
   * Milliseconds after which a bot message counts as interrupted if its producer has crashed or cannot reach Redis.
   * From 100 to 60_000.
   * @default 5_000
   */
  botMessageLeaseMs?: number | undefined
  /**
   * Publishes the users of each chat: those whose `userId` the option `authorize` returns, while they have an open
   * stream. Requires `authorize`. `true` selects the defaults.
   * @default false
   */
  presence?: boolean | PresenceOptions | undefined
  /**
   * Milliseconds that a client has to receive unsent data when its stream ends, as at `app.close()`, at `expiresAt` or
   * by `revoke`. Then it is disconnected.
   * @default 1_500
   */
  drainTimeoutMs?: number | undefined
  /**
   * A `Registry` of prom-client, an optional peer dependency, that exports the metrics of this instance.
   * @default none
   */
  metrics?: MetricsRegistry | undefined
}

/**
 * If its id is a UUID, each chat takes about 40 bytes of the URL and 36 of `Last-Event-ID`. Proxies commonly accept
 * 8 kB for a line, and servers 16 kB for all headers.
 */
const MOST_CHATS = 100
/** The client of this package requests at most this many events. */
const MOST_REWIND = 999_999
const LEASE_TOO_LONG = ', since Redis keeps what was not renewed no longer than that'
const TOO_LONG = ', since the ids of more chats do not fit into a request'

/** Options of the plugin after defaults and validation. */
export type ResolvedOptions = Resolved<RealtimeOptions>

/**
 * Applies the defaults and validates every option. Throws `RT_OPTION_INVALID`, `RT_STATE_UNAVAILABLE` or
 * `RT_REDIS_URL_INVALID`.
 */
export function resolveOptions (given: RealtimeOptions): ResolvedOptions {
  for (const name of Object.keys(given)) {
    if (!optionNames.has(name) && !FASTIFY_OPTIONS.has(name)) {
      const options = [...optionNames].join(', ')
      throw new RealtimeError('RT_OPTION_INVALID', `There is no option \`${name}\`. The options are ${options}`)
    }
  }
  const sources = (['redisUrl', 'redis', 'pubsub'] as const).filter((name) => given[name] !== undefined)
  if (sources.length > 1) {
    throw new RealtimeError('RT_OPTION_INVALID', `Give one of redisUrl, redis and pubsub, got ${sources.join(' and ')}`)
  }
  checkSharded(given.sharded, given.redis)
  return {
    redisUrl: given.redis || given.pubsub ? undefined : resolveRedisUrl(given.redisUrl),
    redis: hasMethods('redis', given.redis, ['publish', 'duplicate'], 'an ioredis client'),
    pubsub: hasMethods(
      'pubsub',
      given.pubsub,
      ['publish', 'subscribe', 'subscribeExact', 'isHealthy', 'close'],
      'a PubSubProvider'
    ),
    prefix: text('prefix', or(given.prefix, defaults.prefix), /^(\/[\w.~-]+)*$/, 'a path such as /api, or empty'),
    routeOptions: optional(given.routeOptions, checkRouteOptions),
    heartbeatMs: whole('heartbeatMs', or(given.heartbeatMs, defaults.heartbeatMs), 0),
    retryMs: whole('retryMs', or(given.retryMs, defaults.retryMs), 0),
    authorize: optional(given.authorize, (value) => callable('authorize', value)),
    maxConnections: optional(given.maxConnections, (value) => whole('maxConnections', value, 1)),
    maxConnectionsPerClient: optional(
      given.maxConnectionsPerClient,
      (value) => whole('maxConnectionsPerClient', value, 1)
    ),
    maxStreamsPerSession: whole(
      'maxStreamsPerSession',
      or(given.maxStreamsPerSession, defaults.maxStreamsPerSession),
      1
    ),
    maxChatsPerStream: whole(
      'maxChatsPerStream',
      or(given.maxChatsPerStream, defaults.maxChatsPerStream),
      1,
      MOST_CHATS,
      TOO_LONG
    ),
    maxRewind: whole('maxRewind', or(given.maxRewind, defaults.maxRewind), 0, MOST_REWIND),
    maxConnectionAgeMs: optional(given.maxConnectionAgeMs, (value) => whole('maxConnectionAgeMs', value, 1)),
    metrics: hasMethods(
      'metrics',
      given.metrics,
      ['registerMetric', 'removeSingleMetric'],
      'a Registry of prom-client'
    ),
    maxRooms: optional(given.maxRooms, (value) => whole('maxRooms', value, 1)),
    maxBufferedBytes: whole('maxBufferedBytes', or(given.maxBufferedBytes, defaults.maxBufferedBytes), 1),
    botMessageWindowMs: whole('botMessageWindowMs', or(given.botMessageWindowMs, defaults.botMessageWindowMs), 0),
    botMessageLeaseMs: whole(
      'botMessageLeaseMs',
      or(given.botMessageLeaseMs, defaults.botMessageLeaseMs),
      100,
      timing.stateExtra,
      LEASE_TOO_LONG
    ),
    presence: resolvePresence(given),
    drainTimeoutMs: whole('drainTimeoutMs', or(given.drainTimeoutMs, defaults.drainTimeoutMs), 0),
    ...resolveProviderOptions(given)
  }
}

/** The names of all options. */
export const optionNames: ReadonlySet<string> = new Set<keyof RealtimeOptions>([
  'redisUrl', 'redis', 'pubsub', ...Object.keys(defaults) as (keyof typeof defaults)[], 'instanceId', 'authorize',
  'maxConnections', 'maxConnectionsPerClient', 'maxConnectionAgeMs', 'maxRooms', 'metrics', 'routeOptions'
])

/** Options that `app.register` itself handles. */
const FASTIFY_OPTIONS: ReadonlySet<string> = new Set(['logLevel', 'logSerializers'])

/** Returns the Redis URL of the option or of `REDIS_URL`, or `undefined` if neither is set. */
function resolveRedisUrl (given: string | undefined): string | undefined {
  const url = given === undefined ? process.env.REDIS_URL : given
  return url === undefined ? undefined : checkRedisUrl(url)
}

function resolvePresence ({ presence, history, pubsub, authorize }: RealtimeOptions): ResolvedOptions['presence'] {
  if (presence === undefined || presence === false) return false
  if (presence !== true && (typeof presence !== 'object' || presence === null)) {
    const got = kindOf(presence)
    const expected = 'true, false or { graceMs, leaseMs }'
    throw new RealtimeError('RT_OPTION_INVALID', `Expected \`presence\` to be ${expected}, got ${got}`)
  }
  if (authorize === undefined) {
    throw new RealtimeError('RT_OPTION_INVALID', '`presence` needs `authorize`: ' +
      'only a client whose userId it returns can be shown. Give both, or leave `presence` out')
  }
  // Checked before anything is opened. For a custom provider, missing state support is detected later.
  if (history === false && pubsub === undefined) throw new RealtimeError('RT_STATE_UNAVAILABLE')
  if (presence === true) return presenceTimes
  return {
    graceMs: whole('presence.graceMs', or(presence.graceMs, presenceTimes.graceMs), 0),
    leaseMs: whole(
      'presence.leaseMs',
      or(presence.leaseMs, presenceTimes.leaseMs),
      100,
      timing.stateExtra,
      LEASE_TOO_LONG
    )
  }
}
