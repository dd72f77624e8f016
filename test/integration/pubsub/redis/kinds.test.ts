import t, { type Test } from 'tap'
import { once } from 'node:events'
import fastifyRedis from '@fastify/redis'
import Fastify, { type FastifyInstance } from 'fastify'
import * as ioredis from 'ioredis'
import * as ioredis5 from 'ioredis5'
import realtimePlugin, { RedisPubSub, type PublishReceipt, type RedisClient } from '../../../../lib/index.ts'
import { startApp } from '../../../support/app.ts'
import { EventStream } from '../../../support/event-stream.ts'
import { live } from '../../../support/live.ts'
import { startRedis } from '../../../support/redis.ts'
import { RedisServer } from '../../../support/redis-server.ts'
import { until } from '../../../support/until.ts'

const { Cluster, Redis } = ioredis

t.test('the client of @fastify/redis is shared and left open for the app to close', async (t) => {
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

const password = 'hunter2'

/**
 * Creates clients, by the version of ioredis. Their options must reach the connections that the plugin derives from
 * them.
 */
const versions = {
  'ioredis 6': {
    standalone: (port: number) => new ioredis.Redis(port, { password }),
    cluster: (port: number) => new ioredis.Cluster([{ host: '127.0.0.1', port }], { redisOptions: { password } })
  },
  'ioredis 6 in RESP3': {
    standalone: (port: number) => new ioredis.Redis(port, { password, replyMapping: 'resp3' }),
    cluster: (port: number) => new ioredis.Cluster([{ host: '127.0.0.1', port }], {
      redisOptions: { password, replyMapping: 'resp3' }
    })
  },
  'ioredis 5': {
    standalone: (port: number) => new ioredis5.Redis(port, { password }),
    cluster: (port: number) => new ioredis5.Cluster([{ host: '127.0.0.1', port }], { redisOptions: { password } })
  }
}

/** A Redis that is all of a Cluster. */
async function startOneNode (t: Test): Promise<RedisServer> {
  const redis = await startRedis(t, [
    '--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1', '--requirepass', password
  ])
  const admin = new Redis(redis.port, { password })
  t.teardown(() => { admin.disconnect() })
  await admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  await until(() => admin.call('CLUSTER', 'INFO') as Promise<string>, (info) => info.includes('cluster_state:ok'))
  return redis
}

async function oneNode (t: Test): Promise<ioredis.Cluster> {
  const { port } = await startOneNode(t)
  const cluster = new Cluster([{ host: '127.0.0.1', port }], { redisOptions: { password } })
  t.teardown(() => { cluster.disconnect() })
  await once(cluster, 'ready')
  return cluster
}

for (const [version, make] of Object.entries(versions)) {
  for (const kind of ['standalone', 'cluster', 'sharded'] as const) {
    t.test(`with a client of ${version}, ${kind}, an app delivers, resumes, recovers and leaves it open`, async (t) => {
      const redis = kind === 'standalone' ? await startRedis(t, ['--requirepass', password]) : await startOneNode(t)
      const client: RedisClient = kind === 'standalone' ? make.standalone(redis.port) : make.cluster(redis.port)
      client.on('error', () => {})
      t.teardown(() => { client.disconnect() })
      const { app, url } = await startApp(t, { redis: client, sharded: kind === 'sharded', retryMs: 50 })
      const path = `${url}/api/chats/c/events`
      const emit = (n: number): Promise<PublishReceipt> => app.chatEvents.emitChatMessage('c', { n })
      const stream = await EventStream.open(t, path)
      t.match(await stream.next(), { event: 'ready' })
      const receipts = await Promise.all([emit(1), emit(2), emit(3)])
      t.match(await stream.take(3), [1, 2, 3].map((n) => ({ event: 'message', data: { message: { n } } })))
      const resumed = await EventStream.open(t, path, { headers: { 'last-event-id': receipts[0].id as string } })
      t.match(await resumed.take(3), [
        { event: 'ready', data: { resumed: true } }, { data: { message: { n: 2 } } }, { data: { message: { n: 3 } } }
      ])
      await app.chatEvents.streamBotMessage('c', async function * () { yield * ['a', 'b'] })
      let event = await stream.next()
      while ((event.data as { status: string }).status !== 'finished') event = await stream.next()
      t.match(event, { event: 'bot_message', data: { text: 'ab' } })
      await redis.freeze()
      t.equal((await app.inject('/api/health/pubsub')).statusCode, 503)
      await redis.thaw()
      await until(async () => (await app.inject('/api/health/pubsub')).statusCode, (status) => status === 200)
      await app.close()
      t.equal(await client.ping(), 'PONG')
    })
  }
}

t.test('a client of a Redis Cluster works with patterns', async (t) => {
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
  const unsubscribe = pubsub.subscribeExact('c', ({ data }) => { got.push(data) })
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
  unsubscribe()
  unsubscribe()
  await other.publish('c', 5)
  await live(pubsub)
  t.same(got, [1, 2, 3, 4])
  const brief = new RedisPubSub({ client: cluster, sharded: true, history: false })
  t.equal(await brief.isHealthy(), true)
  await Promise.all([pubsub.close(), other.close(), classic.close(), brief.close()])
})

t.test('shard channels require a Cluster', async (t) => {
  const redis = new Redis({ lazyConnect: true })
  for (const make of [
    () => new RedisPubSub({ client: redis, sharded: true }),
    () => new RedisPubSub({ url: 'redis://127.0.0.1:1', sharded: true })
  ]) {
    t.throws(make, { code: 'RT_OPTION_INVALID', message: /Cluster/ })
  }
  await t.rejects(async () => { await Fastify().register(realtimePlugin, { sharded: true }) }, {
    code: 'RT_OPTION_INVALID', message: /Cluster/
  })
})
