import t from 'tap'
import { once } from 'node:events'
import { Cluster, type Redis } from 'ioredis'
import { RedisPubSub } from '../../../../lib/index.ts'
import { live } from '../../../support/live.ts'
import { keepLog } from '../../../support/log.ts'
import { RedisServer } from '../../../support/redis-server.ts'
import { client, open, startRedis } from '../../../support/redis.ts'
import { until } from '../../../support/until.ts'

/** How many connections Redis has. */
async function connections (admin: Redis): Promise<number> {
  return String(await admin.client('LIST')).trim().split('\n').length
}

t.test('pages of logs and states are not read on the publishing connection', async (t) => {
  const redis = await startRedis(t)
  const app = client(t, redis.url)
  const sent: string[] = []
  const { sendCommand } = app
  app.sendCommand = (command, ...more) => {
    sent.push(command.name)
    return sendCommand.call(app, command, ...more)
  }
  const pubsub = open(t, { client: app })
  await live(pubsub)
  const { head: top } = await pubsub.eventLog.read('c', undefined, 1, 0)
  await pubsub.publish('c', 1)
  t.same(
    sent.filter((name) => name.startsWith('eval')), ['eval', 'eval'], 'heads are read on the publishing connection'
  )
  sent.length = 0
  t.equal((await pubsub.eventLog.read('c', top, 10)).entries.length, 1)
  t.equal((await pubsub.eventLog.read('c', undefined, 10)).entries.length, 1)
  t.equal((await pubsub.eventLog.heads(['c'])).length, 1)
  await pubsub.state?.read('c')
  t.same(sent, [])
})

t.test('the read connection is opened when needed, shown, and closed', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const before = await connections(admin)
  const pubsub = open(t, { url: redis.url })
  await live(pubsub)
  // The subscriber may be connected first.
  await until(async () => pubsub.connected().publisher, (connected) => connected === true)
  t.same(pubsub.connected(), { publisher: true, subscriber: true })
  t.equal(await connections(admin), before + 2)
  await pubsub.eventLog.read('c', undefined, 10)
  t.same(pubsub.connected(), { publisher: true, subscriber: true, reader: true })
  t.equal(await pubsub.isHealthy(), true)
  t.equal(await connections(admin), before + 3)
  await pubsub.close()
  await until(() => connections(admin), (count) => count <= before)
  await t.rejects(pubsub.eventLog.read('c', undefined, 10), { code: 'RT_LOG_UNAVAILABLE' })
})

t.test('closing opens no read connection, and neither does a later read', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url })
  await live(pubsub)
  await pubsub.close()
  await t.rejects(pubsub.eventLog.read('c', undefined, 10), { code: 'RT_LOG_UNAVAILABLE' })
  t.equal(pubsub.connected().reader, undefined)
})

t.test('a read connection that breaks is logged, reopened, and delays no publish', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const { log, line } = keepLog()
  const pubsub = open(t, { url: redis.url, log })
  await live(pubsub)
  const ids = async (): Promise<number[]> => {
    return [...String(await admin.client('LIST')).matchAll(/^id=(\d+)/gm)].map(([, id]) => Number(id))
  }
  const { head: top } = await pubsub.eventLog.read('c', undefined, 10, 0)
  const before = await ids()
  await pubsub.eventLog.read('c', undefined, 10)
  const [reader] = (await ids()).filter((id) => !before.includes(id))
  await admin.client('KILL', 'ID', reader as number)
  t.match(await line('Redis is out of reach, trying again'), { connection: 'reader' })
  await pubsub.publish('c', 1)
  t.match(await line('Redis is back'), { connection: 'reader' })
  t.equal((await pubsub.eventLog.read('c', top, 10)).entries.length, 1)
})

t.test('with a Cluster, pages are read by our own client, which is closed', async (t) => {
  const redis = await RedisServer.start({ cluster: true })
  t.teardown(() => redis.stop())
  const admin = client(t, redis.url)
  await admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  await until(() => admin.call('CLUSTER', 'INFO'), (info) => String(info).includes('cluster_state:ok'))
  const cluster = new Cluster([{ host: '127.0.0.1', port: redis.port }])
  t.teardown(() => { cluster.disconnect() })
  await once(cluster, 'ready')
  const pubsub = new RedisPubSub({ client: cluster })
  await live(pubsub)
  await pubsub.publish('c', 1)
  const before = await connections(admin)
  t.equal((await pubsub.eventLog?.read('c', undefined, 10))?.entries.length, 1)
  t.ok(await connections(admin) > before)
  t.same(pubsub.connected(), { publisher: true, subscriber: true, reader: true })
  await pubsub.close()
  await until(() => connections(admin), (count) => count <= before)
  t.equal(await cluster.ping(), 'PONG')
})
