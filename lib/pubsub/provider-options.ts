import { defaults, type Resolved } from '../core/defaults.ts'
import { NAME } from '../core/names.ts'
import { optional, text, or, whole, flag } from '../core/validate.ts'
import { RealtimeError, kindOf } from '../errors.ts'
import type { RedisClient } from './redis/client.ts'

/** How much of each chat is kept for clients that come back. */
export interface HistoryOptions {
  /** Events to keep of each chat. @default 1000 */
  size?: number | undefined
  /** Milliseconds to keep them after the last one. @default 600_000 */
  ttlMs?: number | undefined
}

/** Options that the built-in providers take as well. */
export interface ProviderOptions {
  /**
   * The name of this instance in `from` and in logs. Two instances must never have the same.
   * @default made of the process id, the time and a random part
   */
  instanceId?: string | undefined
  /**
   * What the names of all keys and channels in Redis start with. Apps that share a Redis need different ones, here or as
   * the `keyPrefix` of an ioredis client, or a database each: the names of channels hold the client's prefix and the number
   * of its database, too, since pub/sub ignores both. The number is that at registration.
   * @default 'rt:'
   */
  keyPrefix?: string | undefined
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
   * Publishes to the shard channels of a Redis Cluster, from Redis 7 on, so that an event reaches one node rather than all of them. Needs a
   * `Cluster` as `redis`. Patterns can't be subscribed to then.
   * @default false
   */
  sharded?: boolean | undefined
}

/** The part of `resolveOptions` that the built-in providers share. Throws `RT_OPTION_INVALID`. */
export function resolveProviderOptions (given: ProviderOptions): Resolved<ProviderOptions> {
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

function resolveHistory (history: HistoryOptions | false | undefined): Resolved<ProviderOptions>['history'] {
  if (history === undefined || history === false) return history ?? defaults.history
  if (typeof history !== 'object' || history === null) throw new RealtimeError('RT_OPTION_INVALID', `Expected \`history\` to be { size, ttlMs } or false, got ${kindOf(history)}`)
  return {
    size: whole('history.size', or(history.size, defaults.history.size), 1),
    ttlMs: whole('history.ttlMs', or(history.ttlMs, defaults.history.ttlMs), 1)
  }
}

/** Shard channels are those of a Cluster. Throws `RT_OPTION_INVALID`. */
export function checkSharded (sharded: unknown, client: RedisClient | undefined): void {
  if (sharded === true && client?.isCluster !== true) throw new RealtimeError('RT_OPTION_INVALID', '`sharded` needs an ioredis Cluster as `redis`')
}
