import { count, bytes, flag, milliseconds, onByDefault, text } from '../core/option-kinds.ts'
import type { OptionsFrom, ValuesFrom } from '../core/options.ts'
import { NAME } from '../core/names.ts'
import { RealtimeError } from '../errors.ts'
import type { RedisClient } from './redis/client.ts'

/** The options of `history`. */
export const historyFields = {
  /**
   * Number of events to keep of each chat.
   * @default 1_000
   */
  size: count({ default: 1_000, from: 1, scope: 'all' }),
  /**
   * Milliseconds to keep the events after the last one.
   * @default 600_000
   */
  ttlMs: milliseconds({ default: 600_000, from: 1, scope: 'all' })
}

/** How much of each chat is kept for clients that reconnect. */
export interface HistoryOptions extends OptionsFrom<typeof historyFields> {}

/** `HistoryOptions` with the defaults. */
export type History = ValuesFrom<typeof historyFields>

/** The options of the plugin that the built-in providers also accept. */
export const providerOptions = {
  /**
   * Publishes to the shard channels of a Redis Cluster (Redis 7 or later), so that an event reaches one node instead
   * of all. Needs a `Cluster` as `redis`. Patterns cannot be subscribed to.
   * @default false
   */
  sharded: flag({ default: false, scope: 'all' }),
  /**
   * How much of each chat is kept for clients that reconnect: the last `size` events, until `ttlMs` milliseconds after
   * the last one. With `false`, nothing is kept: streams have no event ids and cannot resume.
   * @default { size: 1_000, ttlMs: 600_000 }
   */
  history: onByDefault<typeof historyFields, HistoryOptions>({ fields: historyFields, scope: 'all' }),
  /**
   * Milliseconds for which an idempotency key is remembered.
   * @default 120_000
   */
  idempotencyTtlMs: milliseconds({ default: 120_000, from: 1, scope: 'all' }),
  /**
   * Maximum bytes of JSON of one event.
   * @default 65_536
   */
  maxPayloadBytes: bytes({ default: 65_536, from: 1, scope: 'process' }),
  /**
   * Milliseconds after which a publish rejects if Redis does not reply.
   * @default 5_000
   */
  publishTimeoutMs: milliseconds({ default: 5_000, from: 1, scope: 'process' }),
  /**
   * Prefix of the names of all Redis keys and channels. Apps that share a Redis server need different prefixes, either
   * here or as the `keyPrefix` of an ioredis client, or separate databases. Pub/sub itself ignores the client's prefix
   * and the database, so the channel names contain both. The database number is the one at registration.
   * See docs/protocol.md#names-in-redis.
   * @default 'rt:'
   */
  keyPrefix: text({
    default: 'rt:', form: /^[\w:.-]{0,64}$/, expected: 'up to 64 letters, digits, or _ : . -', scope: 'all'
  }),
  /**
   * The name of this instance in `from` and in logs. It must be unique among the instances.
   * @default made of the process id, the time and a random part
   */
  instanceId: text({ form: NAME, expected: '1 to 64 letters, digits, or _ . -', scope: 'process' })
}

/** Options of the plugin that the built-in providers also accept. */
export interface ProviderOptions extends OptionsFrom<typeof providerOptions> {}

/** `ProviderOptions` with the defaults. */
export type ProviderValues = ValuesFrom<typeof providerOptions>

/** Checks that `sharded` is used with a Cluster: only a Cluster has shard channels. Throws `RT_OPTION_INVALID`. */
export function checkSharded (sharded: boolean, client: RedisClient | undefined): void {
  if (sharded && client?.isCluster !== true) {
    throw new RealtimeError('RT_OPTION_INVALID', '`sharded` needs an ioredis Cluster as `redis`')
  }
}
