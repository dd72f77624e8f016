import type { Test } from 'tap'
import { Redis } from 'ioredis'
import { RedisPubSub, type EventLog, type RedisPubSubOptions } from '../../lib/index.ts'
import { LossyProxy } from './lossy-proxy.ts'
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
export function open (t: Test, options: RedisPubSubOptions): RedisPubSub & { eventLog: EventLog } {
  const pubsub = new RedisPubSub(options)
  t.teardown(() => pubsub.close())
  return pubsub as RedisPubSub & { eventLog: EventLog } // Unless history is off.
}

interface Lossy { admin: Redis, proxy: LossyProxy, pubsub: RedisPubSub & { eventLog: EventLog } }

/**
 * Starts a provider behind a proxy that can lose its replies. It runs as the Redis user `app`, which has all rights
 * until a test takes some away.
 */
export async function startLossy (t: Test, options: { publishTimeoutMs?: number } = {}): Promise<Lossy> {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  await admin.call('ACL', 'SETUSER', 'app', 'on', '>hunter2', 'allchannels', 'allkeys', '+@all')
  const proxy = await LossyProxy.start(t, redis.port)
  return { admin, proxy, pubsub: open(t, { ...options, url: `redis://app:hunter2@127.0.0.1:${proxy.port}` }) }
}
