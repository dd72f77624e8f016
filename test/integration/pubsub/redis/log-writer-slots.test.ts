import t, { type Test } from 'tap'
import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { Cluster, type Redis } from 'ioredis'
import type { RedisStateStore } from '../../../../lib/pubsub/redis/state-store.ts'
import { client, open, startRedis } from '../../../support/redis.ts'
import type { RedisServer } from '../../../support/redis-server.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { until } from '../../../support/until.ts'
import { upTo } from '../../../support/numbers.ts'
import { logged } from './logged.ts'

t.beforeEach(nothingUnhandled)

/** A server with slots. */
async function startNode (t: Test): Promise<{ redis: RedisServer, admin: Redis }> {
  const redis = await startRedis(t, ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1'])
  const admin = client(t, redis.url)
  await admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  await until(() => admin.call('CLUSTER', 'INFO'), (info) => String(info).includes('cluster_state:ok'))
  return { redis, admin }
}

t.test('behind a client that knows no slots, a Cluster node loses, duplicates and reorders nothing', async (t) => {
  const { redis, admin } = await startNode(t)
  const pubsub = open(t, { url: redis.url })
  const state = pubsub.state as RedisStateStore
  await state.change('b', { operation: 'open', field: 'draft', value: 'x', leaseMs: 10_000, owner: 'me', key: 'key' })
  const channels = ['a', 'b', 'c']
  const published = upTo(300).map((n) => pubsub.publish(channels[n % 3] as string, n))
  published.push(state.finalize('b', {
    field: 'draft', owner: 'me', event: 'finalized', keepContent: false, key: 'key'
  }) as typeof published[0])
  published.push(...upTo(30).map((n) => pubsub.publish(channels[n % 3] as string, 300 + n)))
  const receipts = await Promise.all(published)
  t.equal(new Set(receipts.map(({ id }) => id)).size, 331)
  for (const [index, channel] of channels.entries()) {
    const numbers = upTo(330).filter((n) => n % 3 === index)
    const expected = channel === 'b' ? [...numbers.slice(0, 100), 'finalized', ...numbers.slice(100)] : numbers
    t.same(await logged(pubsub, channel), expected)
  }
  t.match(await admin.info('errorstats'), /errorstat_CROSSSLOT/)
  await admin.config('RESETSTAT')
  await Promise.all(upTo(30).map((n) => pubsub.publish(channels[n % 3] as string, n)))
  t.notMatch(await admin.info('errorstats'), /CROSSSLOT/, 'the writer knows the slots')
})

t.test('while the writer learns about slots, the refusal of an earlier attempt duplicates nothing', async (t) => {
  const { redis } = await startNode(t)
  const app = client(t, redis.url)
  // As if each reply had its own packet, in the order of Redis.
  const send = app.sendCommand.bind(app)
  let before: Promise<unknown> = Promise.resolve()
  app.sendCommand = (...args) => {
    const reply = send(...args) as Promise<unknown>
    reply.catch(() => {})
    const mine = before.then(() => reply)
    before = mine.catch(() => {}).then(() => turn())
    return mine
  }
  const pubsub = open(t, { client: app })
  await pubsub.publish('a', 0)
  let release = (): void => {}
  before = new Promise<void>((resolve) => { release = resolve })
  const published = [pubsub.publish('a', 1), pubsub.publish('a', 2), pubsub.publish('b', 2)]
  await turn()
  published.push(pubsub.publish('a', 3))
  await turn()
  published.push(pubsub.publish('b', 3))
  await turn()
  release()
  await Promise.all(published)
  t.same([await logged(pubsub, 'a'), await logged(pubsub, 'b')], [[0, 1, 2, 3], [2, 3]])
})

t.test('a channel that the app puts in several slots is refused, and not resent for ever', async (t) => {
  const { redis } = await startNode(t)
  const pubsub = open(t, { client: client(t, redis.url, { keyPrefix: '{}' }) })
  for (const n of [1, 2]) await t.rejects(pubsub.publish('c', n), { code: 'RT_PUBLISH_REJECTED', message: /CROSSSLOT/ })
})

t.test('the app\'s client may batch commands by itself', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { client: client(t, redis.url, { enableAutoPipelining: true }) })
  await Promise.all(upTo(100).map((n) => pubsub.publish('c', n)))
  t.same(await logged(pubsub, 'c'), upTo(100))
})

t.test('commands that a Cluster client holds back are awaited, and not sent again and again', async (t) => {
  const { redis, admin } = await startNode(t)
  const cluster = new Cluster([{ host: '127.0.0.1', port: redis.port }])
  t.teardown(() => cluster.disconnect())
  await once(cluster, 'ready')
  const pubsub = open(t, { client: cluster })
  await pubsub.publish('c', 0)
  const send = cluster.sendCommand.bind(cluster)
  let release = (): void => {}
  const held = new Promise<void>((resolve) => { release = resolve })
  cluster.sendCommand = async (...args) => {
    cluster.sendCommand = send
    await held
    return await send(...args)
  }
  const published = [pubsub.publish('c', 1), pubsub.publish('c', 2)]
  const early = async (): Promise<number> => {
    return Number(/errorstat_EARLY:count=(\d+)/.exec(await admin.info('errorstats'))?.[1] ?? 0)
  }
  await until(early, (count) => count >= 2)
  for (let n = 0; n < 100; n++) await admin.ping()
  t.ok(await early() < 50)
  release()
  await Promise.all(published)
  t.same(await logged(pubsub, 'c'), [0, 1, 2])
})
