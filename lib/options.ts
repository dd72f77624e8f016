import type { MetricsRegistry } from './prometheus.ts'
import type { PubSubProvider } from './pubsub/provider.ts'
import type { Authorize } from './access.ts'
import { RealtimeError, kindOf } from './errors.ts'
import { NAME } from './name.ts'
import type { RedisClient } from './pubsub/redis-client.ts'
import { checkRedisUrl } from './pubsub/redis-url.ts'
import { checkRouteOptions, type RealtimeRouteOptions } from './routes/route-options.ts'

/** Options of the plugin. Each has a default; a wrong or unknown one is refused at registration. */
export interface RealtimeOptions {
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
   * Publishes to the shard channels of a Redis Cluster, from Redis 7 on, so that an event reaches one node rather than all of them. Needs a
   * `Cluster` as `redis`. Patterns can't be subscribed to then.
   * @default false
   */
  sharded?: boolean | undefined
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
   * How much of each chat is kept for clients that come back: the last `size` events, and for `ttlMs` milliseconds after the last
   * one. `false` keeps nothing: streams then carry no ids and can't resume.
   * @default { size: 1000, ttlMs: 600_000 }
   */
  history?: HistoryOptions | false | undefined
  /**
   * Milliseconds for which an idempotency key is remembered.
   * @default 120_000
   */
  idempotencyTtlMs?: number | undefined
  /**
   * Bytes of JSON that one event may take.
   * @default 65_536
   */
  maxPayloadBytes?: number | undefined
  /**
   * Milliseconds after which a publish that Redis does not answer rejects.
   * @default 5_000
   */
  publishTimeoutMs?: number | undefined
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
   * What the names of all keys and channels in Redis start with. Apps that share a Redis need different ones, here or as
   * the `keyPrefix` of an ioredis client, or a database each: the names of channels hold the client's prefix and the number
   * of its database, too, since pub/sub ignores both. The number is that at registration.
   * @default 'rt:'
   */
  keyPrefix?: string | undefined
  /**
   * A `Registry` of prom-client, an optional peer dependency, that shall show the metrics of this instance.
   * @default none
   */
  metrics?: MetricsRegistry | undefined
  /**
   * The name of this instance in `from` and in logs. Two instances must never have the same.
   * @default made of the process id, the time and a random part
   */
  instanceId?: string | undefined
}

/** How much of each chat is kept for clients that come back. */
export interface HistoryOptions {
  /** Events to keep of each chat. @default 1000 */
  size?: number | undefined
  /** Milliseconds to keep them after the last one. @default 600_000 */
  ttlMs?: number | undefined
}

/** When a user counts as gone. */
export interface PresenceOptions {
  /** Milliseconds after the last stream of a user has closed: a page that is reloaded, or a client that hops, is back before. @default 10_000 */
  graceMs?: number | undefined
  /** Milliseconds after which an instance that gives no sign of life, or can't reach Redis, has nobody any more. @default 15_000 */
  leaseMs?: number | undefined
}

/** When a user counts as gone, after defaults. */
export type PresenceTimes = { [Name in keyof PresenceOptions]-?: number }

/** Options that the built-in providers take as well. */
export type ProviderOptions = Pick<RealtimeOptions, 'instanceId' | 'keyPrefix' | 'maxPayloadBytes' | 'publishTimeoutMs' | 'history' | 'idempotencyTtlMs' | 'sharded'>

/** Options after defaults and checks: only those without a default can be undefined. */
export type ResolvedOptions<T = RealtimeOptions> = {
  [K in keyof T]-?: K extends 'history' ? { size: number, ttlMs: number } | false
    : K extends 'presence' ? PresenceTimes | false
      : K extends keyof typeof defaults ? NonNullable<T[K]> : T[K] | undefined
}

export const defaults = {
  prefix: '/api',
  heartbeatMs: 15_000,
  retryMs: 2_000,
  maxStreamsPerSession: 100,
  maxChatsPerStream: 50,
  maxRewind: 1_000,
  maxBufferedBytes: 262_144,
  history: { size: 1_000, ttlMs: 600_000 },
  idempotencyTtlMs: 120_000,
  maxPayloadBytes: 65_536,
  publishTimeoutMs: 5_000,
  botMessageWindowMs: 50,
  botMessageLeaseMs: 5_000,
  presence: false,
  drainTimeoutMs: 1_500,
  keyPrefix: 'rt:',
  sharded: false
} as const

/** What `presence: true` stands for. */
export const presenceTimes: PresenceTimes = { graceMs: 10_000, leaseMs: 15_000 }

/** Times that no app has needed to change, in milliseconds. */
export const timing = {
  /** How often a failure that repeats is logged, with its count. */
  repeatedLog: 30_000,
  /** How long the health check waits for Redis: a frozen one answers nothing, yet keeps its connections. */
  healthTimeout: 1_000,
  /** How long a probe that got through proves that events can be published, and how long its keys stay in Redis. */
  healthProbe: 5_000,
  healthProbeKeys: 10_000,
  /** How often an idle subscriber asks Redis for a sign of life. */
  redisPing: 2_000,
  /** Without an answer for this long a connection to Redis counts as dead. */
  redisSilence: 5_000,
  /** First and longest wait before Redis is tried again. */
  redisRetryMin: 50,
  redisRetryMax: 1_000,
  /** How long closing waits for publishes that are under way. */
  redisQuit: 500,
  /** How long a connection may then take to end before it is cut. */
  redisDisconnect: 100,
  /** How often a closing server looks for connections that are no longer used: so long may the client of a session of HTTP/2 take to close its own. */
  shutdownSweep: 250,
  /** What is known of a log outlives its events by this: who comes back late is told why rather than nothing. */
  metaExtra: 7 * 24 * 3_600_000,
  /**
   * How long the log of a chat without an event is kept after it was last read, or compared: it is only a position for those who listen. Longer
   * than two rounds of checks take.
   */
  emptyLog: 60_000,
  /** What is so in a chat is kept this much longer than its events: longer than any lease. */
  stateExtra: 60_000,
  /** How long leases last at least when they begin anew, after a restart or failover of Redis. */
  stateLease: 5_000,
  /** How often quiet chats are compared with their logs, and chats with a state with that: the last event before a silence can be lost, too. */
  idleCheck: 2_000,
  /** How many of them at a time: of more, each is compared the less often, but once in so many checks. */
  idleCheckMost: 1_000,
  idleCheckRounds: 10,
  /** Over which time chats are read again after a reconnect, so that not all of them ask at once. */
  resyncSpread: 250,
  /** How long after a failed read the log is tried again. */
  resyncRetry: 500,
  /** The longest wait before that, where it fails again and again. */
  resyncRetryMax: 15_000,
  /** How long a chat is followed after its last listener has left: clients that drop come back soon. */
  roomGrace: 5_000,
  /** How often at most others are told that somebody types on, and how long they shall show it. */
  typingThrottle: 2_000,
  typingExpiry: 6_000,
  /** How long somebody must be gone from Redis before that is told: what it has lost is back sooner, once all have found it again. */
  presenceSettle: 2_000,
  /** How long what was read for one client that comes back is kept for another one. */
  sharedRead: 5_000,
  /** How many revocations, and requests to stop, are kept for instances that were away, and for how long after the last one. */
  controlLogSize: 2_000,
  controlLogTtl: 3_600_000,
  /** Over which time streams are authorized again once it is unknown whether a revocation was missed; and what that may take before a stream is ended. */
  accessSpread: 5_000,
  accessDeadline: 30_000
} as const

/** How much may be kept, held or read at once, in bytes. docs/performance.md says what they come to. */
export const budgets = {
  /** The events of one page that is read of a log. */
  page: 262_144,
  /** The first page after a position: mostly there is little behind it, and all chats may ask at the same time. */
  firstPage: 16_384,
  /** A page for clients that reconnect. The chats of one stream take turns by it. */
  clientPage: 65_536,
  /** The pages that an instance asks for at the same time. Redis keeps as much ready for it. */
  reads: 1_048_576,
  /** What a chat holds while its log or its state is read; of more, it is read again. */
  held: 262_144,
  /** The last events and frames of a chat, for clients that come back soon, and those of all chats of an instance. */
  replay: 1_048_576,
  replays: 67_108_864,
  /** What a chat, or a stream of several, gathers in one turn before it writes. */
  turn: 1_048_576,
  /** What is published and not answered by Redis yet. Beyond it, a publish is rejected at once. */
  unanswered: 67_108_864,
  /** The events that `LocalPubSub` keeps of all chats. Beyond it, each chat loses its oldest ones. */
  localLogs: 268_435_456
} as const

const INT32 = 2 ** 31 - 1

/**
 * Each chat takes about 40 bytes of the URL and 36 of `Last-Event-ID`, where its id is a UUID. Proxies commonly take 8 kB for
 * a line, and servers 16 kB for all headers.
 */
const MOST_CHATS = 100
/** The client of this package asks for no more. */
const MOST_REWIND = 999_999
const LEASE_TOO_LONG = ', since Redis keeps what was not renewed no longer than that'
const TOO_LONG = ', since the ids of more chats do not fit into a request'

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

/** The part of `resolveOptions` that the built-in providers share. Throws `RT_OPTION_INVALID`. */
export function resolveProviderOptions (given: ProviderOptions): ResolvedOptions<ProviderOptions> {
  return {
    instanceId: optional(given.instanceId, (value) => text('instanceId', value, NAME, '1 to 64 letters, digits, or _ . -')),
    keyPrefix: text('keyPrefix', or(given.keyPrefix, defaults.keyPrefix), /^[\w:.-]{0,64}$/, 'up to 64 letters, digits, or _ : . -'),
    history: resolveHistory(given.history),
    idempotencyTtlMs: whole('idempotencyTtlMs', or(given.idempotencyTtlMs, defaults.idempotencyTtlMs), 1),
    maxPayloadBytes: whole('maxPayloadBytes', or(given.maxPayloadBytes, defaults.maxPayloadBytes), 1),
    publishTimeoutMs: whole('publishTimeoutMs', or(given.publishTimeoutMs, defaults.publishTimeoutMs), 1),
    sharded: flag('sharded', or(given.sharded, defaults.sharded))
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

function resolveHistory (history: HistoryOptions | false | undefined): ResolvedOptions['history'] {
  if (history === undefined || history === false) return history ?? defaults.history
  if (typeof history !== 'object' || history === null) throw new RealtimeError('RT_OPTION_INVALID', `Expected \`history\` to be { size, ttlMs } or false, got ${kindOf(history)}`)
  return {
    size: whole('history.size', or(history.size, defaults.history.size), 1),
    ttlMs: whole('history.ttlMs', or(history.ttlMs, defaults.history.ttlMs), 1)
  }
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

/** Not `??`: a null is no way to say nothing. */
function or (value: unknown, fallback: unknown): unknown {
  return value === undefined ? fallback : value
}

function optional<T, R> (value: T | undefined, check: (value: T) => R): R | undefined {
  return value === undefined ? undefined : check(value)
}

function callable<T> (name: string, value: T): T {
  if (typeof value === 'function') return value
  throw new RealtimeError('RT_OPTION_INVALID', `Expected \`${name}\` to be a function, got ${kindOf(value)}`)
}

function whole (name: string, value: unknown, least: number, most = INT32, reason = ''): number {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return value as number
  const got = typeof value === 'number' ? value : kindOf(value)
  throw new RealtimeError('RT_OPTION_INVALID', `Expected \`${name}\` to be a whole number from ${least} to ${most}${reason}, got ${got}`)
}

/** Shard channels are those of a Cluster. Throws `RT_OPTION_INVALID`. */
export function checkSharded (sharded: unknown, client: RedisClient | undefined): void {
  if (sharded === true && client?.isCluster !== true) throw new RealtimeError('RT_OPTION_INVALID', '`sharded` needs an ioredis Cluster as `redis`')
}

function flag (name: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value
  throw new RealtimeError('RT_OPTION_INVALID', `Expected \`${name}\` to be true or false, got ${kindOf(value)}`)
}

function text (name: string, value: unknown, form: RegExp, expected: string): string {
  if (typeof value === 'string' && form.test(value)) return value
  throw new RealtimeError('RT_OPTION_INVALID', `Expected \`${name}\` to be ${expected}, got ${typeof value === 'string' ? 'another string' : kindOf(value)}`)
}

function hasMethods<T> (name: string, value: T | undefined, methods: readonly string[], expected: string): T | undefined {
  if (value === undefined) return undefined
  const missing = methods.filter((method) => typeof (value as Record<string, unknown> | null)?.[method] !== 'function')
  if (missing.length === 0) return value
  throw new RealtimeError('RT_OPTION_INVALID', `Expected \`${name}\` to be ${expected}, got ${kindOf(value)} without ${missing.join(', ')}`)
}
