/**
 * What the option `redis` takes. It is compiled, not run: each `@ts-expect-error` is a mistake that must not compile.
 */
import fastifyRedis from '@fastify/redis'
import Fastify from 'fastify'
import * as ioredis from 'ioredis'
import * as ioredis5 from 'ioredis5'
import realtimePlugin, { RedisPubSub, type RedisClient } from 'fastify-realtime'

const app = Fastify()
await app.register(fastifyRedis, { url: 'redis://host' })
await app.register(realtimePlugin, { redis: app.redis })

const clients: RedisClient[] = [
  new ioredis.Redis(), new ioredis.Cluster([]), new ioredis.Redis({ replyMapping: 'resp3' }),
  new ioredis5.Redis(), new ioredis5.Cluster([])
]
for (const redis of clients) {
  await app.register(realtimePlugin, { redis })
  await new RedisPubSub({ client: redis }).close()
}
await app.register(realtimePlugin, { redis: new ioredis5.Cluster([]), sharded: true })
// @ts-expect-error A URL goes into `redisUrl`.
await app.register(realtimePlugin, { redis: 'redis://host' })
// @ts-expect-error A pipeline is not a client.
await app.register(realtimePlugin, { redis: new ioredis5.Redis().pipeline() })
