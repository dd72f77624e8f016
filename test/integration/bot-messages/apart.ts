import type { Test } from 'tap'
import { Redis } from 'ioredis'
import type { RealtimeOptions } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { LossyProxy } from '../../support/lossy-proxy.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { until } from '../../support/until.ts'
import { LEASE, type Side } from './sides.ts'

/** Two instances over a Redis of the test, the first one behind a proxy, and a reader on each. */
export async function apart (t: Test, options: RealtimeOptions = {}, args: string[] = []): Promise<{
  redis: RedisServer
  proxy: LossyProxy
  one: Side
  two: Side
  admin: Redis
}> {
  const redis = await RedisServer.start({ args })
  t.teardown(() => redis.stop())
  const proxy = await LossyProxy.start(t, redis.port)
  const [one, two] = await Promise.all([proxy.port, redis.port].map((port, n) => {
    return startApp(t, {
      redisUrl: `redis://127.0.0.1:${port}`,
      instanceId: `i${n}`,
      botMessageWindowMs: 0,
      botMessageLeaseMs: LEASE,
      ...options
    })
  }))
  // Faults that a test causes must find them connected.
  for (const side of [one, two]) {
    await until(async () => await side?.app.pubsub.isHealthy(), (healthy) => healthy === true)
  }
  const admin = new Redis(redis.url)
  admin.on('error', () => {})
  t.teardown(() => { admin.disconnect() })
  return { redis, proxy, one, two, admin } as Awaited<ReturnType<typeof apart>>
}
