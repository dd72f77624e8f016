import t, { type Test } from 'tap'
import { once } from 'node:events'
import net from 'node:net'
import { RedisPubSub } from '../../../../lib/index.ts'
import { freePort } from '../../../support/free-port.ts'
import { live } from '../../../support/live.ts'
import { keepLog } from '../../../support/log.ts'
import { client, open, startRedis } from '../../../support/redis.ts'
import { RedisServer } from '../../../support/redis-server.ts'
import { until } from '../../../support/until.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { next } from './next-message.ts'

/** A way to Redis that a test can break. */
async function openProxy (t: Test, to: number, port: number): Promise<{ url: string, sockets: Set<net.Socket> }> {
  const sockets = new Set<net.Socket>()
  const proxy = net.createServer((socket) => {
    sockets.add(socket)
    const upstream = net.connect(to, '127.0.0.1')
    socket.on('error', () => {}).on('close', () => {
      return sockets.delete(socket)
    }).pipe(upstream.on('error', () => {})).pipe(socket)
  }).listen(port, '127.0.0.1')
  t.teardown(() => proxy.close())
  await once(proxy, 'listening')
  return { url: `redis://127.0.0.1:${port}`, sockets }
}

t.beforeEach(nothingUnhandled)

t.test('a start without Redis is logged, and everything works once Redis is there', async (t) => {
  const port = await freePort()
  const { log, lines, line } = keepLog()
  const redisUrl = `redis://:hunter2@127.0.0.1:${port}`
  const pubsub = open(t, { url: redisUrl, log })
  t.match(await line('Redis is out of reach, trying again'), { level: 40, reason: 'ECONNREFUSED' })
  t.equal(await pubsub.isHealthy(), false)
  const message = next(pubsub, 'c')
  const published = pubsub.publish('c', { n: 1 })
  await t.rejects(pubsub.publish('c', 0, { ephemeral: true }), { code: 'RT_PUBLISH_REJECTED', statusCode: 503 })
  t.match(await message, { data: 0 }, 'an ephemeral message still reaches this instance')
  // Several tries to connect later.
  await t.rejects(open(t, { url: redisUrl, publishTimeoutMs: 500 }).publish('c', 0), { code: 'RT_PUBLISH_REJECTED' })
  const redis = await RedisServer.start({ port, args: ['--requirepass', 'hunter2'] })
  t.teardown(() => redis.stop())
  t.match(await published, { id: /-1-/, duplicate: false }, 'the publishes that waited for Redis are in the log')
  await line('Redis is back')
  await live(pubsub)
  t.equal(await pubsub.isHealthy(), true)
  t.equal(
    lines.filter(({ msg }) => msg === 'Redis is out of reach, trying again').length,
    2,
    'logged once for each connection, not for each attempt'
  )
})

t.test('after Redis was killed and restarted, subscriptions work again', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url })
  const seen: string[] = []
  const went = new Promise<void>((resolve) => {
    pubsub.follow('c', {
      live () { seen.push('live') }, lost () { seen.push('lost'); resolve() }, receive () { seen.push('message') }
    })
  })
  const patterns: unknown[] = []
  pubsub.subscribe('?', ({ data }) => { patterns.push(data) })
  await live(pubsub)
  // The probe's channel is unsubscribed before Redis replies to this.
  await new Promise(setImmediate)
  await pubsub.isHealthy()
  await redis.freeze()
  // Asked for, and never confirmed before the connection breaks.
  pubsub.subscribeExact('d', ({ data }) => { seen.push(data as string) })
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate)
  await redis.kill()
  await went
  t.equal(await pubsub.isHealthy(), false)
  await redis.restart()
  await live(pubsub)
  await pubsub.publish('c', 1)
  await pubsub.publish('d', 'unconfirmed')
  await live(pubsub)
  t.same(seen, ['live', 'lost', 'live', 'message', 'unconfirmed'])
  t.same(patterns, [1, 'unconfirmed'])
})

t.test('publishes that wait for Redis are sent in order, before later ones', async (t) => {
  const redis = await startRedis(t)
  const port = await freePort()
  const pubsub = open(t, { url: `redis://127.0.0.1:${port}` })
  const other = open(t, { url: redis.url })
  const got: unknown[] = []
  const all = new Promise<void>((resolve) => {
    other.subscribeExact('c', ({ data }) => { if (got.push(data) === 200) resolve() })
  })
  await live(other)
  const waiting = Array.from({ length: 100 }, (_, n) => pubsub.publish('c', n))
  // From here on there is a way to Redis.
  await openProxy(t, redis.port, port)
  await waiting[0]
  const later = Array.from({ length: 100 }, (_, n) => pubsub.publish('c', 100 + n))
  await Promise.all([...waiting, ...later])
  await all
  t.same(got, Array.from({ length: 200 }, (_, n) => n))
  await pubsub.close()
})

for (const history of [undefined, false] as const) {
  t.test(
    `a publish without a reply is unknown, an unsent one is rejected, both in time (history ${history})`,
    (t) => unanswered(t, history)
  )
}

async function unanswered (t: Test, history: false | undefined): Promise<void> {
  const redis = await startRedis(t)
  const { log, text } = keepLog()
  const pubsub = open(t, { url: redis.url, publishTimeoutMs: 100, log, history })
  await live(pubsub)
  await redis.freeze()
  await t.rejects(pubsub.publish('c', 'hunter2'), { code: 'RT_PUBLISH_UNKNOWN', statusCode: 503, message: /100 ms/ })
  pubsub.publish('c', 'ignored')
  await redis.kill()
  await until(async () => pubsub.connected().publisher, (connected) => connected === false)
  await t.rejects(pubsub.publish('c', 'hunter2'), { code: 'RT_PUBLISH_REJECTED', message: /not connected for 100 ms/ })
  t.match(text(), 'Publishing failed')
  t.notMatch(text(), 'hunter2')
}

t.test('without a log, a publish whose connection breaks before the reply is unknown at once', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url, publishTimeoutMs: 60_000, history: false })
  await live(pubsub)
  await redis.freeze()
  const published = pubsub.publish('c', 1)
  await redis.kill()
  await t.rejects(published, { code: 'RT_PUBLISH_UNKNOWN' })
})

t.test('a connection that is lost without an error is logged, and so is its return', async (t) => {
  const redis = await startRedis(t)
  const proxy = await openProxy(t, redis.port, await freePort())
  const { log, line, lines } = keepLog()
  const pubsub = open(t, { url: proxy.url, log })
  await live(pubsub)
  for (const socket of proxy.sockets) socket.end()
  t.match(await line('Redis is out of reach, trying again'), { reason: 'the connection was closed' })
  await line('Redis is back')
  await live(pubsub)
  // Both are back.
  await until(() => pubsub.isHealthy(), Boolean)
  const before = lines.length
  await pubsub.close()
  t.equal(lines.length, before, 'closing it oneself is no loss')
})

t.test('a frozen Redis without traffic is noticed, and so is its return', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url })
  const lost = new Promise<void>((resolve) => { pubsub.follow('c', { live () {}, lost: resolve, receive () {} }) })
  await live(pubsub)
  await redis.freeze()
  await lost
  await redis.thaw()
  await live(pubsub)
  t.equal(await pubsub.isHealthy(), true)
})

t.test('200 publishes that fail while Redis is away write two lines, and each rejects', async (t) => {
  const redis = await startRedis(t)
  const { log, lines, line } = keepLog('info')
  const pubsub = open(t, { url: redis.url, log, publishTimeoutMs: 500 })
  await live(pubsub)
  await redis.kill()
  await line('Redis is out of reach, trying again')
  const outcomes = await Promise.allSettled(Array.from({ length: 200 }, (_, n) => pubsub.publish(`c${n}`, n)))
  t.ok(outcomes.every((outcome) => outcome.status === 'rejected' && outcome.reason.code.startsWith('RT_PUBLISH_')))
  await redis.restart()
  // Both connections are back: the first one that is logged may be the other one.
  await until(() => pubsub.isHealthy(), Boolean)
  await pubsub.publish('c', 1)
  t.match(await line('Publishing works again'), { level: 30, count: 200 })
  const failures = lines.filter(({ msg }) => msg === 'Publishing failed')
  t.match(failures[0], { level: 40, channel: /^c\d+$/, code: /^RT_PUBLISH_/, reason: /Publish (it )?again/ })
  t.ok(failures.length <= 2, 'one for each code')
})

t.test('a Redis that closes idle connections again and again does not fill the log', async (t) => {
  const redis = await startRedis(t)
  const { log, lines, line } = keepLog('info')
  const pubsub = open(t, { url: redis.url, log })
  await live(pubsub)
  const admin = client(t, redis.url)
  // The probe of the health check is through, so that the connection is idle.
  await until(() => pubsub.isHealthy(), Boolean)
  for (let round = 0; round < 20; round++) {
    await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await until(() => pubsub.isHealthy(), Boolean)
  }
  await line('Redis is back')
  t.equal(lines.filter(({ connection }) => connection === 'publisher').length, 2, 'lost and back, once each')
})

t.test('closing is quick without Redis and rejects waiting publishes', async (t) => {
  for (const state of ['absent', 'frozen', 'killed']) {
    const redis = await startRedis(t)
    if (state === 'absent') await redis.kill()
    const pubsub = new RedisPubSub({ url: redis.url })
    if (state !== 'absent') await live(pubsub)
    if (state === 'frozen') await redis.freeze()
    if (state === 'killed') await redis.kill()
    const published = pubsub.publish('c', 1)
    const started = performance.now()
    await pubsub.close()
    t.ok(performance.now() - started < 3_000, state)
    await t.rejects(published, { code: /RT_CLOSED|RT_PUBLISH_UNKNOWN/ })
    await t.rejects(pubsub.publish('c', 1), { code: 'RT_CLOSED' })
  }
})
