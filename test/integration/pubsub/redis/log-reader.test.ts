import t from 'tap'
import { once } from 'node:events'
import type { Cursor } from '../../../../lib/pubsub/cursor.ts'
import { client, open, startLossy, startRedis } from '../../../support/redis.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { until } from '../../../support/until.ts'
import { timing } from '../../../../lib/core/timing.ts'
import { publish, contentsOf } from './log-of-one-chat.ts'

t.beforeEach(nothingUnhandled)

t.test('the keys of a chat have one hash tag, an encoded name, and an expiry', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url, history: { ttlMs: 8_000 }, idempotencyTtlMs: 5_000 })
  await pubsub.publish('chat:a{b}*c', 1, { idempotencyKey: 'my}key' })
  const name = 'rt:{chat:a%7Bb%7D%2Ac}'
  const keys = [`${name}:i:my%7Dkey`, `${name}:m`, `${name}:s`]
  const [batch, ...others] = (await admin.keys('*')).filter((key) => !keys.includes(key))
  t.match(batch, `${name}:b:`)
  t.same(others, [])
  await pubsub.eventLog.read('chat:empty', undefined, 1)
  t.same(await admin.keys('*empty*'), ['rt:{chat:empty}:m'])
  const ttl = async (key: string): Promise<number> => Math.ceil(await admin.pttl(key) / 1_000)
  t.same([await ttl(`${name}:s`), await ttl(`${name}:i:my%7Dkey`), await ttl(String(batch))], [10, 5, 10])
  const week = 7 * 24 * 3_600
  t.same([await ttl(`${name}:m`), await ttl('rt:{chat:empty}:m')], [week + 10, timing.emptyLog / 1_000])
})

t.test('the position in a chat without an event is kept while it has listeners, and no longer', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  const key = 'rt:{c}:m'
  const { head: top } = await pubsub.eventLog.read('c', undefined, 1)
  for (const again of [
    () => pubsub.eventLog.heads(['c', 'none']),
    () => pubsub.eventLog.read('c', top, 1),
    () => pubsub.eventLog.read('c', undefined, 1)
  ]) {
    await admin.pexpire(key, 5_000)
    await again()
    t.ok(await admin.pttl(key) > 5_000)
  }
  const [first] = await publish(pubsub, 1) as [Cursor]
  t.same(first, { ...top, offset: 1, tag: first.tag }, 'the first event follows it')
  t.same(contentsOf(await pubsub.eventLog.read('c', top, 10)), [1])
  await pubsub.eventLog.heads(['c'])
  t.ok(await admin.pttl(key) > timing.metaExtra, 'and makes it last')
  await pubsub.eventLog.read('d', undefined, 1)
  await admin.pexpire('rt:{d}:m', 1)
  await until(() => admin.exists('rt:{d}:m'), (count) => count === 0)
  t.same(await pubsub.eventLog.heads(['d']), [undefined])
})

t.test('a chat without events keeps its position for as long as its state', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  await pubsub.state?.change('c', { operation: 'set', field: 'f', value: '1', leaseMs: 60_000 })
  const before = await admin.pttl('rt:{c}:m')
  await pubsub.eventLog.read('c', undefined, 1)
  t.ok(await admin.pttl('rt:{c}:m') > before - 60_000)
  await pubsub.eventLog.heads(['c'])
  t.ok(await admin.pttl('rt:{c}:m') > before - 60_000)
})

t.test('with a full Redis a client can read chats with events and without', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  const [position] = await publish(pubsub, 1) as [Cursor]
  await admin.xadd('rt:{left}:s', '1-1', 'k', 'd', 'p', '0', 'd', 'a 1 message 2')
  await admin.config('SET', 'maxmemory', '1')
  t.match(await pubsub.eventLog.read('c', undefined, 1), { head: position, entries: [{ json: '1' }] })
  for (const channel of ['none', 'left']) {
    const { head: top, entries } = await pubsub.eventLog.read(channel, undefined, 1)
    t.match([top, entries], [{ offset: 0, tag: 0 }, []])
    t.match(await pubsub.eventLog.read(channel, top, 1), { gap: 'epoch' }, 'a position that could not be kept is none')
  }
  t.same(await pubsub.eventLog.heads(['none']), [undefined])
  await admin.config('SET', 'maxmemory', '0')
  t.match(await pubsub.publish('none', 1), { duplicate: false })
})

t.test('a user without the right to write gets an error rather than a position that is not kept', async (t) => {
  const { admin, pubsub } = await startLossy(t)
  await publish(pubsub, 1)
  await admin.call('ACL', 'SETUSER', 'app', '-hset')
  t.same(contentsOf(await pubsub.eventLog.read('c', undefined, 1)), [1])
  await t.rejects(pubsub.eventLog.read('none', undefined, 1), { code: 'RT_LOG_UNAVAILABLE' })
})

t.test('the app\'s client with a key prefix keeps its prefix', async (t) => {
  const redis = await startRedis(t)
  const app = client(t, redis.url, { keyPrefix: 'app:' })
  const pubsub = open(t, { client: app })
  const [position] = await publish(pubsub, 1)
  t.same(await pubsub.eventLog.heads(['c']), [position])
  t.same(contentsOf(await pubsub.eventLog.read('c', undefined, 10)), [1])
  t.same((await client(t, redis.url).keys('*')).filter((key) => !key.startsWith('app:rt:{c}:')), [])
})

t.test('a read without a connection waits for one, within the time for a publish', async (t) => {
  const redis = await startRedis(t)
  const app = client(t, redis.url)
  const pubsub = open(t, { client: app })
  await publish(pubsub, 1)
  const closed = once(app, 'close')
  await redis.kill()
  await closed
  const reading = Promise.all([pubsub.eventLog.read('c', undefined, 1), pubsub.eventLog.heads(['c'])])
  await redis.restart()
  t.match(await reading, [{ head: { offset: 0 } }, [{ offset: 0 }]])
  await redis.kill()
  await t.rejects(open(t, { url: redis.url, publishTimeoutMs: 50 }).eventLog.read('c', undefined, 1), {
    code: 'RT_LOG_UNAVAILABLE'
  })
})
