import t from 'tap'
import { once } from 'node:events'
import { Cluster } from 'ioredis'
import type { StateChange } from '../../../../lib/index.ts'
import type { Field } from '../../../../lib/pubsub/state-store.ts'
import { live } from '../../../support/live.ts'
import { keepLog } from '../../../support/log.ts'
import { LossyProxy } from '../../../support/lossy-proxy.ts'
import { RedisCluster } from '../../../support/redis-cluster.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { until } from '../../../support/until.ts'
import { LEASE, start, open, watch, set, begin, append, write, finalize, readDraft, valuesOf } from './state.ts'

t.beforeEach(nothingUnhandled)

t.test('the keys of a state have the hash tag of its chat, and an expiry', async (t) => {
  const { redis, admin } = await start(t)
  const pubsub = open(t, { url: redis.url, history: { ttlMs: 10_000 } })
  const { state } = pubsub
  await set(state, 'v', '1')
  t.same((await admin.keys('*')).sort(), ['rt:{c}:f', 'rt:{c}:l', 'rt:{c}:m'])
  const ttl = async (key: string): Promise<number> => Math.ceil(await admin.pttl(key) / 1_000)
  t.same([await ttl('rt:{c}:f'), await ttl('rt:{c}:l'), await ttl('rt:{c}:m')], [70, 70, 70])
  await state.change('c', { operation: 'delete', field: 'v' })
  t.same(await admin.keys('*'), ['rt:{c}:m'], 'no part of a field is left')
  t.equal(await ttl('rt:{c}:m'), 60, 'and its version soon ends')
  await pubsub.eventLog?.read('c', undefined, 1)
  await pubsub.eventLog?.heads(['c'])
  t.equal(await ttl('rt:{c}:m'), 60, 'also if an instance polls the log of the chat')
  await pubsub.publish('c', 1)
  t.equal(await ttl('rt:{c}:m'), Math.ceil(7 * 24 * 3_600 + 12.5), 'beside an event it lives as long as that')
})

t.test('joining a chat without a state sends no further command to Redis', async (t) => {
  const { redis, admin } = await start(t)
  const pubsub = open(t, { url: redis.url })
  await pubsub.publish('c', 1)
  t.match(await pubsub.state.read('c'), { version: undefined })
  t.same(await admin.hkeys('rt:{c}:m'), ['e', 'l', 'r', 'x'], 'and reading makes none')
})

t.test('a whole state is kept for as long as one of its fields changes or is renewed', async (t) => {
  const { redis, admin } = await start(t)
  const { eventLog: log, state } = open(t, { url: redis.url, history: { ttlMs: 10_000 } })
  const names = ['rt:{c}:f', 'rt:{c}:l', 'rt:{c}:m']
  const endSoon = (): Promise<unknown> => Promise.all(names.map((name) => admin.pexpire(name, 9_000)))
  const seconds = (): Promise<number[]> =>
    Promise.all(names.map(async (name) => Math.ceil(await admin.pttl(name) / 1_000)))
  await log?.read('c', undefined, 1)
  for (const field of ['one', 'two']) await set(state, field, '1')
  t.same(await seconds(), [70, 70, 70], 'also beside a log that is still empty')
  await endSoon()
  await state.renew('c', ['one'], LEASE)
  t.same(await seconds(), [70, 70, 70])
  await endSoon()
  await state.change('c', { operation: 'delete', field: 'two' })
  t.same(await seconds(), [70, 70, 70])
  await admin.del('rt:{c}:l')
  await state.read('c')
  t.equal((await seconds())[1], 70, 'and so are leases that had to begin anew')
})

t.test('if Redis may not broadcast, changes and the end of a draft are stored, and the reason is logged', async (t) => {
  const { redis, admin } = await start(t)
  await admin.call('ACL', 'SETUSER', 'app', 'on', '>hunter2', 'allchannels', 'allkeys', '+@all')
  const { log, lines } = keepLog()
  const { state } = open(t, { url: `redis://app:hunter2@127.0.0.1:${redis.port}`, log })
  await write(state, 'abc')
  await admin.call('ACL', 'SETUSER', 'app', 'resetchannels')
  t.match(await append(state, 3, 'def'), { outcome: 'done' })
  const before = lines.length
  t.match(await finalize(state), { duplicate: false })
  t.same((await state.read('c')).fields?.size ?? 0, 0)
  t.match(JSON.stringify(lines.slice(before)), /channels|broadcast|NOPERM|ACL/i)
})

t.test('foreign data in a state does no harm', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  await set(state, 'v', '1')
  await admin.hset('rt:{c}:f', '=garbage', 'x', 'other', 'x', '=%', 'v 0 0 60000 me', '=e', 'd 3 3 60000 me')
  await admin.zadd('rt:{c}:l', 1, 'nothing')
  t.same(
    Object.fromEntries((await state.read('c')).fields as Map<string, Field>),
    { v: { value: '1', expired: false }, e: { value: '', draft: { length: 3, content: undefined }, expired: false } }
  )
  t.same(
    await state.readDraft('c', { field: 'garbage', key: 'key' }, 0), { field: undefined, event: undefined, pieces: [] }
  )
})

t.test('scripts that Redis forgets are resent', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  await set(state, 'v', '1')
  await write(state, 'ab')
  await state.read('c')
  await readDraft(state)
  await admin.script('FLUSH')
  const pieces = Array.from({ length: 20 }, (_, n) => append(state, 2 * n + 2, 'ab'))
  t.same((await Promise.all(pieces)).map(({ outcome }) => outcome), Array(20).fill('done'))
  await admin.script('FLUSH')
  t.same(await valuesOf(state), { v: '1', d: 'ab'.repeat(21) })
  await admin.script('FLUSH')
  t.match(await readDraft(state), { pieces: { length: 21 } })
  await admin.script('FLUSH')
  t.match(await finalize(state), { duplicate: false })
  t.match(await admin.info('errorstats'), /errorstat_NOSCRIPT/, 'some met it')
})

t.test('commands that are pending when the provider closes complete, even without a loaded script', async (t) => {
  const { redis } = await start(t)
  const pubsub = open(t, { url: redis.url })
  await write(pubsub.state, 'ab')
  const finalized = finalize(pubsub.state)
  await pubsub.close()
  t.match(await finalized, { duplicate: false })
})

t.test('a change whose reply is lost with its connection is applied once', async (t) => {
  const { redis } = await start(t)
  const proxy = await LossyProxy.start(t, redis.port)
  const { state } = open(t, { url: `redis://127.0.0.1:${proxy.port}` })
  await write(state, 'abc')
  const lost = proxy.loseReplyTo('def')
  const appended = append(state, 3, 'def')
  await lost
  t.match(await appended, { outcome: 'done' })
  t.match(await append(state, 6, 'ghi'), { outcome: 'done' })
  t.same(await valuesOf(state), { d: 'abcdefghi' })
  const lostToo = proxy.loseReplyTo('the end')
  const finalized = finalize(state, { event: 'the end' })
  await lostToo
  t.match(await finalized, { duplicate: false, id: /-1-/ })
})

t.test('a pattern subscriber, too, is notified once, and nothing is mistaken for garbage', async (t) => {
  const { redis } = await start(t)
  const lines: unknown[] = []
  const log = {
    debug () {},
    info () {},
    warn: (line: unknown) => { lines.push(line) },
    error: (line: unknown) => { lines.push(line) }
  }
  const pubsub = open(t, { url: redis.url, log: log as never })
  const got: unknown[] = []
  pubsub.subscribe('c*', ({ data }) => { got.push(data) })
  const changes = await watch(pubsub)
  await set(pubsub.state, 'v', '1')
  await live(pubsub)
  t.equal(changes.length, 1)
  t.same([got, lines], [[], []])
})

t.test('when the clock of Redis steps, renewed fields stay, and the others expire no later', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  const lease = 5_000
  await set(state, 'v', '1', lease)
  await begin(state, 'key', lease)
  /** Times in the state are older by the step of the clock. */
  const step = async (ms: number): Promise<void> => { await admin.hincrby('rt:{c}:m', 'st', -ms) }
  await step(60_000)
  const { fields, doubtful } = await state.read('c')
  t.same(
    [...fields ?? []].map(([name, { expired }]) => [name, expired]).sort(),
    [['d', false], ['v', false]],
    'a minute forward'
  )
  t.same([...doubtful ?? []].sort(), ['d', 'v'], 'a single read may miss them')
  t.match(await state.renew('c', ['d', 'v'], lease), { gone: [] })
  t.equal((await state.read('c')).doubtful, undefined)
  await step(-600_000)
  t.match(await state.renew('c', ['d'], lease), { gone: [] }, 'ten minutes back')
  let looks = 0
  do await step(2_000)
  while (++looks < 10 && (await state.read('c')).fields?.has('v') === true)
  t.equal(looks, 3, 'as if there had been no step')
  t.equal((await state.read('c')).fields?.get('d')?.expired, true)
})

t.test('if Redis refuses or is away, changes and reads reject like a publish', async (t) => {
  const { redis, admin } = await start(t)
  const pubsub = open(t, { url: redis.url, publishTimeoutMs: 300 })
  const { state } = pubsub
  await until(() => pubsub.isHealthy(), Boolean)
  await set(state, 'v', '1')
  await admin.config('SET', 'maxmemory', '1')
  await t.rejects(set(state, 'w', '2'), { code: 'RT_PUBLISH_REJECTED' })
  await t.rejects(state.change('other', { operation: 'set', field: 'v', value: '1', leaseMs: LEASE }), {
    code: 'RT_PUBLISH_REJECTED'
  })
  await admin.config('SET', 'maxmemory', '0')
  await redis.kill()
  await t.rejects(set(state, 'v', '2'), { code: /RT_PUBLISH_(REJECTED|UNKNOWN)/ })
  await t.rejects(state.renew('c', ['v'], 1), { code: 'RT_PUBLISH_REJECTED' })
  await t.rejects(state.read('c'), { code: 'RT_LOG_UNAVAILABLE' })
})

t.test('in a Cluster', async (t) => {
  const redis = await RedisCluster.start()
  t.teardown(() => redis.stop())
  const cluster = new Cluster(redis.addresses)
  t.teardown(() => { cluster.disconnect() })
  await once(cluster, 'ready')
  for (const sharded of [false, true]) {
    const pubsub = open(t, { client: cluster, sharded, keyPrefix: `${sharded}:` })
    const { state } = pubsub
    const changes: StateChange[] = []
    const ended = new Promise<unknown>((resolve) => { pubsub.subscribeExact('c', ({ data }) => { resolve(data) }) })
    state.watch('c', (change) => { changes.push(change) })
    await live(pubsub)
    await until(() => pubsub.isHealthy(), Boolean)
    await set(state, 'v', '1')
    await write(state, 'ab')
    await append(state, 2, 'c')
    t.match(await state.renew('c', ['d', 'v', 'none'], LEASE), { gone: ['none'] })
    t.same(await valuesOf(state), { v: '1', d: 'abc' })
    t.match(await finalize(state, { keepContent: true }), { duplicate: false })
    t.match(await readDraft(state, 2), { event: '"end"', pieces: [{ content: 'c' }] })
    t.equal(await ended, 'end')
    t.same(
      changes.map(({ operation, field }) => `${operation} ${field}`),
      ['set v', 'open d', 'append d', 'append d', 'delete d'],
      sharded ? 'reported by the shard' : 'reported by all nodes'
    )
  }
})
