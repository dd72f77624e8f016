import t, { type Test } from 'tap'
import { once } from 'node:events'
import { Cluster, Redis } from 'ioredis'
import { RedisPubSub, type RedisPubSubOptions, type StateChange, type StateStore } from '../../../../lib/index.ts'
import { live } from '../../../support/live.ts'
import { keepLog } from '../../../support/log.ts'
import { LossyProxy } from '../../../support/lossy-proxy.ts'
import { RedisCluster } from '../../../support/redis-cluster.ts'
import { RedisServer } from '../../../support/redis-server.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { until } from '../../../support/until.ts'
import { timing } from '../../../../lib/core/timing.ts'

const LEASE = 60_000

t.beforeEach(nothingUnhandled)

async function start (t: Test, args: string[] = []): Promise<{ redis: RedisServer, admin: Redis }> {
  const redis = await RedisServer.start({ args })
  t.teardown(() => redis.stop())
  const admin = new Redis(redis.url)
  admin.on('error', () => {})
  t.teardown(() => admin.disconnect())
  return { redis, admin }
}

function open (t: Test, options: RedisPubSubOptions): RedisPubSub & { state: StateStore } {
  const pubsub = new RedisPubSub(options)
  t.teardown(() => pubsub.close())
  return pubsub as RedisPubSub & { state: StateStore } // History is on here.
}

/** Follows the channel. Returns what is told of its state, as it comes. */
async function watch (pubsub: RedisPubSub & { state: StateStore }): Promise<StateChange[]> {
  const changes: StateChange[] = []
  pubsub.subscribeExact('c', () => {})
  pubsub.state.watch('c', (change) => { changes.push(change) })
  await live(pubsub)
  return changes
}

const set = (state: StateStore, field: string, value: string, leaseMs = LEASE): Promise<{ outcome: string, epoch: string }> => state.change('c', { operation: 'set', field, value, leaseMs })
const begin = (state: StateStore, value: string): Promise<{ outcome: string, epoch: string }> => state.change('c', { operation: 'open', field: 't', value, leaseMs: LEASE, owner: 'me', key: 'key' })
const append = (state: StateStore, at: number, value: string): Promise<{ outcome: string, epoch: string }> => state.change('c', { operation: 'append', field: 't', at, value, leaseMs: LEASE, owner: 'me' })

t.test('what is kept of a state has the hash tag of its chat, and an end', async (t) => {
  const { redis, admin } = await start(t)
  const pubsub = open(t, { url: redis.url, history: { ttlMs: 10_000 } })
  const { state } = pubsub
  await set(state, 'v', '1')
  t.same((await admin.keys('*')).sort(), ['rt:{c}:f', 'rt:{c}:l', 'rt:{c}:m'])
  const ttl = async (key: string): Promise<number> => Math.ceil(await admin.pttl(key) / 1_000)
  t.same([await ttl('rt:{c}:f'), await ttl('rt:{c}:l'), await ttl('rt:{c}:m')], [70, 70, 70])
  await state.change('c', { operation: 'delete', field: 'v' })
  t.same(await admin.keys('*'), ['rt:{c}:m'], 'nothing of a field is left')
  t.equal(await ttl('rt:{c}:m'), 60, 'and its version soon ends')
  await pubsub.publish('c', 1)
  t.equal(await ttl('rt:{c}:m'), 7 * 24 * 3_600 + 10, 'beside an event it lives as long as that')
})

t.test('who joins a chat without a state asks Redis for nothing more', async (t) => {
  const { redis, admin } = await start(t)
  const pubsub = open(t, { url: redis.url })
  await pubsub.publish('c', 1)
  t.match(await pubsub.state.read('c'), { version: undefined })
  t.same(await admin.hkeys('rt:{c}:m'), ['e', 'l', 'r'], 'and reading makes none')
})

t.test('a Redis that was restarted without its data has a state of a new epoch', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  const { epoch } = await begin(state, 'abc')
  await redis.restart()
  await once(admin, 'ready')
  const gone = await append(state, 3, 'def')
  t.equal(gone.outcome, 'gone')
  t.not(gone.epoch, epoch, 'so it may have been lost')
  t.match(await state.renew('c', ['t'], LEASE), { gone: ['t'] })
  const again = await begin(state, 'abcdef')
  t.equal(again.outcome, 'done')
  t.equal((await append(state, 6, 'g')).outcome, 'done')
  t.equal((await state.read('c')).fields?.get('t')?.value, 'abcdefg')
})

t.test('a Redis that was restarted with its data has a new epoch, and leases begin anew', async (t) => {
  const { redis, admin } = await start(t, ['--appendonly', 'yes', '--appendfsync', 'always'])
  const pubsub = open(t, { url: redis.url })
  const { state } = pubsub
  const { epoch } = await begin(state, 'abc')
  await set(state, 'v', '1', 1_000)
  await redis.restart()
  await once(admin, 'ready')
  // Both ran out while it was away.
  for (const field of ['t', 'v']) await admin.zadd('rt:{c}:l', 1, field)
  const changes = await watch(pubsub)
  const { version: stamp, fields } = await state.read('c')
  t.not(stamp?.epoch, epoch)
  t.ok((stamp?.count ?? 0) >= 1, 'it does not begin with the first change: there is something before that')
  t.same([...fields ?? []].map(([field, { value, expired }]) => [field, value, expired]).sort(), [['t', 'abc', false], ['v', '1', false]])
  t.match(await append(state, 3, 'def'), { outcome: 'done', epoch: stamp?.epoch })
  await live(pubsub)
  t.match(changes, [{ version: { epoch: stamp?.epoch, count: (stamp?.count ?? 0) + 1 }, operation: 'append', value: 'def' }])
  const left = Number(await admin.zscore('rt:{c}:l', 'v')) - Number(await admin.hget('rt:{c}:m', 'sc'))
  t.ok(left > 1_000 && left <= 5_000, 'five seconds at least')
})

t.test('a text of which Redis has lost the end is brought to what it was', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  await begin(state, 'abc')
  await append(state, 3, 'def')
  await admin.hset('rt:{c}:f', '=t', 't 1 3 60000 me')
  t.match(await append(state, 6, 'ghi'), { outcome: 'behind' })
  t.match(await begin(state, 'abcdefghi'), { outcome: 'done' })
  t.equal((await state.read('c')).fields?.get('t')?.value, 'abcdefghi')
})

t.test('where the leases alone were evicted, what is renewed stays and what is not runs out', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  for (const id of ['dead', 'live']) await state.change('c', { operation: 'open', field: id, value: 'abc', leaseMs: 1_000, owner: id, key: id })
  await set(state, 'v', '1', 1_000)
  await admin.del('rt:{c}:l')
  t.match(await state.renew('c', ['live'], 1_000_000), { gone: [] })
  const looks = Math.ceil(timing.stateLease / timing.idleCheck)
  for (let look = 0; look < looks; look++) {
    await admin.hincrby('rt:{c}:m', 'st', -timing.idleCheck)
    await state.read('c')
  }
  const { fields } = await state.read('c')
  t.same([...fields ?? []].map(([name, { expired }]) => [name, expired]).sort(), [['dead', true], ['live', false]])
  await admin.del('rt:{c}:l')
  t.match(await state.finalize('c', { field: 'dead', event: 'end', key: 'dead' }), { duplicate: false }, 'and can be ended')
})

t.test('a state whose meta was deleted goes on in a new epoch, and leases begin anew', async (t) => {
  const { redis, admin } = await start(t)
  const { eventLog: log, state } = open(t, { url: redis.url })
  const { epoch } = await set(state, 'old', '1')
  await begin(state, 'abc')
  await admin.del('rt:{c}:m')
  const top = (await log?.read('c', undefined, 1))?.head
  t.ok(top?.state, 'the log tells that there is one')
  const { version: stamp, fields } = await state.read('c')
  t.not(stamp?.epoch, epoch)
  t.same([...fields ?? []].map(([field, { value }]) => [field, value]).sort(), [['old', '1'], ['t', 'abc']])
  t.match(await append(state, 3, 'def'), { outcome: 'done', epoch: stamp?.epoch })
  t.match(await admin.hgetall('rt:{c}:m'), { 't=t': '60000 me' })
  await admin.del('rt:{c}:m', 'rt:{c}:f')
  t.match(await state.read('c'), { version: undefined }, 'without its fields, too, there is none')
  t.not((await set(state, 'new', '1')).epoch, stamp?.epoch)
  t.same([...(await state.read('c')).fields?.keys() ?? []], ['new'])
  t.same(await admin.zrange('rt:{c}:l', '0', '-1'), ['new'])
})

t.test('texts are put back where Redis loses the fields of a state after its meta', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  await begin(state, 'abc')
  // Its lease has run out.
  await admin.hset('rt:{c}:f', '=over', 'x 1 3 60000 other', '0=over', 'abc')
  await admin.del('rt:{c}:m')
  await state.read('c')
  t.same(await admin.zrange('rt:{c}:l', '0', '-1'), ['t'], 'a text whose lease has run out gets none')
  await admin.del('rt:{c}:f')
  t.same([...(await state.read('c')).fields?.keys() ?? []].sort(), ['over', 't'])
})

t.test('all of a state is kept for as long as something in it changes or is renewed', async (t) => {
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

t.test('where Redis may not broadcast, changes and the end of a text are kept, and the log says why', async (t) => {
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

t.test('what somebody else wrote into a state does no harm', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  await set(state, 'v', '1')
  await admin.hset('rt:{c}:f', '=garbage', 'x', '=t', 't 2 6 60000 me', '0=t', 'abc', 'other', 'x', '=%', 'v 1 1 60000 me')
  await admin.zadd('rt:{c}:l', 1, 'nothing')
  const { fields } = await state.read('c')
  t.match(fields?.get('t'), { value: 'abc' })
  t.notOk(fields?.has('%') || fields?.has('other'))
})

t.test('a text is put back that Redis has lost, with what is left of it, until its owner brings the rest', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  const { epoch } = await begin(state, 'abc')
  await append(state, 3, 'é')
  const lost: Record<string, () => Promise<unknown>> = {
    'the record': () => admin.hdel('rt:{c}:f', '=t'),
    'all fields': () => admin.del('rt:{c}:f'),
    'fields and leases': () => admin.del('rt:{c}:f', 'rt:{c}:l')
  }
  await lost['the record']?.()
  t.match(await append(state, 5, 'f'), { outcome: 'done', epoch }, 'with only its record lost nothing else is')
  for (const name of ['all fields', 'fields and leases']) {
    const before = (await state.read('c')).version?.epoch
    await lost[name]?.()
    const { version: stamp, fields } = await state.read('c')
    t.not(stamp?.epoch, before, name)
    t.same([...fields ?? []], [['t', { value: '', text: true, expired: false }]])
    t.equal(await admin.zcard('rt:{c}:l'), 1, 'with a lease')
    t.match(await state.renew('c', ['t'], LEASE), { gone: [], epoch: stamp?.epoch })
    t.match(await append(state, 6, 'g'), { outcome: 'behind' })
    t.match(await state.change('c', { operation: 'open', field: 't', value: 'x', leaseMs: LEASE, owner: 'another', key: 'key' }), { outcome: 'taken' })
    t.match(await begin(state, 'abcéf'), { outcome: 'done', epoch: stamp?.epoch })
  }
  await lost['all fields']?.()
  t.match(await state.finalize('c', { field: 't', owner: 'me', event: 'end', key: 'key' }), { duplicate: false })
  t.same([...(await state.read('c')).fields?.keys() ?? []], [])
  t.notOk(await admin.hexists('rt:{c}:m', 't=t'), 'after its end nothing is put back')
})

t.test('a text whose record alone is lost runs out as any other', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  await begin(state, 'abc')
  await admin.hdel('rt:{c}:f', '=t')
  await admin.zadd('rt:{c}:l', 1, 't')
  t.same((await state.read('c')).fields?.get('t'), { value: 'abc', text: true, expired: true })
  t.match(await state.finalize('c', { field: 't', event: 'end', key: 'key' }), { duplicate: false })
})

t.test('what a full Redis has lost is put back when it takes it again, and until then nothing is given up', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  const { epoch } = await begin(state, 'abc')
  const { version: stamp } = await state.read('c')
  await admin.del('rt:{c}:f')
  await admin.config('SET', 'maxmemory', '1')
  t.same(await state.read('c', stamp), { version: stamp, fields: undefined }, 'a reader goes on with what it knows')
  await t.rejects(append(state, 3, 'd'), { code: 'RT_PUBLISH_REJECTED' })
  await admin.config('SET', 'maxmemory', '0')
  const behind = await append(state, 3, 'd')
  t.equal(behind.outcome, 'behind')
  t.not(behind.epoch, epoch)
})

t.test('where the end of a text is refused, the text stays, and ends once its event is taken', async (t) => {
  const { redis, admin } = await start(t)
  await admin.call('ACL', 'SETUSER', 'app', 'on', '>secret', 'allchannels', 'allkeys', '+@all')
  const pubsub = open(t, { url: redis.url.replace('//', '//app:secret@') })
  const { state } = pubsub
  const changes = await watch(pubsub)
  await pubsub.publish('c', 'event')
  for (const [code, refuse, allow] of [
    ['WRONGTYPE', () => admin.set('rt:{c}:s', 'of something else'), () => admin.del('rt:{c}:s')],
    ['NOPERM', () => admin.call('ACL', 'SETUSER', 'app', '-xadd'), () => admin.call('ACL', 'SETUSER', 'app', '+xadd')]
  ] as const) {
    await state.change('c', { operation: 'open', field: 't', value: 'abc', leaseMs: LEASE, owner: 'me', key: code })
    await refuse()
    const finalize = (): Promise<unknown> => state.finalize('c', { field: 't', owner: 'me', event: 'end', key: code })
    await t.rejects(finalize(), { code: 'RT_PUBLISH_REJECTED' }, code)
    t.equal((await state.read('c')).fields?.get('t')?.value, 'abc')
    await allow()
    t.match(await finalize(), { duplicate: false })
    t.notOk((await state.read('c')).fields?.has('t'))
  }
  await live(pubsub)
  t.same(changes.map(({ operation }) => operation), ['open', 'delete', 'open', 'delete'], 'none is told twice')
})

t.test('where leases begin anew, each is as long as it was: a quiet producer that renews it in time keeps its text', async (t) => {
  const { redis, admin } = await start(t, ['--appendonly', 'yes', '--appendfsync', 'always'])
  const { state } = open(t, { url: redis.url })
  const lost: Record<string, () => Promise<unknown>> = {
    'a restart': async () => { await redis.restart(); await once(admin, 'ready') },
    'the leases': () => admin.del('rt:{c}:l'),
    'the fields': () => admin.del('rt:{c}:f'),
    'fields and leases': () => admin.del('rt:{c}:f', 'rt:{c}:l'),
    meta: () => admin.del('rt:{c}:m')
  }
  const looks = Math.floor(LEASE / 3 / timing.idleCheck)
  await begin(state, 'abc')
  for (const [name, lose] of Object.entries(lost)) {
    await begin(state, 'abc')
    await lose()
    await state.read('c')
    for (let look = 0; look < looks; look++) {
      await admin.hincrby('rt:{c}:m', 'st', -timing.idleCheck)
      await state.read('c')
    }
    t.equal((await state.read('c')).fields?.get('t')?.expired, false, name)
    t.match(await state.renew('c', ['t'], LEASE), { gone: [] })
  }
})

t.test('a text that could not be deleted when its event was appended is deleted with the next attempt, and ends once', async (t) => {
  const { redis, admin } = await start(t)
  await admin.call('ACL', 'SETUSER', 'app', 'on', '>secret', 'allchannels', 'allkeys', '+@all')
  const { eventLog: log, state } = open(t, { url: redis.url.replace('//', '//app:secret@') })
  await begin(state, 'abc')
  await admin.call('ACL', 'SETUSER', 'app', '-hdel')
  const finalize = (): Promise<unknown> => state.finalize('c', { field: 't', owner: 'me', event: 'end', key: 'key' })
  await t.rejects(finalize(), { code: 'RT_PUBLISH_REJECTED' })
  await admin.call('ACL', 'SETUSER', 'app', '+hdel')
  t.match(await finalize(), { duplicate: true })
  t.same([...(await state.read('c')).fields?.keys() ?? []], [])
  t.match(await log?.read('c', undefined, 10), { head: { offset: 1 }, entries: { length: 1 } })
})

t.test('a full Redis takes the end of a text', async (t) => {
  const { redis, admin } = await start(t)
  const { eventLog: log, state } = open(t, { url: redis.url })
  await begin(state, 'abc')
  await state.finalize('c', { field: 'none', event: 'end', key: 'none' })
  await admin.config('SET', 'maxmemory', '1')
  t.match(await state.finalize('c', { field: 't', owner: 'me', event: 'end', key: 'key' }), { duplicate: false })
  await admin.config('SET', 'maxmemory', '0')
  t.match(await log?.read('c', undefined, 10), { entries: { length: 1 } })
  t.equal(Math.ceil(await admin.pttl('rt:{c}:m') / 1_000), 7 * 24 * 3_600 + 600, 'and it is kept as long as any event')
})

t.test('what has finalized a text is remembered as long as its owner may put it back', async (t) => {
  const { redis, admin } = await start(t)
  const keyPrefix = 'p:'
  for (const [idempotencyTtlMs, seconds] of [[1_000, 70], [100_000, 100]] as const) {
    const { state } = open(t, { url: redis.url, keyPrefix, history: { ttlMs: 10_000 }, idempotencyTtlMs })
    const key = `key-${seconds}`
    await state.change('c', { operation: 'open', field: 't', value: '', leaseMs: LEASE, owner: 'me', key })
    await state.finalize('c', { field: 't', owner: 'me', event: 'end', key })
    t.equal(Math.ceil(await admin.pttl(`p:{c}:c:${key}`) / 1_000), seconds)
  }
})

t.test('scripts that Redis forgets are sent again', async (t) => {
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

t.test('what is under way when the provider closes is done, whichever script it is the first to need', async (t) => {
  const { redis } = await start(t)
  const pubsub = open(t, { url: redis.url })
  await begin(pubsub.state, '')
  await append(pubsub.state, 0, 'ab')
  const finalized = pubsub.state.finalize('c', { field: 't', owner: 'me', event: 'end', key: 'key' })
  await pubsub.close()
  t.match(await finalized, { duplicate: false })
})

t.test('what finalizes a text is not overtaken by what was published before', async (t) => {
  const { redis, admin } = await start(t)
  const pubsub = open(t, { url: redis.url })
  await pubsub.publish('c', 0)
  await begin(pubsub.state, 'abc')
  await pubsub.state.finalize('c', { field: 't', owner: 'another', event: 'no', key: 'key' })
  for (let n = 0; n < 20; n++) {
    await pubsub.state.change('c', { operation: 'open', field: 't', value: 'abc', leaseMs: LEASE, owner: 'me', key: `key-${n}` })
    await admin.script('FLUSH')
    // Another one brings back the script that finalizes, but not the one that publishes.
    const other = new RedisPubSub({ url: redis.url })
    await other.state?.finalize('other', { field: 't', event: 1, key: 'key' })
    const receipts = [pubsub.publish('c', 'before'), pubsub.state.finalize('c', { field: 't', owner: 'me', event: 'end', key: `key-${n}` }), pubsub.publish('c', 'after')]
    const ids = (await Promise.all(receipts)).map((receipt) => Number((receipt as { id: string }).id.split('-')[1]))
    t.same(ids, [1, 2, 3].map((k) => (ids[0] as number) + k - 1))
    await other.close()
  }
  t.match(await admin.info('errorstats'), /errorstat_EARLY/, 'some met it')
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

t.test('who subscribes by a pattern, too, is told once; nothing of it is taken for garbage', async (t) => {
  const { redis } = await start(t)
  const lines: unknown[] = []
  const log = { debug () {}, info () {}, warn: (line: unknown) => { lines.push(line) }, error: (line: unknown) => { lines.push(line) } }
  const pubsub = open(t, { url: redis.url, log: log as never })
  const got: unknown[] = []
  pubsub.subscribe('c*', ({ data }) => { got.push(data) })
  const changes = await watch(pubsub)
  await set(pubsub.state, 'v', '1')
  await live(pubsub)
  t.equal(changes.length, 1)
  t.same([got, lines], [[], []])
})

t.test('when the clock of Redis steps, what is renewed stays, and what is not renewed goes no later', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  const lease = 5_000
  await set(state, 'v', '1', lease)
  await state.change('c', { operation: 'open', field: 't', value: 'abc', leaseMs: lease, owner: 'me', key: 'key' })
  /** What the state remembers is as much older as the clock has stepped. */
  const step = async (ms: number): Promise<void> => { await admin.hincrby('rt:{c}:m', 'st', -ms) }
  await step(60_000)
  const { fields, doubtful } = await state.read('c')
  t.same([...fields ?? []].map(([name, { expired }]) => [name, expired]).sort(), [['t', false], ['v', false]], 'a minute forward')
  t.same([...doubtful ?? []].sort(), ['t', 'v'], 'who asks only once is not shown them for certain')
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

t.test('where Redis refuses or is away, a change rejects as a publish does, and a reading too', async (t) => {
  const { redis, admin } = await start(t)
  const pubsub = open(t, { url: redis.url, publishTimeoutMs: 300 })
  const { state } = pubsub
  await until(() => pubsub.isHealthy(), Boolean)
  await set(state, 'v', '1')
  await admin.config('SET', 'maxmemory', '1')
  await t.rejects(set(state, 'w', '2'), { code: 'RT_PUBLISH_REJECTED' })
  await t.rejects(state.change('other', { operation: 'set', field: 'v', value: '1', leaseMs: LEASE }), { code: 'RT_PUBLISH_REJECTED' })
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
    t.same([...(await state.read('c')).fields ?? []].map(([field, { value }]) => [field, value]).sort(), [['t', 'abc'], ['v', '1']])
    t.match(await state.finalize('c', { field: 't', owner: 'me', event: 'end', key: 'key' }), { duplicate: false })
    t.equal(await ended, 'end')
    t.same(changes.map(({ operation, field }) => `${operation} ${field}`), ['set v', 'open t', 'append t', 'delete t'], sharded ? 'told by the shard' : 'told by all')
  }
})
