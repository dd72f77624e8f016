import type { PubSubProvider } from './provider.ts'
import type { Logger } from '../core/logger.ts'
import type { Metrics } from '../observability/metrics.ts'
import type { RedisClient } from './redis/client.ts'
import { LocalPubSub } from './local/local-pubsub.ts'
import { RedisPubSub } from './redis/redis-pubsub.ts'
import type { ProviderValues } from './provider-options.ts'

type Choice = ProviderValues & { redisUrl: string | undefined, redis: RedisClient | undefined }

/** Creates the provider: `RedisPubSub` if Redis is configured, otherwise `LocalPubSub`. */
export function createPubSub (
  { redisUrl: url, redis: client, ...options }: Choice, log: Logger, metrics: Metrics
): PubSubProvider {
  const common = { ...options, log, metrics }
  const pubsub = client !== undefined
    ? new RedisPubSub({ client, ...common })
    : url !== undefined
      ? new RedisPubSub({ url, ...common })
      : new LocalPubSub(common)
  log.info(
    { provider: pubsub.name },
    `Using ${pubsub instanceof RedisPubSub ? 'RedisPubSub' : 'LocalPubSub'} for realtime events`
  )
  return pubsub
}
