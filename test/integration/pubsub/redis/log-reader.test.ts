import t from 'tap'
import { once } from 'node:events'
import { Redis } from 'ioredis'
import { parseCursor, type Cursor } from '../../../../lib/pubsub/cursor.ts'
import { RealtimeError, RedisPubSub } from '../../../../lib/index.ts'
import { LogWriter } from '../../../../lib/pubsub/redis/log-writer.ts'
import { RedisKeys } from '../../../../lib/pubsub/redis/keys.ts'
import type { Command } from '../../../../lib/pubsub/redis/command-queue.ts'
import { Scripts } from '../../../../lib/pubsub/redis/scripts.ts'
import { live } from '../../../support/live.ts'
import { LossyProxy } from '../../../support/lossy-proxy.ts'
import { client, open, startLossy, startRedis } from '../../../support/redis.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { until } from '../../../support/until.ts'
import { timing } from '../../../../lib/core/timing.ts'
import type { Envelope, LogPage } from '../../../../lib/pubsub/event-log.ts'

const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always']

/** Publishes numbers one after another. Returns their places. */
async function publish (pubsub: RedisPubSub, ...numbers: number[]): Promise<Cursor[]> {
  const places: Cursor[] = []
  for (const n of numbers) places.push(parseCursor((await pubsub.publish('c', n)).id as string) as Cursor)
  return places
}

/** The events of a page as the numbers that were published, a fence as such. */
function saysOf ({ entries }: LogPage): unknown[] {
  return entries.map(saysOfOne)
}

function saysOfOne ({ json, position }: Envelope): unknown {
  return position?.isMarker ? 'fence' : JSON.parse(json.toString())
}

/** Follows the channel. Returns what is broadcast, as it comes. */
async function follow (pubsub: RedisPubSub): Promise<unknown[]> {
  const got: unknown[] = []
  pubsub.follow('c', { live () {}, lost () { got.push('lost') }, receive (envelope) { got.push(saysOfOne(envelope)) } })
  await live(pubsub)
  return got
}

function upTo (last: number): number[] {
  return Array.from({ length: last }, (_, n) => n + 1)
}

/** Makes the next script one that Redis does not know. */
function forgetNext (app: Redis): void {
  const { sendCommand } = app
  app.sendCommand = (command, ...more) => {
    app.sendCommand = sendCommand
    command.args[0] = '0'.repeat(40)
    return sendCommand.call(app, command, ...more)
  }
}

t.beforeEach(nothingUnhandled)

t.test('what is kept of a chat has one hash tag, an encoded name, and an end', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url, history: { ttlMs: 10_000 }, idempotencyTtlMs: 5_000 })
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

t.test('the position in a chat without an event is kept for those who listen, and no longer', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  const key = 'rt:{c}:m'
  const { head: top } = await pubsub.eventLog.read('c', undefined, 1)
  for (const again of [() => pubsub.eventLog.heads(['c', 'none']), () => pubsub.eventLog.read('c', top, 1), () => pubsub.eventLog.read('c', undefined, 1)]) {
    await admin.pexpire(key, 5_000)
    await again()
    t.ok(await admin.pttl(key) > 5_000)
  }
  const [first] = await publish(pubsub, 1) as [Cursor]
  t.same(first, { ...top, offset: 1, tag: first.tag }, 'the first event follows it')
  t.same(saysOf(await pubsub.eventLog.read('c', top, 10)), [1])
  await pubsub.eventLog.heads(['c'])
  t.ok(await admin.pttl(key) > timing.metaExtra, 'and makes it last')
  await pubsub.eventLog.read('d', undefined, 1)
  await admin.pexpire('rt:{d}:m', 1)
  await until(() => admin.exists('rt:{d}:m'), (count) => count === 0)
  t.same(await pubsub.eventLog.heads(['d']), [undefined])
})

t.test('a chat that is empty but for its state keeps its position as long as that', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  await pubsub.state?.change('c', { operation: 'set', field: 'f', value: '1', leaseMs: 60_000 })
  const before = await admin.pttl('rt:{c}:m')
  await pubsub.eventLog.read('c', undefined, 1)
  t.ok(await admin.pttl('rt:{c}:m') > before - 60_000)
})

t.test('a full Redis lets a client read, what there is and what there is not', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  const [place] = await publish(pubsub, 1) as [Cursor]
  await admin.xadd('rt:{left}:s', '1-1', 'k', 'd', 'p', '0', 'd', 'a 1 message 2')
  await admin.config('SET', 'maxmemory', '1')
  t.match(await pubsub.eventLog.read('c', undefined, 1), { head: place, entries: [{ json: '1' }] })
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
  t.same(saysOf(await pubsub.eventLog.read('c', undefined, 1)), [1])
  await t.rejects(pubsub.eventLog.read('none', undefined, 1), { code: 'RT_LOG_UNAVAILABLE' })
})

t.test('what a user may only half write is refused as a whole, and published once the user has the rights', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const grant = (...rules: string[]): Promise<unknown> => admin.call('ACL', 'SETUSER', 'app', ...rules)
  await grant('on', '>hunter2', 'allchannels', 'allkeys', '+@all')
  const pubsub = open(t, { url: redis.url.replace('//', '//app:hunter2@') })
  const got = await follow(open(t, { url: redis.url }))
  const kept = async (channel: string): Promise<unknown> => [await admin.hgetall(`rt:{${channel}}:m`), await admin.xlen(`rt:{${channel}}:s`)]
  await publish(pubsub, 1)
  for (const command of ['hset', 'xadd']) {
    const before = [await kept('c'), await kept('new')]
    await grant(`-${command}`)
    const refused = upTo(20).map((n) => t.rejects(pubsub.publish(n % 2 === 0 ? 'c' : 'new', 'refused'), { code: 'RT_PUBLISH_REJECTED' }))
    await Promise.all(refused)
    t.same([await kept('c'), await kept('new')], before, `${command}: nothing is left of it`)
    await grant(`+${command}`)
  }
  const after = await publish(pubsub, 2, 3)
  t.same(after.map(({ offset }) => offset), [2, 3])
  await live(pubsub)
  t.same(got, [1, 2, 3], 'and nothing of it is broadcast')
  t.match(await pubsub.publish('new', 1), { duplicate: false })
})

t.test('a log that may have lost events is marked, also where the first attempt is refused', async (t) => {
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
  t.same(saysOf(await pubsub.eventLog.read('c', undefined, 10)), [1, 'fence', 2])
})

t.test('a client of the app\'s with a key prefix keeps its prefix', async (t) => {
  const redis = await startRedis(t)
  const app = client(t, redis.url, { keyPrefix: 'app:' })
  const pubsub = open(t, { client: app })
  const [place] = await publish(pubsub, 1)
  t.same(await pubsub.eventLog.heads(['c']), [place])
  t.same(saysOf(await pubsub.eventLog.read('c', undefined, 10)), [1])
  t.same((await client(t, redis.url).keys('*')).filter((key) => !key.startsWith('app:rt:{c}:')), [])
})

t.test('a log whose meta was deleted starts anew, for who publishes and for who reads', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  const old = (await publish(pubsub, 1, 2, 3)).at(-1) as Cursor
  await admin.del('rt:{c}:m')
  const [place] = await publish(pubsub, 4) as [Cursor]
  t.equal(place.offset, 1)
  t.not(place.epoch, old.epoch)
  t.match(await pubsub.eventLog.read('c', old, 10), { gap: 'epoch', head: place, entries: [] })
  t.same(saysOf(await pubsub.eventLog.read('c', undefined, 10)), [4], 'what is left of the old one is gone')
  await admin.del('rt:{c}:m')
  const page = await pubsub.eventLog.read('c', place, 10)
  t.match(page, { gap: 'epoch', head: { offset: 0, tag: 0 }, entries: [] })
  t.same((await publish(pubsub, 5))[0], { epoch: page.head.epoch, offset: 1, tag: (await pubsub.eventLog.heads(['c']))[0]?.tag })
  t.same(saysOf(await pubsub.eventLog.read('c', page.head, 10)), [5])
})

t.test('a stream that was deleted, has expired or was trimmed is told with its reason, and goes on', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  const places = await publish(pubsub, 1, 2, 3) as [Cursor, Cursor, Cursor]
  const gaps = async (): Promise<unknown[]> => Promise.all(places.map(async (place) => (await pubsub.eventLog.read('c', place, 10)).gap))
  await admin.xtrim('rt:{c}:s', 'MAXLEN', '=', '1')
  t.same(await gaps(), ['trimmed', undefined, undefined])
  t.same(saysOf(await pubsub.eventLog.read('c', places[1], 10)), [3])
  await admin.del('rt:{c}:s')
  t.same(await gaps(), ['expired', 'expired', undefined])
  await publish(pubsub, 4)
  t.same(await gaps(), ['trimmed', 'trimmed', undefined])
  t.same(saysOf(await pubsub.eventLog.read('c', places[2], 10)), [4])
  await admin.pexpire('rt:{c}:s', 1)
  await until(() => admin.exists('rt:{c}:s'), (count) => count === 0)
  t.same(await gaps(), ['expired', 'expired', 'expired'])
})

t.test('what is missing for certain is an event: where the log has lost markers only, it says so', async (t) => {
  const redis = await startRedis(t, ['--enable-debug-command', 'yes'])
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  const [one, two] = await publish(pubsub, 1, 2) as [Cursor, Cursor]
  const markers: Cursor[] = []
  while (markers.length < 2) {
    // As of a replica that was promoted.
    await admin.call('DEBUG', 'CHANGE-REPL-ID')
    markers.push((await pubsub.eventLog.read('c', two, 10)).head)
  }
  const [first, second] = markers as [Cursor, Cursor]
  const lost = { ...first, tag: 7 }
  const gaps = async (...places: Cursor[]): Promise<unknown[]> => Promise.all(places.map(async (place) => (await pubsub.eventLog.read('c', place, 10)).gap))
  t.same(await gaps({ ...two, tag: 7 }, lost, { ...second, tag: 7 }), ['diverged', 'failover', 'failover'])
  await admin.xtrim('rt:{c}:s', 'MAXLEN', '=', '1')
  t.same(await gaps(one, two, first), ['trimmed', 'failover', undefined])
  await admin.del('rt:{c}:s')
  t.same(await gaps(one, two, first, second), ['expired', 'failover', 'failover', undefined])
  await publish(pubsub, 3)
  t.same(await gaps(lost, two), ['trimmed', 'trimmed'])
})

t.test('an entry that somebody else wrote is left out', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  const [first] = await publish(pubsub, 1) as [Cursor]
  await admin.xadd('rt:{c}:s', '2-1', 'p', first.tag, 'd', 'garbage')
  await admin.xadd('rt:{c}:s', '3-1', 'p', '1')
  await admin.xadd('rt:{c}:s', `4-${10 ** 15}`, 'd', 'a 1 message 2')
  t.same(saysOf(await pubsub.eventLog.read('c', undefined, 10)), [1])
})

t.test('an entry that can\'t be read is a hole, which is told as one also where it is the last', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  const [one, two] = await publish(pubsub, 1, 2) as [Cursor, Cursor]
  const hole = { ...two, offset: 3, tag: 7 }
  await admin.xadd('rt:{c}:s', '3-7', 'k', 'd', 'p', two.tag, 'd', 'what a newer version writes')
  await admin.hset('rt:{c}:m', 'l', '3-7')
  const readAll = async (): Promise<unknown[]> => (await Promise.all([one, two, hole].map((place) => pubsub.eventLog.read('c', place, 10)))).map((page) => page.gap ?? saysOf(page))
  t.same(await readAll(), [[2], 'diverged', []])
  await publish(pubsub, 4)
  t.same(await readAll(), [[2], 'diverged', [4]])
})

t.test('after a restart of Redis that kept its data, the next who reads or publishes writes one fence', async (t) => {
  const redis = await startRedis(t, DURABLE)
  const pubsub = open(t, { url: redis.url })
  const got = await follow(pubsub)
  const before = (await publish(pubsub, 1, 2)).at(-1) as Cursor
  // A publisher may have its answer before a subscriber has the event, which then dies with Redis.
  await live(pubsub)
  await redis.restart()
  await live(pubsub)
  t.match(await pubsub.eventLog.heads(['c']), [{ ...before, unproven: true }], 'comparing only shows that it is needed')
  const pages = await Promise.all([1, 2, 3].map(() => pubsub.eventLog.read('c', before, 10)))
  for (const read of pages) t.same(saysOf(read), ['fence'], 'whoever reads finds the same')
  t.same(await pubsub.eventLog.heads(['c']), [pages[0]?.head])
  const [three, four] = await publish(pubsub, 3, 4) as [Cursor, Cursor]
  t.match([three, four], [{ epoch: before.epoch, offset: 4 }, { epoch: before.epoch, offset: 5 }])
  const page = await pubsub.eventLog.read('c', before, 10)
  t.same(saysOf(page), ['fence', 3, 4])
  t.match(page.entries[0]?.position, { previousTag: before.tag, offset: 3 })
  t.match(page.entries[1]?.position.previousTag, page.entries[0]?.position.tag)
  await live(pubsub)
  t.same(got.filter((what) => what !== 'lost'), [1, 2, 'fence', 3, 4])
})

t.test('where Redis can\'t be written to after a restart, each reader is told that its position is in doubt, until it can', async (t) => {
  const redis = await startRedis(t, DURABLE)
  // Of the app's: one of ours leaves a Redis that has become a replica.
  const pubsub = open(t, { client: client(t, redis.url) })
  const [one, two] = await publish(pubsub, 1, 2) as [Cursor, Cursor]
  await pubsub.eventLog.read('empty', undefined, 1)
  const empty = (await pubsub.eventLog.heads(['empty']))[0] as Cursor
  await redis.restart()
  const admin = client(t, redis.url)
  for (const [deny, allow] of [[() => admin.config('SET', 'maxmemory', '1'), () => admin.config('SET', 'maxmemory', '0')], [() => admin.replicaof('127.0.0.1', 1), () => admin.replicaof('NO', 'ONE')]] as const) {
    await deny()
    for (const place of [one, two]) t.match(await pubsub.eventLog.read('c', place, 10), { gap: 'failover', entries: [], head: { ...two, unproven: true } })
    t.match(await pubsub.eventLog.read('c', { ...two, offset: 3 }, 10), { gap: 'ahead' })
    const page = await pubsub.eventLog.read('c', undefined, 10)
    t.equal(page.gap, 'failover')
    t.same(saysOf(page), [1, 2])
    t.match(await pubsub.eventLog.read('empty', empty, 10), { gap: 'failover' })
    await allow()
  }
  t.same(saysOf(await pubsub.eventLog.read('c', one, 10)), [2, 'fence'])
  t.match(await pubsub.eventLog.read('empty', empty, 10), { gap: 'epoch' }, 'an empty one is replaced by a new one')
})

t.test('after a Redis was replaced and has come back, a fence comes before the next event, even if none was written meanwhile', async (t) => {
  const atOnce = ['--repl-diskless-sync-delay', '0']
  const redis = await startRedis(t, atOnce)
  const other = await startRedis(t, ['--replicaof', `127.0.0.1 ${redis.port}`, ...atOnce])
  const [admin, otherAdmin] = [client(t, redis.url), client(t, other.url)]
  const linked = (replica: Redis): Promise<void> => until(() => replica.info('replication'), (info) => info.includes('master_link_status:up'))
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
  t.same(saysOf(await pubsub.eventLog.read('c', undefined, 10)), [1, 'fence', 3, 4])
})

t.test('after a restart of Redis that lost its data, the log starts anew, without a fence', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url })
  const before = (await publish(pubsub, 1, 2)).at(-1) as Cursor
  await redis.restart()
  const [three] = await publish(pubsub, 3) as [Cursor]
  t.equal(three.offset, 1)
  t.match(await pubsub.eventLog.read('c', before, 10), { gap: 'epoch' })
  t.same(saysOf(await pubsub.eventLog.read('c', undefined, 10)), [3])
})

t.test('scripts that Redis forgets while publishes are under way: each is applied once and in order', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const [pubsub, other] = [open(t, { url: redis.url }), open(t, { url: redis.url })]
  const got = await follow(pubsub)
  for (const publisher of [pubsub, other]) await publisher.publish('warm', 0)
  const receipts: Promise<unknown>[] = []
  for (let n = 1; n <= 500; n++) {
    receipts.push(pubsub.publish('c', { by: 1, n }), other.publish('c', { by: 2, n }))
    if (n % 25 !== 0) continue
    admin.script('FLUSH')
    // The flush reaches Redis between two of them.
    await new Promise(setImmediate)
  }
  await Promise.all(receipts)
  await live(pubsub)
  for (const seen of [got, saysOf(await pubsub.eventLog.read('c', undefined, 2_000))] as { by: number, n: number }[][]) {
    t.equal(seen.length, 1_000)
    for (const by of [1, 2]) t.same(seen.filter((event) => event.by === by).map(({ n }) => n), upTo(500))
  }
  t.match(await admin.info('errorstats'), /errorstat_NOSCRIPT/, 'some met it')
  await admin.script('FLUSH')
  t.equal((await pubsub.eventLog.read('c', undefined, 1)).entries.length, 1, 'reading goes on, too')
})

t.test('an event that meets a forgotten script is not overtaken by those behind it, for which another publisher has brought it back', async (t) => {
  const redis = await startRedis(t)
  const app = client(t, redis.url)
  const pubsub = open(t, { client: app })
  await publish(pubsub, 1)
  forgetNext(app)
  const receipts = await Promise.all(upTo(10).map((n) => pubsub.publish('c', n + 1)))
  t.same(receipts.map(({ id }) => parseCursor(id as string)?.offset), upTo(11).slice(1))
  t.same(saysOf(await pubsub.eventLog.read('c', undefined, 100)), upTo(11))
  // What waits for one that is refused goes on without it.
  await client(t, redis.url).config('SET', 'maxmemory', '1')
  const refused = [12, 13].map((n) => t.rejects(pubsub.publish('c', n), { code: 'RT_PUBLISH_REJECTED' }))
  await Promise.all(refused)
})

t.test('keys of the app\'s and none, on one channel and another: each is applied once and in order, whatever is sent again', async (t) => {
  const redis = await startRedis(t)
  const proxy = await LossyProxy.start(t, redis.port)
  const pubsub = open(t, { url: `redis://127.0.0.1:${proxy.port}` })
  const all = async (): Promise<unknown[]> => saysOf(await pubsub.eventLog.read('c', undefined, 100))
  await publish(pubsub, 1)
  const lost = proxy.loseNextReply()
  const receipts = [pubsub.publish('c', 2, { idempotencyKey: 'two' }), pubsub.publish('c', 3), pubsub.publish('c', 4)]
  await lost
  await Promise.all(receipts)
  t.same(await all(), upTo(4), 'after replies were lost')

  const app = client(t, redis.url)
  const other = open(t, { client: app })
  await other.publish('c', 5)
  forgetNext(app)
  await Promise.all([other.publish('elsewhere', 0), other.publish('c', 6, { idempotencyKey: 'six' }), other.publish('c', 7)])
  t.same(await all(), upTo(7), 'after a script of another channel was forgotten')
  const twice = { id: (await receipts[0])?.id, duplicate: true }
  forgetNext(app)
  const [, again] = await Promise.all([other.publish('c', 8), other.publish('c', 2, { idempotencyKey: 'two' }), other.publish('c', 9)])
  t.same(again, twice)
  t.same(await all(), upTo(9), 'what was published before does not let pass what is behind it')
  await client(t, redis.url).config('SET', 'maxmemory', '1')
  t.same(await other.publish('c', 2, { idempotencyKey: 'two' }), twice, 'and needs no memory')
})

t.test('thousands with keys of the app\'s, at once, take little and keep their order', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url, history: { size: 10_000 } })
  const [first] = await publish(pubsub, 0) as [Cursor]
  await admin.config('RESETSTAT')
  await Promise.all(upTo(10_000).map((n) => pubsub.publish('c', n, { idempotencyKey: `key ${n}` })))
  const got: unknown[] = []
  for (let at = first; got.length < 10_000;) {
    const page = await pubsub.eventLog.read('c', at, 10_000)
    got.push(...saysOf(page))
    at = page.entries.at(-1)?.position as Cursor
  }
  t.same(got, upTo(10_000))
  const [, bytes] = /total_net_input_bytes:(\d+)/.exec(await admin.info('stats')) ?? []
  t.ok(Number(bytes) < 10_000 * 2_000, `${bytes} bytes went to Redis`)
})

t.test('an event that is refused does not let pass what is behind it, while one before it is held up', async (t) => {
  const redis = await startRedis(t)
  const app = client(t, redis.url)
  const { eventLog: log } = open(t, { client: app })
  type Send = (command: Command<unknown>) => Promise<unknown>
  let through: Send
  const appender = new LogWriter({
    keys: new RedisKeys({ keyPrefix: 'rt:' }),
    scripts: new Scripts({ size: 100, ttlMs: 10_000, idempotencyTtlMs: 10_000, publishTimeoutMs: 5_000, sharded: false, cached: new Set() }),
    apart: false,
    perform: ({ command, resolve, reject }) => { through(command).then(resolve as (value: unknown) => void, ({ message }) => reject(new RealtimeError('RT_PUBLISH_REJECTED', message))) },
    onUnheard: () => {}
  })
  const append = (n: number, send: Send, channel = 'c'): Promise<unknown> => {
    through = send
    const appended = appender.append(channel, { from: 'a', timestamp: 1, event: 'message', json: String(n) }, undefined)
    appender.flush()
    return appended
  }
  let release = (): void => {}
  const held = new Promise<void>((resolve) => { release = resolve })
  const one = append(1, async (command) => { await held; return await command(app) })
  for (const n of [2, 3]) await t.rejects(append(n, () => Promise.reject(new Error('refused'))), { code: 'RT_PUBLISH_REJECTED', message: /refused/ })
  // So many that those that have ended are forgotten.
  for (const n of upTo(64)) await append(n, (command) => command(app), `other ${n}`)
  await t.rejects(append(4, (command) => command(app)), { message: /EARLY/ })
  release()
  await one
  await append(4, (command) => command(app))
  t.same(saysOf(await log.read('c', undefined, 10)), [1, 4])
})

t.test('a publish whose reply is lost with its connection is applied once, and told its id', async (t) => {
  const redis = await startRedis(t)
  const proxy = await LossyProxy.start(t, redis.port)
  const pubsub = open(t, { url: `redis://127.0.0.1:${proxy.port}` })
  const got = await follow(open(t, { url: redis.url }))
  await publish(pubsub, 1)
  const lost = proxy.loseNextReply()
  const receipts = upTo(10).map((n) => pubsub.publish('c', n + 1))
  await lost
  const [two] = await Promise.all(receipts)
  t.match(parseCursor(two?.id as string), { offset: 2 })
  t.equal(two?.duplicate, false)
  t.same(saysOf(await pubsub.eventLog.read('c', undefined, 100)), upTo(11))
  while (got.length < 11) await new Promise(setImmediate)
  t.same(got, upTo(11))
})

t.test('a publish whose reply was lost and that is refused when it is sent again is unknown', async (t) => {
  const { admin, proxy, pubsub } = await startLossy(t)
  await publish(pubsub, 1)
  proxy.loseNextReply(() => admin.call('ACL', 'SETUSER', 'app', '-eval', '-evalsha'))
  const published = pubsub.publish('c', 2)
  await t.rejects(published, { code: 'RT_PUBLISH_UNKNOWN', message: /NOPERM/ })
  await t.rejects(pubsub.publish('c', 3), { code: 'RT_PUBLISH_REJECTED', message: /NOPERM/ })
})

t.test('Redis is killed in the middle of many publishes and comes back: none is lost, doubled or out of order', async (t) => {
  const redis = await startRedis(t, DURABLE)
  const pubsub = open(t, { url: redis.url, publishTimeoutMs: 20_000 })
  await publish(pubsub, 0)
  const receipts = upTo(250).map((n) => pubsub.publish('c', n))
  await receipts[0]
  await redis.freeze()
  // These are on their way when it dies, and those before are partly answered.
  receipts.push(...upTo(250).map((n) => pubsub.publish('c', 250 + n)))
  await new Promise(setImmediate)
  await redis.restart()
  const ids = (await Promise.all(receipts)).map(({ id }) => id)
  t.equal(new Set(ids).size, 500)
  const page = await open(t, { url: redis.url }).eventLog.read('c', undefined, 1_000)
  t.same(saysOf(page).filter((what) => what !== 'fence'), [0, ...upTo(500)])
  t.same(page.entries.filter(({ position }) => !position.isMarker).slice(1).map(({ position: { epoch, offset, tag } }) => `${epoch}-${offset}-${tag}`), ids)
  t.equal(page.entries.filter(({ position }) => position.isMarker).length, 1)
})

t.test('a publish that took too long is applied once when it is tried again with its key', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url, publishTimeoutMs: 200 })
  await until(() => pubsub.isHealthy(), Boolean)
  await publish(pubsub, 1)
  await redis.freeze()
  await t.rejects(pubsub.publish('c', 2, { idempotencyKey: 'key' }), { code: 'RT_PUBLISH_UNKNOWN' })
  await t.rejects(pubsub.eventLog.read('c', undefined, 1), { code: 'RT_LOG_UNAVAILABLE', statusCode: 503 })
  await t.rejects(pubsub.eventLog.heads(['c']), { code: 'RT_LOG_UNAVAILABLE' })
  await redis.thaw()
  t.match(await pubsub.publish('c', 2, { idempotencyKey: 'key' }), { duplicate: true })
  t.same(saysOf(await pubsub.eventLog.read('c', undefined, 10)), [1, 2])
})

t.test('who reads while there is no connection waits for one, within the time for a publish', async (t) => {
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
  await t.rejects(open(t, { url: redis.url, publishTimeoutMs: 50 }).eventLog.read('c', undefined, 1), { code: 'RT_LOG_UNAVAILABLE' })
})

t.test('two instances that were given one name, one after the other, swallow nothing of each other\'s', async (t) => {
  const redis = await startRedis(t)
  for (const n of [1, 2]) {
    const pubsub = open(t, { url: redis.url, instanceId: 'web-1' })
    t.match(await pubsub.publish('c', n), { duplicate: false })
    await pubsub.close()
  }
  t.same(saysOf(await open(t, { url: redis.url }).eventLog.read('c', undefined, 10)), [1, 2])
})

t.test('a client of the app\'s whose commands time out while it stays connected blocks nothing', async (t) => {
  const redis = await startRedis(t)
  const app = client(t, redis.url, { commandTimeout: 50 })
  const pubsub = open(t, { client: app })
  await publish(pubsub, 1)
  const timedOut = new Promise<void>((resolve) => {
    const { sendCommand } = app
    app.sendCommand = (...args) => {
      const sent = sendCommand.apply(app, args) as Promise<unknown>
      sent.catch(() => resolve())
      return sent
    }
  })
  await redis.freeze()
  const published = [pubsub.publish('c', 2), pubsub.publish('c', 3)]
  await timedOut
  await redis.thaw()
  t.match(await Promise.all(published), [{ id: String }, { id: String }])
  t.same(saysOf(await pubsub.eventLog.read('c', undefined, 10)), [1, 2, 3])
})
