import t from 'tap'
import { once } from 'node:events'
import { Cluster } from 'ioredis'
import type { StateChange } from '../../../../lib/index.ts'
import { live } from '../../../support/live.ts'
import { keepLog } from '../../../support/log.ts'
import { LossyProxy } from '../../../support/lossy-proxy.ts'
import { RedisCluster } from '../../../support/redis-cluster.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { until } from '../../../support/until.ts'
import { LEASE, start, open, watch, set, begin, append } from './state.ts'

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
  await pubsub.publish('c', 1)
  t.equal(await ttl('rt:{c}:m'), 7 * 24 * 3_600 + 10, 'beside an event it lives as long as that')
})

t.test('joining a chat without a state sends no further command to Redis', async (t) => {
  const { redis, admin } = await start(t)
  const pubsub = open(t, { url: redis.url })
  await pubsub.publish('c', 1)
  t.match(await pubsub.state.read('c'), { version: undefined })
  t.same(await admin.hkeys('rt:{c}:m'), ['e', 'l', 'r'], 'and reading makes none')
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

t.test('if Redis may not broadcast, changes and the end of a text are stored, and the reason is logged', async (t) => {
  const { redis, admin } = await start(t)
  await admin.call('ACL', 'SETUSER', 'app', 'on', '>hunter2', 'allchannels', 'allkeys', '+@all')
  const { log, lines } = keepLog()
  const { state } = open(t, { url: `redis://app:hunter2@127.0.0.1:${redis.port}`, log })
  await begin(state, 'abc')
  await admin.call('ACL', 'SETUSER', 'app', 'resetchannels')
  t.match(await append(state, 3, 'def'), { outcome: 'done' })
  const before = lines.length
  t.match(await state.finalize('c', { field: 't', owner: 'me', event: 'end', key: 'key' }), { duplicate: false })
  t.same((await state.read('c')).fields?.size ?? 0, 0)
  t.match(JSON.stringify(lines.slice(before)), /channels|broadcast|NOPERM|ACL/i)
})

t.test('foreign data in a state does no harm', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  await set(state, 'v', '1')
  await admin.hset(
    'rt:{c}:f', '=garbage', 'x', '=t', 't 2 6 60000 me', '0=t', 'abc', 'other', 'x', '=%', 'v 1 1 60000 me'
  )
  await admin.zadd('rt:{c}:l', 1, 'nothing')
  const { fields } = await state.read('c')
  t.match(fields?.get('t'), { value: 'abc' })
  t.notOk(fields?.has('%') || fields?.has('other'))
})

t.test('scripts that Redis forgets are resent', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  await set(state, 'v', '1')
  await begin(state, '')
  await state.read('c')
  await admin.script('FLUSH')
  const pieces = Array.from({ length: 20 }, (_, n) => append(state, 2 * n, 'ab'))
  t.same((await Promise.all(pieces)).map(({ outcome }) => outcome), Array(20).fill('done'))
  await admin.script('FLUSH')
  t.equal((await state.read('c')).fields?.get('t')?.value, 'ab'.repeat(20))
  await admin.script('FLUSH')
  t.match(await state.finalize('c', { field: 't', owner: 'me', event: 'end', key: 'key' }), { duplicate: false })
  t.match(await admin.info('errorstats'), /errorstat_NOSCRIPT/, 'some met it')
})

t.test('commands that are pending when the provider closes complete, even without a loaded script', async (t) => {
  const { redis } = await start(t)
  const pubsub = open(t, { url: redis.url })
  await begin(pubsub.state, '')
  await append(pubsub.state, 0, 'ab')
  const finalized = pubsub.state.finalize('c', { field: 't', owner: 'me', event: 'end', key: 'key' })
  await pubsub.close()
  t.match(await finalized, { duplicate: false })
})

t.test('a change whose reply is lost with its connection is applied once', async (t) => {
  const { redis } = await start(t)
  const proxy = await LossyProxy.start(t, redis.port)
  const { state } = open(t, { url: `redis://127.0.0.1:${proxy.port}` })
  await begin(state, 'abc')
  const lost = proxy.loseReplyTo('def')
  const appended = append(state, 3, 'def')
  await lost
  t.match(await appended, { outcome: 'done' })
  t.match(await append(state, 6, 'ghi'), { outcome: 'done' })
  const lostToo = proxy.loseReplyTo('the end')
  const finalized = state.finalize('c', { field: 't', owner: 'me', event: 'the end', key: 'key' })
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
  await state.change('c', { operation: 'open', field: 't', value: 'abc', leaseMs: lease, owner: 'me', key: 'key' })
  /** Times in the state are older by the step of the clock. */
  const step = async (ms: number): Promise<void> => { await admin.hincrby('rt:{c}:m', 'st', -ms) }
  await step(60_000)
  const { fields, doubtful } = await state.read('c')
  t.same(
    [...fields ?? []].map(([name, { expired }]) => [name, expired]).sort(),
    [['t', false], ['v', false]],
    'a minute forward'
  )
  t.same([...doubtful ?? []].sort(), ['t', 'v'], 'a single read may miss them')
  t.match(await state.renew('c', ['t', 'v'], lease), { gone: [] })
  t.equal((await state.read('c')).doubtful, undefined)
  await step(-600_000)
  t.match(await state.renew('c', ['t'], lease), { gone: [] }, 'ten minutes back')
  let looks = 0
  do await step(2_000)
  while (++looks < 10 && (await state.read('c')).fields?.has('v') === true)
  t.equal(looks, 3, 'as if there had been no step')
  t.equal((await state.read('c')).fields?.get('t')?.expired, true)
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
    await begin(state, 'ab')
    await append(state, 2, 'c')
    t.match(await state.renew('c', ['t', 'v', 'none'], LEASE), { gone: ['none'] })
    t.same([...(await state.read('c')).fields ?? []].map(([field, { value }]) => [field, value]).sort(), [
      ['t', 'abc'], ['v', '1']
    ])
    t.match(await state.finalize('c', { field: 't', owner: 'me', event: 'end', key: 'key' }), { duplicate: false })
    t.equal(await ended, 'end')
    t.same(
      changes.map(({ operation, field }) => `${operation} ${field}`),
      ['set v', 'open t', 'append t', 'delete t'],
      sharded ? 'reported by the shard' : 'reported by all nodes'
    )
  }
})
