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

/** Options of the plugin. Each has a default; a wrong or unknown one is refused at registration. */
export interface RealtimeOptions extends ProviderOptions {
  /**
   * The Redis that all instances share: `redis://` or `rediss://`. Unset: everything stays in this process.
   * @default process.env.REDIS_URL
   */
  redisUrl?: string | undefined
  /**
   * A client of the app's, of ioredis 5.4 or later or of 6, such as `fastify.redis` of @fastify/redis, instead of `redisUrl`.
   * The plugin publishes on it and duplicates it to subscribe and to read. The app keeps owning it and
   * closes it.
   * @default none
   */
  redis?: RedisClient | undefined
  /**
   * A provider of the app's own, instead of Redis. The app keeps owning it and closes it.
   * @default none
   */
  pubsub?: PubSubProvider | undefined
  /**
   * What the paths of the routes start with; `''` for nothing. (Not `| undefined`, since `app.register` has an option of this name.)
   * @default '/api'
   */
  prefix?: string
  /**
   * Options of Fastify, or of its plugins, for each route of this plugin: `config`, `schema`, hooks, `constraints`,
   * `logLevel` and others, such as `{ config: { rateLimit: false } }`. A schema must let `chat`, `lastEventId` and
   * `rewind` of the query pass. The loggers of streams never see the query, also with a `childLoggerFactory` of the app.
   * @default none
   */
  routeOptions?: RealtimeRouteOptions | undefined
  /**
   * Says who may open a chat: called before anything is subscribed, each time a client comes or comes back. `true` or
   * `{ userId, expiresAt }` lets it in; `false` is answered with 403; what it throws is answered like any error of a route.
   * @default everybody may
   */
  authorize?: Authorize | undefined
  /**
   * Streams of this instance, in all, with those that wait for `authorize`, and those that have ended and whose client has not received
   * the rest. Beyond it a browser is told to reconnect later, and other clients get 503.
   * @default no limit
   */
  maxConnections?: number | undefined
  /**
   * Streams of one client, counted as for `maxConnections`: of a user where `authorize` names one, else of an IP address (behind a proxy,
   * set Fastify's `trustProxy`), which for IPv6 is a network of 64 bits. Clients without an address, as over a Unix socket, count as one. A
   * request that waits for `authorize` counts for its address. Once `authorize` has named a user, many may share an address: then 100 times
   * as many requests of one address may wait, but not more than half of `maxConnections`.
   * @default no limit
   */
  maxConnectionsPerClient?: number | undefined
  /**
   * Streams on one connection of HTTP/2, counted as for `maxConnections`.
   * @default 100
   */
  maxStreamsPerSession?: number | undefined
  /**
   * Chats that one stream may carry, at most 100: with more, the ids of a reconnecting browser would not fit into a
   * request. The client of this package opens further streams by itself.
   * @default 50
   */
  maxChatsPerStream?: number | undefined
  /**
   * Events that a client may ask for of each chat with `rewind`, at most 999_999. By default these are all events that
   * `history` keeps by default. Memory at any time is bounded by bytes whatever it is; time and traffic grow with it.
   * @default 1_000
   */
  maxRewind?: number | undefined
  /**
   * Milliseconds after which a stream ends, so that the client comes back and is asked for its access again; each a little earlier
   * by chance, so that they don't come all at once.
   * @default no limit
   */
  maxConnectionAgeMs?: number | undefined
  /**
   * Chats that this instance follows at the same time.
   * @default no limit
   */
  maxRooms?: number | undefined
  /**
   * Milliseconds of silence after which a stream gets a comment, so that no proxy takes it for dead; `0` turns it off.
   * @default 15_000
   */
  heartbeatMs?: number | undefined
  /**
   * Milliseconds that a browser waits before it comes back after a drop.
   * @default 2_000
   */
  retryMs?: number | undefined
  /**
   * Bytes that may wait for a slow client before it is cut; the browser then comes back by itself.
   * @default 262_144
   */
  maxBufferedBytes?: number | undefined
  /**
   * Milliseconds over which what is appended to a bot's answer becomes one piece; `0` sends each at once.
   * @default 50
   */
  botMessageWindowMs?: number | undefined
  /**
   * Milliseconds after which an answer counts as interrupted whose producer gives no sign of life, or can't reach Redis. From 100 to 60_000.
   * @default 5_000
   */
  botMessageLeaseMs?: number | undefined
  /**
   * Shows who is in each chat: users whose `userId` the option `authorize` returns, as long as they have a stream open. Needs `authorize`.
   * `true` stands for the defaults.
   * @default false
   */
  presence?: boolean | PresenceOptions | undefined
  /**
   * Milliseconds that a client has to receive what is unsent when its stream ends, as at `app.close()`, at `expiresAt` or by `revoke`.
   * Then it is cut.
   * @default 1_500
   */
  drainTimeoutMs?: number | undefined
  /**
   * A `Registry` of prom-client, an optional peer dependency, that shall show the metrics of this instance.
   * @default none
   */
  metrics?: MetricsRegistry | undefined
}

/**
 * Each chat takes about 40 bytes of the URL and 36 of `Last-Event-ID`, where its id is a UUID. Proxies commonly take 8 kB for
 * a line, and servers 16 kB for all headers.
 */
const MOST_CHATS = 100
/** The client of this package asks for no more. */
const MOST_REWIND = 999_999
const LEASE_TOO_LONG = ', since Redis keeps what was not renewed no longer than that'
const TOO_LONG = ', since the ids of more chats do not fit into a request'

/** Options of the plugin after defaults and checks. */
export type ResolvedOptions = Resolved<RealtimeOptions>

/** Fills in the defaults and checks every option. Throws `RT_OPTION_INVALID`, `RT_STATE_UNAVAILABLE` or `RT_REDIS_URL_INVALID`. */
export function resolveOptions (given: RealtimeOptions): ResolvedOptions {
  for (const name of Object.keys(given)) {
    if (!optionNames.has(name) && !FASTIFY_OPTIONS.has(name)) throw new RealtimeError('RT_OPTION_INVALID', `There is no option \`${name}\`. The options are ${[...optionNames].join(', ')}`)
  }
  const sources = (['redisUrl', 'redis', 'pubsub'] as const).filter((name) => given[name] !== undefined)
  if (sources.length > 1) throw new RealtimeError('RT_OPTION_INVALID', `Give one of redisUrl, redis and pubsub, got ${sources.join(' and ')}`)
  checkSharded(given.sharded, given.redis)
  return {
    redisUrl: given.redis || given.pubsub ? undefined : resolveRedisUrl(given.redisUrl),
    redis: hasMethods('redis', given.redis, ['publish', 'duplicate'], 'an ioredis client'),
    pubsub: hasMethods('pubsub', given.pubsub, ['publish', 'subscribe', 'subscribeExact', 'isHealthy', 'close'], 'a PubSubProvider'),
    prefix: text('prefix', or(given.prefix, defaults.prefix), /^(\/[\w.~-]+)*$/, 'a path such as /api, or empty'),
    routeOptions: optional(given.routeOptions, checkRouteOptions),
    heartbeatMs: whole('heartbeatMs', or(given.heartbeatMs, defaults.heartbeatMs), 0),
    retryMs: whole('retryMs', or(given.retryMs, defaults.retryMs), 0),
    authorize: optional(given.authorize, (value) => callable('authorize', value)),
    maxConnections: optional(given.maxConnections, (value) => whole('maxConnections', value, 1)),
    maxConnectionsPerClient: optional(given.maxConnectionsPerClient, (value) => whole('maxConnectionsPerClient', value, 1)),
    maxStreamsPerSession: whole('maxStreamsPerSession', or(given.maxStreamsPerSession, defaults.maxStreamsPerSession), 1),
    maxChatsPerStream: whole('maxChatsPerStream', or(given.maxChatsPerStream, defaults.maxChatsPerStream), 1, MOST_CHATS, TOO_LONG),
    maxRewind: whole('maxRewind', or(given.maxRewind, defaults.maxRewind), 0, MOST_REWIND),
    maxConnectionAgeMs: optional(given.maxConnectionAgeMs, (value) => whole('maxConnectionAgeMs', value, 1)),
    metrics: hasMethods('metrics', given.metrics, ['registerMetric', 'removeSingleMetric'], 'a Registry of prom-client'),
    maxRooms: optional(given.maxRooms, (value) => whole('maxRooms', value, 1)),
    maxBufferedBytes: whole('maxBufferedBytes', or(given.maxBufferedBytes, defaults.maxBufferedBytes), 1),
    botMessageWindowMs: whole('botMessageWindowMs', or(given.botMessageWindowMs, defaults.botMessageWindowMs), 0),
    botMessageLeaseMs: whole('botMessageLeaseMs', or(given.botMessageLeaseMs, defaults.botMessageLeaseMs), 100, timing.stateExtra, LEASE_TOO_LONG),
    presence: resolvePresence(given),
    drainTimeoutMs: whole('drainTimeoutMs', or(given.drainTimeoutMs, defaults.drainTimeoutMs), 0),
    ...resolveProviderOptions(given)
  }
}

/** All options there are. */
export const optionNames: ReadonlySet<string> = new Set<keyof RealtimeOptions>([
  'redisUrl', 'redis', 'pubsub', ...Object.keys(defaults) as (keyof typeof defaults)[], 'instanceId', 'authorize', 'maxConnections',
  'maxConnectionsPerClient', 'maxConnectionAgeMs', 'maxRooms', 'metrics', 'routeOptions'
])

/** What `app.register` takes for itself. */
const FASTIFY_OPTIONS: ReadonlySet<string> = new Set(['logLevel', 'logSerializers'])

/** The Redis that everything without an explicit one uses; `undefined` where there is none. */
function resolveRedisUrl (given: string | undefined): string | undefined {
  const url = given === undefined ? process.env.REDIS_URL : given
  return url === undefined ? undefined : checkRedisUrl(url)
}

function resolvePresence ({ presence, history, pubsub, authorize }: RealtimeOptions): ResolvedOptions['presence'] {
  if (presence === undefined || presence === false) return false
  if (presence !== true && (typeof presence !== 'object' || presence === null)) throw new RealtimeError('RT_OPTION_INVALID', `Expected \`presence\` to be true, false or { graceMs, leaseMs }, got ${kindOf(presence)}`)
  if (authorize === undefined) throw new RealtimeError('RT_OPTION_INVALID', '`presence` needs `authorize`: only a client whose userId it returns can be shown. Give both, or leave `presence` out')
  // Before anything is opened. Whether a provider of the app's own keeps a state shows by itself.
  if (history === false && pubsub === undefined) throw new RealtimeError('RT_STATE_UNAVAILABLE')
  if (presence === true) return presenceTimes
  return {
    graceMs: whole('presence.graceMs', or(presence.graceMs, presenceTimes.graceMs), 0),
    leaseMs: whole('presence.leaseMs', or(presence.leaseMs, presenceTimes.leaseMs), 100, timing.stateExtra, LEASE_TOO_LONG)
  }
}
