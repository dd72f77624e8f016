import type { PubSubProvider } from './provider.ts'
import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import type { ResolvedOptions } from '../options.ts'
import { LocalPubSub } from './local-pubsub.ts'
import { RedisPubSub } from './redis-pubsub.ts'

type Choice = Pick<ResolvedOptions, 'redisUrl' | 'redis' | 'instanceId' | 'keyPrefix' | 'maxPayloadBytes' | 'publishTimeoutMs' | 'history' | 'idempotencyTtlMs' | 'sharded'>

/** Chooses the provider: over Redis where there is one, else in this process. */
export function createPubSub ({ redisUrl, redis, instanceId, keyPrefix, maxPayloadBytes, publishTimeoutMs, history, idempotencyTtlMs, sharded }: Choice, log: Logger, metrics: Metrics): PubSubProvider {
  const common = { instanceId, maxPayloadBytes, history, idempotencyTtlMs, log, metrics }
  const pubsub = redis !== undefined
    ? new RedisPubSub({ client: redis, keyPrefix, publishTimeoutMs, sharded, ...common })
    : redisUrl !== undefined
      ? new RedisPubSub({ url: redisUrl, keyPrefix, publishTimeoutMs, ...common })
      : new LocalPubSub(common)
  log.info({ provider: pubsub.name }, `Using ${pubsub instanceof RedisPubSub ? 'RedisPubSub' : 'LocalPubSub'} for realtime events`)
  return pubsub
}
