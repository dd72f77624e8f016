import t, { type Test } from 'tap'
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

/** A Cluster of one node. */
async function oneNode (t: Test): Promise<Cluster> {
  const redis = await RedisServer.start({ args: ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1'] })
  t.teardown(() => redis.stop())
  const admin = new Redis(redis.url)
  t.teardown(() => { admin.disconnect() })
  await admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  while (!(await admin.call('CLUSTER', 'INFO') as string).includes('cluster_state:ok')) { /* until it agrees with itself */ }
  const cluster = new Cluster([{ host: '127.0.0.1', port: redis.port }])
  t.teardown(() => { cluster.disconnect() })
  await once(cluster, 'ready')
  return cluster
}

t.test('a client of a Redis Cluster works', async (t) => {
  const cluster = await oneNode(t)
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
})

t.test('the shard channels of a Cluster work, but have no patterns', async (t) => {
  const cluster = await oneNode(t)
  const pubsub = new RedisPubSub({ client: cluster, sharded: true })
  const got: unknown[] = []
  const undo = pubsub.subscribeExact('c', ({ data }) => { got.push(data) })
  const other = new RedisPubSub({ client: cluster, sharded: true })
  t.throws(() => pubsub.subscribe('c*', () => {}), { code: 'RT_PATTERN_SHARDED' })
  await live(pubsub)
  t.equal(await pubsub.isHealthy(), true)
  await pubsub.publish('c', 1)
  await other.publish('c', 2)
  await other.publish('c', 3, { ephemeral: true })
  await live(pubsub)
  t.same(got, [1, 2, 3])
  const classic = new RedisPubSub({ client: cluster })
  classic.subscribeExact('c', ({ data }) => { got.push(data) })
  await live(classic)
  await pubsub.publish('c', 4)
  await live(pubsub)
  await live(classic)
  t.same(got, [1, 2, 3, 4], 'they are none of the classic ones')
  undo()
  undo()
  await other.publish('c', 5)
  await live(pubsub)
  t.same(got, [1, 2, 3, 4])
  await Promise.all([pubsub.close(), other.close(), classic.close()])
})

t.test('a Cluster that is asked for shard channels is needed', async (t) => {
  const redis = new Redis({ lazyConnect: true })
  for (const make of [() => new RedisPubSub({ client: redis, sharded: true }), () => new RedisPubSub({ url: 'redis://127.0.0.1:1', sharded: true })]) {
    t.throws(make, { code: 'RT_OPTION_INVALID', message: /Cluster/ })
  }
  await t.rejects(async () => { await Fastify().register(realtimePlugin, { sharded: true }) }, { code: 'RT_OPTION_INVALID', message: /Cluster/ })
})
