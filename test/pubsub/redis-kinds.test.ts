import t from 'tap'
import { once } from 'node:events'
import fastifyRedis from '@fastify/redis'
import Fastify, { type FastifyInstance } from 'fastify'
import { Cluster, Redis } from 'ioredis'
import realtimePlugin, { RedisPubSub } from '../../lib/index.ts'
import { live } from '../support/live.ts'
import { RedisServer } from '../support/redis-server.ts'

t.test('the client of @fastify/redis is shared and stays the app\'s to close', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const app = Fastify() as unknown as FastifyInstance
  await app.register(fastifyRedis, { url: redis.url })
  await app.register(realtimePlugin, { redis: app.redis })
  await app.ready()
  const event = new Promise((resolve) => { app.chatEvents.onChatEvent('c', resolve) })
  await live(app.pubsub as RedisPubSub)
  await app.chatEvents.emitChatMessage('c', { n: 1 })
  t.match(await event, { message: { n: 1 } })
  t.match((await app.inject('/api/health/pubsub')).json(), { provider: 'redis', healthy: true })
  const ended = once(app.redis, 'end')
  await app.close()
  await ended
})

t.test('a client of a Redis Cluster works', async (t) => {
  const redis = await RedisServer.start({ args: ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1'] })
  t.teardown(() => redis.stop())
  const admin = new Redis(redis.url)
  await admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  while (!(await admin.call('CLUSTER', 'INFO') as string).includes('cluster_state:ok')) { /* until it agrees with itself */ }
  const cluster = new Cluster([{ host: '127.0.0.1', port: redis.port }])
  await once(cluster, 'ready')
  const pubsub = new RedisPubSub({ client: cluster })
  const got: unknown[] = []
  pubsub.subscribe('c*', ({ data }) => { got.push(data) })
  pubsub.subscribeExact('c', ({ data }) => { got.push(data) })
  await live(pubsub)
  await pubsub.publish('c', 1)
  await live(pubsub)
  t.same(got, [1, 1])
  t.equal(await pubsub.isHealthy(), true)
  await pubsub.close()
  t.equal(await cluster.ping(), 'PONG')
  cluster.disconnect()
  admin.disconnect()
})
