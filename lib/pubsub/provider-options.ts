import { defaults, type Resolved } from '../core/defaults.ts'
import { NAME } from '../core/names.ts'
import { optional, text, or, whole, flag } from '../core/validate.ts'
import { RealtimeError, kindOf } from '../errors.ts'
import type { RedisClient } from './redis/client.ts'

/** How much of each chat is kept for clients that reconnect. */
export interface HistoryOptions {
  /** Number of events to keep of each chat. @default 1000 */
  size?: number | undefined
  /** Milliseconds to keep the events after the last one. @default 600_000 */
  ttlMs?: number | undefined
}

/** Options of the plugin that the built-in providers also accept. */
export interface ProviderOptions {
  /**
   * The name of this instance in `from` and in logs. It must be unique among the instances.
   * @default made of the process id, the time and a random part
   */
  instanceId?: string | undefined
  /**
   * Prefix of the names of all Redis keys and channels. Apps that share a Redis server need different prefixes, either
   * here or as the `keyPrefix` of an ioredis client, or separate databases. Pub/sub itself ignores the client's prefix
   * and the database, so the channel names contain both. The database number is the one at registration.
   * @default 'rt:'
   */
  keyPrefix?: string | undefined
  /**
   * Maximum bytes of JSON of one event.
   * @default 65_536
   */
  maxPayloadBytes?: number | undefined
  /**
   * Milliseconds after which a publish rejects if Redis does not reply.
   * @default 5_000
   */
  publishTimeoutMs?: number | undefined
  /**
   * How much of each chat is kept for clients that reconnect: the last `size` events, until `ttlMs` milliseconds after
   * the last one. With `false`, nothing is kept: streams carry no event ids and can't resume.
   * @default { size: 1000, ttlMs: 600_000 }
   */
  history?: HistoryOptions | false | undefined
  /**
   * Milliseconds for which an idempotency key is remembered.
   * @default 120_000
   */
  idempotencyTtlMs?: number | undefined
  /**
   * Publishes to the shard channels of a Redis Cluster (Redis 7 or later), so that an event reaches one node rather
   * than all of them. Needs a `Cluster` as `redis`. Patterns can't be subscribed to in this mode.
   * @default false
   */
  sharded?: boolean | undefined
}

/** Validates the options that the built-in providers share and fills in defaults. Throws `RT_OPTION_INVALID`. */
export function resolveProviderOptions (given: ProviderOptions): Resolved<ProviderOptions> {
  return {
    instanceId: optional(
      given.instanceId,
      (value) => text('instanceId', value, NAME, '1 to 64 letters, digits, or _ . -')
    ),
    keyPrefix: text(
      'keyPrefix',
      or(given.keyPrefix, defaults.keyPrefix),
      /^[\w:.-]{0,64}$/,
      'up to 64 letters, digits, or _ : . -'
    ),
    history: resolveHistory(given.history),
    idempotencyTtlMs: whole('idempotencyTtlMs', or(given.idempotencyTtlMs, defaults.idempotencyTtlMs), 1),
    maxPayloadBytes: whole('maxPayloadBytes', or(given.maxPayloadBytes, defaults.maxPayloadBytes), 1),
    publishTimeoutMs: whole('publishTimeoutMs', or(given.publishTimeoutMs, defaults.publishTimeoutMs), 1),
    sharded: flag('sharded', or(given.sharded, defaults.sharded))
  }
}

function resolveHistory (history: HistoryOptions | false | undefined): Resolved<ProviderOptions>['history'] {
  if (history === undefined || history === false) return history ?? defaults.history
  if (typeof history !== 'object' || history === null) {
    throw new RealtimeError(
      'RT_OPTION_INVALID',
    `Expected \`history\` to be { size, ttlMs } or false, got ${kindOf(history)}`
    )
  }
  return {
    size: whole('history.size', or(history.size, defaults.history.size), 1),
    ttlMs: whole('history.ttlMs', or(history.ttlMs, defaults.history.ttlMs), 1)
  }
}

/** Checks that `sharded` is used with a Cluster: only a Cluster has shard channels. Throws `RT_OPTION_INVALID`. */
export function checkSharded (sharded: unknown, client: RedisClient | undefined): void {
  if (sharded === true && client?.isCluster !== true) {
    throw new RealtimeError('RT_OPTION_INVALID', '`sharded` needs an ioredis Cluster as `redis`')
  }
}
