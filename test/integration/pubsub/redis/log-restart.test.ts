import t from 'tap'
import { Redis } from 'ioredis'
import type { Cursor } from '../../../../lib/pubsub/cursor.ts'
import { live } from '../../../support/live.ts'
import { client, open, startRedis } from '../../../support/redis.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { until } from '../../../support/until.ts'
import { upTo } from '../../../support/numbers.ts'
import { DURABLE, publish, contentsOf, follow } from './log-of-one-chat.ts'

t.beforeEach(nothingUnhandled)

t.test('after a restart of Redis with its data, the next read or publish writes one marker', async (t) => {
  const redis = await startRedis(t, DURABLE)
  const pubsub = open(t, { url: redis.url })
  const got = await follow(pubsub)
  const before = (await publish(pubsub, 1, 2)).at(-1) as Cursor
  // A publisher may have its reply before a subscriber has the event, which is then lost with Redis.
  await live(pubsub)
  await redis.restart()
  await live(pubsub)
  t.match(
    await pubsub.eventLog.heads(['c']),
    [{ ...before, unproven: true }],
    'reading the heads only shows that a marker is needed'
  )
  const pages = await Promise.all([1, 2, 3].map(() => pubsub.eventLog.read('c', before, 10)))
  for (const read of pages) t.same(contentsOf(read), ['marker'], 'all readers find the same')
  t.same(await pubsub.eventLog.heads(['c']), [pages[0]?.head])
  const [three, four] = await publish(pubsub, 3, 4) as [Cursor, Cursor]
  t.match([three, four], [{ epoch: before.epoch, offset: 4 }, { epoch: before.epoch, offset: 5 }])
  const page = await pubsub.eventLog.read('c', before, 10)
  t.same(contentsOf(page), ['marker', 3, 4])
  t.match(page.entries[0]?.position, { previousTag: before.tag, offset: 3 })
  t.match(page.entries[1]?.position.previousTag, page.entries[0]?.position.tag)
  await live(pubsub)
  t.same(got.filter((what) => what !== 'lost'), [1, 2, 'marker', 3, 4])
})

t.test('if Redis is not writable after a restart, each reader learns that its position is uncertain', async (t) => {
  const redis = await startRedis(t, DURABLE)
  // Of the app's: one of ours leaves a Redis that has become a replica.
  const pubsub = open(t, { client: client(t, redis.url) })
  const [one, two] = await publish(pubsub, 1, 2) as [Cursor, Cursor]
  await pubsub.eventLog.read('empty', undefined, 1)
  const empty = (await pubsub.eventLog.heads(['empty']))[0] as Cursor
  await redis.restart()
  const admin = client(t, redis.url)
  for (const [deny, allow] of [
    [() => admin.config('SET', 'maxmemory', '1'), () => admin.config('SET', 'maxmemory', '0')],
    [() => admin.replicaof('127.0.0.1', 1), () => admin.replicaof('NO', 'ONE')]
  ] as const) {
    await deny()
    for (const position of [one, two]) {
      t.match(await pubsub.eventLog.read('c', position, 10), {
        gap: 'failover', entries: [], head: { ...two, unproven: true }
      })
    }
    t.match(await pubsub.eventLog.read('c', { ...two, offset: 3 }, 10), { gap: 'ahead' })
    const page = await pubsub.eventLog.read('c', undefined, 10)
    t.equal(page.gap, 'failover')
    t.same(contentsOf(page), [1, 2])
    t.match(await pubsub.eventLog.read('empty', empty, 10), { gap: 'failover' })
    await allow()
  }
  t.same(contentsOf(await pubsub.eventLog.read('c', one, 10)), [2, 'marker'])
  t.match(await pubsub.eventLog.read('empty', empty, 10), { gap: 'epoch' }, 'an empty one is replaced by a new one')
})

t.test('after two failovers a marker precedes the next event, even if none was written meanwhile', async (t) => {
  const atOnce = ['--repl-diskless-sync-delay', '0']
  const redis = await startRedis(t, atOnce)
  const other = await startRedis(t, ['--replicaof', `127.0.0.1 ${redis.port}`, ...atOnce])
  const [admin, otherAdmin] = [client(t, redis.url), client(t, other.url)]
  const linked = (replica: Redis): Promise<void> => {
    return until(() => replica.info('replication'), (info) => info.includes('master_link_status:up'))
  }
  await linked(otherAdmin)
  const pubsub = open(t, { url: redis.url })
  await publish(pubsub, 1)
  // WAIT goes by the last write of the connection that asks.
  await admin.set('after', 1)
  await until(() => admin.wait(1, 1_000), (replicas) => replicas > 0)
  await redis.loseReplicas()
  await publish(pubsub, 2)
  await otherAdmin.replicaof('NO', 'ONE')
  await admin.replicaof('127.0.0.1', other.port)
  await linked(admin)
  await admin.replicaof('NO', 'ONE')
  await publish(pubsub, 3, 4)
  t.same(contentsOf(await pubsub.eventLog.read('c', undefined, 10)), [1, 'marker', 3, 4])
})

t.test('after a restart of Redis that lost its data, the log starts anew, without a marker', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url })
  const before = (await publish(pubsub, 1, 2)).at(-1) as Cursor
  await redis.restart()
  const [three] = await publish(pubsub, 3) as [Cursor]
  t.equal(three.offset, 1)
  t.match(await pubsub.eventLog.read('c', before, 10), { gap: 'epoch' })
  t.same(contentsOf(await pubsub.eventLog.read('c', undefined, 10)), [3])
})

t.test('if Redis is killed during many publishes, none is lost, duplicated or out of order', async (t) => {
  const redis = await startRedis(t, DURABLE)
  const pubsub = open(t, { url: redis.url, publishTimeoutMs: 20_000 })
  await publish(pubsub, 0)
  const receipts = upTo(250).map((n) => pubsub.publish('c', n))
  await receipts[0]
  await redis.freeze()
  // These are in flight when Redis dies, and the ones before have replies in part.
  receipts.push(...upTo(250).map((n) => pubsub.publish('c', 250 + n)))
  await new Promise(setImmediate)
  await redis.restart()
  const ids = (await Promise.all(receipts)).map(({ id }) => id)
  t.equal(new Set(ids).size, 500)
  const page = await open(t, { url: redis.url }).eventLog.read('c', undefined, 1_000)
  t.same(contentsOf(page).filter((what) => what !== 'marker'), [0, ...upTo(500)])
  t.same(
    page.entries.filter(({ position }) => !position.isMarker).slice(1).map(({ position: { epoch, offset, tag } }) => {
      return `${epoch}-${offset}-${tag}`
    }),
    ids
  )
  t.equal(page.entries.filter(({ position }) => position.isMarker).length, 1)
})
