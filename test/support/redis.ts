import type { Test } from 'tap'
import { Redis } from 'ioredis'
import { RedisPubSub, type EventLog, type RedisPubSubOptions } from '../../lib/index.ts'
import { RedisServer } from './redis-server.ts'

/** A Redis that ends with the test. `args` are more arguments for it. */
export async function startRedis (t: Test, args: string[] = []): Promise<RedisServer> {
  const redis = await RedisServer.start({ args })
  t.teardown(() => redis.stop())
  return redis
}

/** A client that ends with the test, and stays calm while its Redis is away. */
export function client (t: Test, url: string, options: object = {}): Redis {
  const redis = new Redis(url, options)
  redis.on('error', () => {})
  t.teardown(() => redis.disconnect())
  return redis
}

/** A provider that ends with the test. */
export function open (t: Test, options: RedisPubSubOptions): RedisPubSub & { log: EventLog } {
  const pubsub = new RedisPubSub(options)
  t.teardown(() => pubsub.close())
  return pubsub as RedisPubSub & { log: EventLog } // Unless history is off.
}
