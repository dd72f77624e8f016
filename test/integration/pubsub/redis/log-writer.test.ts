import t, { type Test } from 'tap'
import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { Cluster, type Redis } from 'ioredis'
import type { EventLog, LogPage, LogHead, RedisPubSub } from '../../../../lib/index.ts'
import type { RedisStateStore } from '../../../../lib/pubsub/redis/state-store.ts'
import type { StatePage } from '../../../../lib/pubsub/state-store.ts'
import { live } from '../../../support/live.ts'
import { keepLog } from '../../../support/log.ts'
import { LossyProxy, type HeldConnection } from '../../../support/lossy-proxy.ts'
import { client, open, startLossy, startRedis } from '../../../support/redis.ts'
import type { RedisServer } from '../../../support/redis-server.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { until } from '../../../support/until.ts'

/** What the log of a channel has. */
async function logged (pubsub: RedisPubSub, channel: string): Promise<unknown[]> {
  const page = await pubsub.eventLog?.read(channel, undefined, 1_000)
  return page?.entries.map(({ json }) => JSON.parse(json)) ?? []
}

/** A provider that has published, and how many scripts Redis has run since. */
async function startCounted (t: Test): Promise<{ pubsub: RedisPubSub, scripts: () => Promise<number> }> {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  await pubsub.publish('c', 0)
  await admin.config('RESETSTAT')
  const scripts = async (): Promise<number> => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await admin.info('commandstats'))?.[1] ?? 0)
  return { pubsub, scripts }
}

function upTo (last: number): number[] {
  return Array.from({ length: last }, (_, n) => n + 1)
}

t.beforeEach(nothingUnhandled)

t.test('one that comes alone is sent at once, and what follows in its turn as a batch', async (t) => {
  const { pubsub, scripts } = await startCounted(t)
  const receipts = await Promise.all(upTo(200).map((n) => pubsub.publish(`c${n % 10}`, n)))
  t.equal(await scripts(), 1 + Math.ceil(199 / 64))
  t.equal(new Set(receipts.map(({ id }) => id)).size, 200)
  for (const n of upTo(10)) t.same(await logged(pubsub, `c${n % 10}`), upTo(20).map((many) => (many - 1) * 10 + n))
})

t.test('what is published as the last reply comes goes with what was gathered, behind it', async (t) => {
  const redis = await startRedis(t)
  const app = client(t, redis.url)
  const pubsub = open(t, { client: app })
  await pubsub.publish('c', 0)
  const send = app.sendCommand.bind(app)
  let scripts = 0
  let sent: Promise<unknown> | undefined
  let reply: (value: unknown) => void = () => {}
  app.sendCommand = (...args) => {
    if (args[0].name !== 'evalsha' || ++scripts > 1) return send(...args)
    sent = send(...args) as Promise<unknown>
    return new Promise((resolve) => { reply = resolve })
  }
  const one = pubsub.publish('c', 1)
  const value = await sent
  const two = pubsub.publish('c', 2)
  reply(value)
  // Before the turn ends.
  await one
  await Promise.all([two, pubsub.publish('c', 3)])
  t.equal(scripts, 2)
  t.same(await logged(pubsub, 'c'), [0, 1, 2, 3])
})

t.test('a batch of much is no longer than one of many', async (t) => {
  const { pubsub, scripts } = await startCounted(t)
  await Promise.all(upTo(11).map(() => pubsub.publish('c', 'x'.repeat(60_000))))
  t.equal(await scripts(), 3)
})

t.test('an event that is refused takes none along', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  await pubsub.publish('c', 0)
  await admin.set('rt:{meta}:m', 'of something else')
  await pubsub.publish('events', 0)
  await admin.set('rt:{events}:s', 'of something else')
  await admin.lpush('rt:{c}:i:key', 'of something else')
  const refused = { code: 'RT_PUBLISH_REJECTED', message: /Redis said WRONGTYPE/ }
  const publish = (channel: string, n: number, idempotencyKey?: string): Promise<unknown> => pubsub.publish(channel, n, { idempotencyKey })
  const outcomes = await Promise.allSettled([
    publish('c', 1), publish('meta', 2), publish('c', 3), publish('meta', 4, 'four'), publish('events', 5), publish('c', 6, 'key'), publish('d', 7), publish('c', 8, 'eight')
  ])
  t.same(outcomes.map(({ status }) => status === 'fulfilled'), [true, false, true, false, false, false, true, true])
  for (const outcome of outcomes) if (outcome.status === 'rejected') t.match(outcome.reason, refused)
  t.same([await logged(pubsub, 'c'), await logged(pubsub, 'd')], [[0, 1, 3, 8], [7]])
  await t.rejects(pubsub.publish('meta', 9), refused, 'also alone')
  await admin.del('rt:{meta}:m')
  t.match(await publish('meta', 4, 'four'), { duplicate: false }, 'and it left nothing behind')
})

t.test('what was refused in a batch stays refused when the reply is lost', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const proxy = await LossyProxy.start(t, redis.port)
  const pubsub = open(t, { url: `redis://127.0.0.1:${proxy.port}` })
  await pubsub.publish('c', 0)
  await admin.set('rt:{bad}:m', 'of something else')
  const lost = proxy.loseReplyTo('bad', () => admin.del('rt:{bad}:m'))
  const first = pubsub.publish('c', 1)
  const [, bad, two] = await Promise.allSettled([first, pubsub.publish('bad', 1), pubsub.publish('c', 2), lost])
  t.match(bad, { status: 'rejected', reason: { code: 'RT_PUBLISH_REJECTED' } })
  t.match(two, { status: 'fulfilled', value: { duplicate: false } })
  t.same([await logged(pubsub, 'c'), await logged(pubsub, 'bad')], [[0, 1, 2], []])
})

t.test('what is sent otherwise comes behind what was published before', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url })
  const other = open(t, { url: redis.url })
  const got: unknown[] = []
  other.follow('c', { live () {}, lost () {}, receive: ({ json }) => { got.push(JSON.parse(json)) } })
  const unsubscribe = other.state?.watch('c', ({ value }) => { got.push(value) })
  t.teardown(() => unsubscribe?.())
  await live(other)
  await pubsub.publish('c', 0)
  const state = pubsub.state as RedisStateStore
  await Promise.all([
    pubsub.publish('c', 1), pubsub.publish('c', 2), pubsub.publish('c', 'ephemeral', { ephemeral: true }),
    pubsub.publish('c', 3), state.change('c', { operation: 'open', field: 'text', value: 'opened', leaseMs: 10_000, owner: 'me', key: 'key' }),
    pubsub.publish('c', 4), state.finalize('c', { field: 'text', owner: 'me', event: 'finalized', key: 'key' }), pubsub.publish('c', 5)
  ])
  await live(other)
  t.same(got, [0, 1, 2, 'ephemeral', 3, 'opened', 4, 'finalized', '', 5])
  const closing = [pubsub.publish('c', 6), pubsub.publish('c', 7), pubsub.close()]
  await Promise.all(closing)
  t.same(await logged(other, 'c'), [0, 1, 2, 3, 4, 'finalized', 5, 6, 7], 'also what was published right before the end')
})

t.test('a key that is used twice in one batch is used once', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url })
  await pubsub.publish('c', 0)
  // The first one goes by itself.
  const receipts = await Promise.all([0, 1, 2, 3, 4].map((n) => pubsub.publish('c', n, n > 0 && n < 4 ? { idempotencyKey: 'key' } : {})))
  const [, first, second, third] = receipts
  t.same([second, third], [{ id: first?.id, duplicate: true }, { id: first?.id, duplicate: true }])
  t.same(await logged(pubsub, 'c'), [0, 0, 1, 4])
})

t.test('a chat that a user may not touch takes none along, and where one may not be broadcast, it is said once', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  await admin.call('ACL', 'SETUSER', 'app', 'on', '>hunter2', '+@all', '~rt:{ok*', '~rt:{mute*', '&rt:{ok*')
  const { log, lines } = keepLog('warn')
  const pubsub = open(t, { url: redis.url.replace('//', '//app:hunter2@'), log })
  await pubsub.publish('ok', 0)
  const outcomes = await Promise.allSettled(['ok', 'secret', 'mute', 'ok', 'ok2'].map((channel, n) => pubsub.publish(channel, n)))
  t.same(outcomes.map(({ status }) => status === 'fulfilled'), [true, false, true, true, true])
  t.match(outcomes[1], { reason: { code: 'RT_PUBLISH_REJECTED', message: /NOPERM/ } })
  t.same([await logged(pubsub, 'ok'), await logged(pubsub, 'ok2'), await logged(pubsub, 'mute')], [[0, 0, 3], [4], [2]])
  t.same(lines.map(({ msg }) => msg).sort(), ['Publishing failed', 'Redis refuses to broadcast, so events arrive late'])
})

t.test('what is behind one that was refused, was published before or has no text is neither held up nor unsure', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  const state = pubsub.state as RedisStateStore
  const finalize = (field: string): Promise<unknown> => state.finalize('c', { field, owner: 'me', event: field, key: field })
  await state.change('c', { operation: 'open', field: 'text', value: 'x', leaseMs: 10_000, owner: 'me', key: 'text' })
  await finalize('text')
  await admin.config('RESETSTAT')
  const published = [finalize('text'), pubsub.publish('c', 1), finalize('none'), pubsub.publish('c', 2), pubsub.close()]
  t.match(await Promise.all(published), [{ duplicate: true }, { duplicate: false }, { epoch: String }, { duplicate: false }])
  t.notMatch(await admin.info('errorstats'), /EARLY/)

  await admin.config('SET', 'maxmemory', '1')
  await admin.config('RESETSTAT')
  const { log, lines } = keepLog('warn')
  const other = open(t, { url: redis.url, log })
  const refused = upTo(500).map((n) => t.rejects(other.publish('c', n), { code: 'RT_PUBLISH_REJECTED', message: /OOM/ }))
  await Promise.all(refused)
  await other.close()
  const failures = lines.filter(({ msg }) => msg === 'Publishing failed')
  t.match(failures, [{ code: 'RT_PUBLISH_REJECTED', reason: /OOM/ }, { count: 500 }], 'logged when it begins, and with its count')
  t.equal(failures.length, 2)
  t.match(await admin.info('commandstats'), /cmdstat_eval:calls=1,/, 'and Redis is not sent the whole script again and again')
})

t.test('a batch whose reply was lost and that is refused when it is sent again is unknown, and not sent in parts', async (t) => {
  const { admin, proxy, pubsub } = await startLossy(t)
  await pubsub.publish('a', 0)
  const lost = proxy.loseReplyTo('rt:{b}', () => admin.call('ACL', 'SETUSER', 'app', 'resetkeys', '~rt:{a}*'))
  const [, , ...unknown] = await Promise.allSettled([lost, pubsub.publish('a', 1), pubsub.publish('b', 2), pubsub.publish('c', 3)])
  for (const outcome of unknown) t.match(outcome, { reason: { code: 'RT_PUBLISH_UNKNOWN', message: /NOPERM/ } })
})

/** A server with slots. */
async function startNode (t: Test): Promise<{ redis: RedisServer, admin: Redis }> {
  const redis = await startRedis(t, ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1'])
  const admin = client(t, redis.url)
  await admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  await until(() => admin.call('CLUSTER', 'INFO'), (info) => String(info).includes('cluster_state:ok'))
  return { redis, admin }
}

t.test('a node of a Cluster behind a client that knows of no slots: each channel by itself, nothing lost, doubled or out of order', async (t) => {
  const { redis, admin } = await startNode(t)
  const pubsub = open(t, { url: redis.url })
  const state = pubsub.state as RedisStateStore
  await state.change('b', { operation: 'open', field: 'text', value: 'x', leaseMs: 10_000, owner: 'me', key: 'key' })
  const channels = ['a', 'b', 'c']
  const published = upTo(300).map((n) => pubsub.publish(channels[n % 3] as string, n))
  published.push(state.finalize('b', { field: 'text', owner: 'me', event: 'finalized', key: 'key' }) as typeof published[0])
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
  t.notMatch(await admin.info('errorstats'), /CROSSSLOT/, 'it has learnt')
})

t.test('while it is learnt that there are slots, the refusal of an earlier sending doubles nothing', async (t) => {
  const { redis } = await startNode(t)
  const app = client(t, redis.url)
  // As if each reply came in a packet of its own, in the order that Redis answers.
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

t.test('one channel that is in several slots by the app\'s own doing is refused, and not for ever sent again', async (t) => {
  const { redis } = await startNode(t)
  const pubsub = open(t, { client: client(t, redis.url, { keyPrefix: '{}' }) })
  for (const n of [1, 2]) await t.rejects(pubsub.publish('c', n), { code: 'RT_PUBLISH_REJECTED', message: /CROSSSLOT/ })
})

t.test('a client of the app\'s that gathers commands by itself is fine', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { client: client(t, redis.url, { enableAutoPipelining: true }) })
  await Promise.all(upTo(100).map((n) => pubsub.publish('c', n)))
  t.same(await logged(pubsub, 'c'), upTo(100))
})

t.test('what a Cluster client holds back is waited for, and not asked after again and again', async (t) => {
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
  const early = async (): Promise<number> => Number(/errorstat_EARLY:count=(\d+)/.exec(await admin.info('errorstats'))?.[1] ?? 0)
  await until(early, (count) => count >= 2)
  for (let n = 0; n < 100; n++) await admin.ping()
  t.ok(await early() < 50)
  release()
  await Promise.all(published)
  t.same(await logged(pubsub, 'c'), [0, 1, 2])
})

/**
 * A provider, with a client of the app's, whose next publish that has `words` in it gets stuck on its way, until it is given
 * up. `reconnect` ends the connection on which it is stuck.
 */
async function startStuck (t: Test, words: string): Promise<Stuck> {
  const redis = await startRedis(t)
  const proxy = await LossyProxy.start(t, redis.port)
  // With that option on, it sends what was stuck once more by itself, before anything else.
  const app = client(t, `redis://127.0.0.1:${proxy.port}`, { autoResendUnfulfilledCommands: false })
  const pubsub = open(t, { client: app, publishTimeoutMs: 1_000 })
  await pubsub.publish('c', 0)
  const reconnect = async ({ cut }: HeldConnection): Promise<void> => {
    // (`once` would reject with the error that comes first.)
    const ready = new Promise((resolve) => { app.once('ready', resolve) })
    cut()
    await ready
  }
  return { admin: client(t, redis.url), proxy, pubsub, held: proxy.holdBack(words), reconnect }
}

interface Stuck {
  admin: Redis
  proxy: LossyProxy
  pubsub: RedisPubSub
  held: Promise<HeldConnection>
  reconnect (held: HeldConnection): Promise<void>
}

const UNKNOWN = { code: 'RT_PUBLISH_UNKNOWN' }

t.test('an event that was given up and is delivered late does not land after later ones of its publisher', async (t) => {
  const { admin, pubsub, held, reconnect } = await startStuck(t, 'stuck')
  await t.rejects(pubsub.publish('c', 'stuck'), UNKNOWN)
  const late = await held
  await reconnect(late)
  await pubsub.publish('c', 2)
  t.match(await late.deliver(), /^-GIVENUP /)
  await pubsub.publish('c', 3)
  t.same(await logged(pubsub, 'c'), [0, 2, 3])
  for (const key of await admin.keys('rt:{c}:b:*')) t.ok(await admin.pttl(key) > 0, 'and what keeps it away expires')
})

t.test('an event that was given up and is delivered before the next one stays where it is', async (t) => {
  const { pubsub, held, reconnect } = await startStuck(t, 'stuck')
  await t.rejects(pubsub.publish('c', 'stuck', { idempotencyKey: 'key' }), UNKNOWN)
  const late = await held
  await reconnect(late)
  await late.deliver()
  await pubsub.publish('c', 2)
  t.match(await pubsub.publish('c', 'stuck', { idempotencyKey: 'key' }), { duplicate: true })
  t.same(await logged(pubsub, 'c'), [0, 'stuck', 2])
})

t.test('an event that was given up and is published again with its key is applied once', async (t) => {
  const { pubsub, held, reconnect } = await startStuck(t, 'stuck')
  await t.rejects(pubsub.publish('c', 'stuck', { idempotencyKey: 'key' }), UNKNOWN)
  const late = await held
  await reconnect(late)
  t.match(await pubsub.publish('c', 'stuck', { idempotencyKey: 'key' }), { duplicate: false })
  t.match(await late.deliver(), /^-GIVENUP /)
  t.match(await pubsub.publish('c', 'stuck', { idempotencyKey: 'key' }), { duplicate: true })
  t.same(await logged(pubsub, 'c'), [0, 'stuck'])
})

t.test('several events of several chats that were given up one after another stay away, all of them', async (t) => {
  const { pubsub, held, reconnect } = await startStuck(t, 'stuck')
  const lost = [pubsub.publish('c', 'stuck 1'), pubsub.publish('d', 'stuck 2'), pubsub.publish('c', 'stuck 3')]
  await turn()
  lost.push(pubsub.publish('c', 'stuck 4'), pubsub.publish('d', 'stuck 5'))
  await turn()
  lost.push(pubsub.publish('d', 'stuck 6'))
  for (const outcome of await Promise.allSettled(lost)) t.match(outcome, { reason: UNKNOWN })
  const late = await held
  await reconnect(late)
  await Promise.all([pubsub.publish('c', 1), pubsub.publish('d', 1), pubsub.publish('c', 2)])
  const reply = await late.deliver()
  t.equal(reply.match(/^-GIVENUP /gm)?.length, 4)
  t.same([await logged(pubsub, 'c'), await logged(pubsub, 'd')], [[0, 1, 2], [1]])
})

t.test('the event that keeps another one from landing late can be given up itself', async (t) => {
  const { proxy, pubsub, held, reconnect } = await startStuck(t, 'stuck')
  await t.rejects(pubsub.publish('c', 'stuck 1'), UNKNOWN)
  const first = await held
  const next = proxy.holdBack('stuck 2')
  await reconnect(first)
  await t.rejects(pubsub.publish('c', 'stuck 2'), UNKNOWN)
  const second = await next
  await reconnect(second)
  await pubsub.publish('c', 3)
  for (const late of [first, second]) t.match(await late.deliver(), /^-GIVENUP /)
  t.same(await logged(pubsub, 'c'), [0, 3])
})

t.test('however many other chats have events meanwhile, one that was given up stays away', async (t) => {
  const { pubsub, held, reconnect } = await startStuck(t, 'stuck')
  await t.rejects(pubsub.publish('c', 'stuck'), UNKNOWN)
  const late = await held
  await reconnect(late)
  for (const n of upTo(200)) await pubsub.publish(`other ${n}`, n)
  await pubsub.publish('c', 2)
  t.match(await late.deliver(), /^-GIVENUP /)
})

t.test('the end of a bot message that was given up and is delivered late does not land after later events', async (t) => {
  const { pubsub, held, reconnect } = await startStuck(t, 'stuck')
  const state = pubsub.state as RedisStateStore
  await state.change('c', { operation: 'open', field: 'text', value: 'x', leaseMs: 10_000, owner: 'me', key: 'key' })
  const finalize = (): Promise<unknown> => state.finalize('c', { field: 'text', owner: 'me', event: 'stuck', key: 'key' })
  await t.rejects(finalize(), UNKNOWN)
  const late = await held
  await reconnect(late)
  await pubsub.publish('c', 2)
  t.match(await late.deliver(), /^-GIVENUP /)
  t.match(await finalize(), { duplicate: false })
  t.same(await logged(pubsub, 'c'), [0, 2, 'stuck'])
})

t.test('where Redis is full, an event is refused rather than published before one that may come late', async (t) => {
  const { admin, pubsub, held, reconnect } = await startStuck(t, 'stuck')
  await t.rejects(pubsub.publish('c', 'stuck'), UNKNOWN)
  await reconnect(await held)
  await admin.config('SET', 'maxmemory', '1')
  await t.rejects(pubsub.publish('c', 2), { code: 'RT_PUBLISH_REJECTED', message: /OOM/ })
  await admin.config('SET', 'maxmemory', '0')
  await pubsub.publish('c', 3)
  t.same(await logged(pubsub, 'c'), [0, 3])
})

t.test('what was given up with a chat that a user may not touch holds up none of the others', async (t) => {
  const { admin, proxy, pubsub } = await startLossy(t, { publishTimeoutMs: 1_000 })
  await admin.call('ACL', 'SETUSER', 'app', 'resetkeys', '~rt:{ok*')
  await pubsub.publish('ok', 0)
  const held = proxy.holdBack('stuck')
  const lost = [pubsub.publish('ok', 'stuck'), pubsub.publish('secret', 'stuck'), pubsub.publish('ok', 'stuck')]
  for (const outcome of await Promise.allSettled(lost)) t.match(outcome, { reason: UNKNOWN })
  const late = await held
  late.cut()
  await pubsub.publish('ok2', 'connected again')
  await pubsub.publish('ok', 1)
  t.match(await late.deliver(), /NOPERM/)
  t.same(await logged(pubsub, 'ok'), [0, 1])
})

t.test('of more events than are kept track of, the last ones that were given up stay away', async (t) => {
  const { pubsub, held, reconnect } = await startStuck(t, 'stuck')
  const lost: Promise<unknown>[] = []
  for (let n = 0; n < 200; n++) {
    lost.push(pubsub.publish('c', `stuck ${n}`))
    await turn()
  }
  for (const outcome of await Promise.allSettled(lost)) t.match(outcome, { reason: UNKNOWN })
  const late = await held
  await reconnect(late)
  await pubsub.publish('c', 'after')
  await late.deliver()
  const events = await logged(pubsub, 'c')
  t.same(events.slice(0, 2), [0, 'after'])
  t.notOk(events.includes('stuck 199'))
})

/**
 * A provider, another one, and what loses the reply to the next script that has `words` in it. Before the script is
 * sent again there are two failovers: the first primary has what it wrote, and after it `meanwhile` runs there. The
 * second one has only what there was before.
 */
async function startTwoFailovers (t: Test): Promise<{
  pubsub: RedisPubSub
  other: RedisPubSub & { eventLog: EventLog }
  losing: <T>(words: string, send: () => Promise<T>, meanwhile: () => Promise<unknown>) => Promise<T>
}> {
  const redis = await startRedis(t, ['--enable-debug-command', 'yes'])
  const admin = client(t, redis.url)
  const proxy = await LossyProxy.start(t, redis.port)
  // As of a replica that was promoted.
  const promote = (): Promise<unknown> => admin.call('DEBUG', 'CHANGE-REPL-ID')
  const losing = async <T>(words: string, send: () => Promise<T>, meanwhile: () => Promise<unknown>): Promise<T> => {
    const names = await admin.keys('*')
    const dumps = await Promise.all(names.map((name) => admin.dumpBuffer(name)))
    await promote()
    const lost = proxy.loseReplyTo(words, async () => {
      await meanwhile()
      await admin.flushdb()
      await Promise.all(names.map((name, n) => admin.restore(name, 0, dumps[n] as Buffer)))
      await promote()
    })
    const [sent] = await Promise.all([send(), lost])
    return sent
  }
  return { pubsub: open(t, { url: `redis://127.0.0.1:${proxy.port}` }), other: open(t, { url: redis.url }), losing }
}

t.test('an event that is sent again after two failovers is another one to clients that have the first', async (t) => {
  const { pubsub, other, losing } = await startTwoFailovers(t)
  await pubsub.publish('c', 'before')
  let seen: LogPage | undefined
  const receipt = await losing('sent twice', () => pubsub.publish('c', 'sent twice'), async () => {
    seen = await other.eventLog.read('c', undefined, 10)
    await other.publish('c', 'acknowledged, then lost')
  })
  t.match(receipt, { duplicate: false })
  t.match(seen, { entries: [{}, { position: { isMarker: true } }, {}] })
  const client = seen?.head as LogHead
  t.equal(receipt.id?.split('-')[1], String(client.offset), 'in its very place')
  t.equal((await other.eventLog.read('c', client, 10)).gap, 'diverged')
  const marker = seen?.entries[1]?.position
  t.equal((await other.eventLog.read('c', marker, 10)).gap, 'diverged', 'and so is the marker before it')
  t.same(await logged(other, 'c'), ['before', {}, 'sent twice'])
})

t.test('a new log that is begun again after two failovers is another one to clients that have the first', async (t) => {
  const { pubsub, other, losing } = await startTwoFailovers(t)
  await pubsub.publish('other', 0)
  let seen: LogPage | undefined
  await losing('sent twice', () => pubsub.publish('c', 'sent twice'), async () => {
    seen = await other.eventLog.read('c', undefined, 10)
    await other.publish('c', 'acknowledged, then lost')
  })
  t.equal((await other.eventLog.read('c', seen?.head, 10)).gap, 'epoch')
})

t.test('the end of a bot message that is sent again after two failovers is another one', async (t) => {
  const { pubsub, other, losing } = await startTwoFailovers(t)
  const state = pubsub.state as RedisStateStore
  await pubsub.publish('c', 'before')
  await state.change('c', { operation: 'open', field: 'text', value: 'x', leaseMs: 10_000, owner: 'me', key: 'key' })
  let seen: LogPage | undefined
  const end = { field: 'text', owner: 'me', event: 'sent twice', key: 'key' }
  const receipt = await losing('sent twice', () => state.finalize('c', end), async () => {
    seen = await other.eventLog.read('c', undefined, 10)
    await other.publish('c', 'acknowledged, then lost')
  })
  t.match(receipt, { duplicate: false })
  t.equal((await other.eventLog.read('c', seen?.head, 10)).gap, 'diverged')
})

t.test('a state that is begun again after two failovers is another one to instances that have the first', async (t) => {
  const { pubsub, other, losing } = await startTwoFailovers(t)
  const stateOf = (provider: RedisPubSub): RedisStateStore => provider.state as RedisStateStore
  const set = (provider: RedisPubSub, value: string): Promise<unknown> =>
    stateOf(provider).change('c', { operation: 'set', field: value, value, leaseMs: 10_000 })
  await pubsub.publish('c', 'before')
  let seen: StatePage | undefined
  await losing('sent twice', () => set(pubsub, 'sent twice'), async () => {
    await set(other, 'lost')
    seen = await stateOf(other).read('c')
  })
  await set(other, 'after')
  const page = await stateOf(other).read('c', seen?.version)
  t.same([...page.fields?.keys() ?? []].sort(), ['after', 'sent twice'], 'what was lost is not taken for what came')
})

t.test('a reply that is lost makes no duplicate, however often', async (t) => {
  const redis = await startRedis(t)
  const proxy = await LossyProxy.start(t, redis.port)
  const pubsub = open(t, { url: `redis://127.0.0.1:${proxy.port}` })
  await pubsub.publish('c', 0)
  const lost = proxy.loseReplyTo('key', () => { again = proxy.loseReplyTo('key') })
  let again: Promise<void> | undefined
  const receipt = await pubsub.publish('c', 1, { idempotencyKey: 'key' })
  await Promise.all([lost, again])
  t.match(receipt, { duplicate: false }, 'the first sending was applied')
  t.match(await pubsub.publish('c', 1, { idempotencyKey: 'key' }), { id: receipt.id, duplicate: true })
  t.same(await logged(pubsub, 'c'), [0, 1])
})
