import t from 'tap'
import { once } from 'node:events'
import type { Cursor } from '../../../../lib/pubsub/cursor.ts'
import { client, open, startRedis } from '../../../support/redis.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { until } from '../../../support/until.ts'
import { DURABLE, publish, contentsOf } from './log-of-one-chat.ts'

t.beforeEach(nothingUnhandled)

t.test('a log that may have lost events is marked, even if the first attempt is refused', async (t) => {
  const redis = await startRedis(t, DURABLE)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  await publish(pubsub, 1)
  await redis.restart()
  await once(admin, 'ready')
  await admin.rename('rt:{c}:s', 'rt:{c}:kept')
  await admin.set('rt:{c}:s', 'of something else')
  const before = await admin.hgetall('rt:{c}:m')
  await t.rejects(pubsub.publish('c', 2), { code: 'RT_PUBLISH_REJECTED', message: /WRONGTYPE/ })
  t.same(await admin.hgetall('rt:{c}:m'), before)
  await admin.rename('rt:{c}:kept', 'rt:{c}:s')
  await publish(pubsub, 2)
  t.same(contentsOf(await pubsub.eventLog.read('c', undefined, 10)), [1, 'marker', 2])
})

t.test('a log whose meta was deleted starts anew, for publishers and for readers', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  const old = (await publish(pubsub, 1, 2, 3)).at(-1) as Cursor
  await admin.del('rt:{c}:m')
  const [position] = await publish(pubsub, 4) as [Cursor]
  t.equal(position.offset, 1)
  t.not(position.epoch, old.epoch)
  t.match(await pubsub.eventLog.read('c', old, 10), { gap: 'epoch', head: position, entries: [] })
  t.same(contentsOf(await pubsub.eventLog.read('c', undefined, 10)), [4], 'the rest of the old log is deleted')
  await admin.del('rt:{c}:m')
  const page = await pubsub.eventLog.read('c', position, 10)
  t.match(page, { gap: 'epoch', head: { offset: 0, tag: 0 }, entries: [] })
  t.same((await publish(pubsub, 5))[0], {
    epoch: page.head.epoch, offset: 1, tag: (await pubsub.eventLog.heads(['c']))[0]?.tag
  })
  t.same(contentsOf(await pubsub.eventLog.read('c', page.head, 10)), [5])
})

t.test('a deleted, expired or trimmed stream is reported with its reason, and continues', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  const positions = await publish(pubsub, 1, 2, 3) as [Cursor, Cursor, Cursor]
  const gaps = async (): Promise<unknown[]> => {
    return Promise.all(positions.map(async (position) => (await pubsub.eventLog.read('c', position, 10)).gap))
  }
  await admin.xtrim('rt:{c}:s', 'MAXLEN', '=', '1')
  t.same(await gaps(), ['trimmed', undefined, undefined])
  t.same(contentsOf(await pubsub.eventLog.read('c', positions[1], 10)), [3])
  await admin.del('rt:{c}:s')
  t.same(await gaps(), ['expired', 'expired', undefined])
  await publish(pubsub, 4)
  t.same(await gaps(), ['trimmed', 'trimmed', undefined])
  t.same(contentsOf(await pubsub.eventLog.read('c', positions[2], 10)), [4])
  await admin.pexpire('rt:{c}:s', 1)
  await until(() => admin.exists('rt:{c}:s'), (count) => count === 0)
  t.same(await gaps(), ['expired', 'expired', 'expired'])
})

t.test('only a missing event is certain: a log that has lost only markers is reported as uncertain', async (t) => {
  const redis = await startRedis(t, ['--enable-debug-command', 'yes'])
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  const [one, two] = await publish(pubsub, 1, 2) as [Cursor, Cursor]
  const markers: Cursor[] = []
  while (markers.length < 2) {
    // As after the promotion of a replica.
    await admin.call('DEBUG', 'CHANGE-REPL-ID')
    markers.push((await pubsub.eventLog.read('c', two, 10)).head)
  }
  const [first, second] = markers as [Cursor, Cursor]
  const lost = { ...first, tag: 7 }
  const gaps = async (...positions: Cursor[]): Promise<unknown[]> => {
    return Promise.all(positions.map(async (position) => (await pubsub.eventLog.read('c', position, 10)).gap))
  }
  t.same(await gaps({ ...two, tag: 7 }, lost, { ...second, tag: 7 }), ['diverged', 'failover', 'failover'])
  await admin.xtrim('rt:{c}:s', 'MAXLEN', '=', '1')
  t.same(await gaps(one, two, first), ['trimmed', 'failover', undefined])
  await admin.del('rt:{c}:s')
  t.same(await gaps(one, two, first, second), ['expired', 'failover', 'failover', undefined])
  await publish(pubsub, 3)
  t.same(await gaps(lost, two), ['trimmed', 'trimmed'])
})

t.test('an entry of another writer is left out', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  const [first] = await publish(pubsub, 1) as [Cursor]
  await admin.xadd('rt:{c}:s', '2-1', 'p', first.tag, 'd', 'garbage')
  await admin.xadd('rt:{c}:s', '3-1', 'p', '1')
  await admin.xadd('rt:{c}:s', `4-${10 ** 15}`, 'd', 'a 1 message 2')
  t.same(contentsOf(await pubsub.eventLog.read('c', undefined, 10)), [1])
})

t.test('an unreadable entry is reported as a gap, even if it is the last one', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  const [one, two] = await publish(pubsub, 1, 2) as [Cursor, Cursor]
  const hole = { ...two, offset: 3, tag: 7 }
  await admin.xadd('rt:{c}:s', '3-7', 'k', 'd', 'p', two.tag, 'd', 'what a newer version writes')
  await admin.hset('rt:{c}:m', 'l', '3-7')
  const readAll = async (): Promise<unknown[]> => {
    return (await Promise.all([one, two, hole].map((position) => {
      return pubsub.eventLog.read('c', position, 10)
    }))).map((page) => page.gap ?? contentsOf(page))
  }
  t.same(await readAll(), [[2], 'diverged', []])
  await publish(pubsub, 4)
  t.same(await readAll(), [[2], 'diverged', [4]])
})
