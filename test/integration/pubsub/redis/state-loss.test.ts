import t from 'tap'
import { once } from 'node:events'
import { live } from '../../../support/live.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { timing } from '../../../../lib/core/timing.ts'
import { LEASE, start, open, watch, set, begin, append } from './state.ts'

t.beforeEach(nothingUnhandled)

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
  t.same([...fields ?? []].map(([field, { value, expired }]) => [field, value, expired]).sort(), [
    ['t', 'abc', false], ['v', '1', false]
  ])
  t.match(await append(state, 3, 'def'), { outcome: 'done', epoch: stamp?.epoch })
  await live(pubsub)
  t.match(changes, [
    { version: { epoch: stamp?.epoch, count: (stamp?.count ?? 0) + 1 }, operation: 'append', value: 'def' }
  ])
  const left = Number(await admin.zscore('rt:{c}:l', 'v')) - Number(await admin.hget('rt:{c}:m', 'sc'))
  t.ok(left > 1_000 && left <= 5_000, 'five seconds at least')
})

t.test('a text whose end Redis has lost is restored', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  await begin(state, 'abc')
  await append(state, 3, 'def')
  await admin.hset('rt:{c}:f', '=t', 't 1 3 60000 me')
  t.match(await append(state, 6, 'ghi'), { outcome: 'behind' })
  t.match(await begin(state, 'abcdefghi'), { outcome: 'done' })
  t.equal((await state.read('c')).fields?.get('t')?.value, 'abcdefghi')
})

t.test('if only the leases were evicted, renewed fields stay and the others expire', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  for (const id of ['dead', 'live']) {
    await state.change('c', { operation: 'open', field: id, value: 'abc', leaseMs: 1_000, owner: id, key: id })
  }
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
  t.match(
    await state.finalize('c', { field: 'dead', event: 'end', key: 'dead' }), { duplicate: false }, 'and can be ended'
  )
})

t.test('a state whose meta was deleted continues in a new epoch, and leases begin anew', async (t) => {
  const { redis, admin } = await start(t)
  const { eventLog: log, state } = open(t, { url: redis.url })
  const { epoch } = await set(state, 'old', '1')
  await begin(state, 'abc')
  await admin.del('rt:{c}:m')
  const top = (await log?.read('c', undefined, 1))?.head
  t.ok(top?.state, 'the log head shows that there is one')
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

t.test('texts are restored if Redis loses the fields of a state after its meta', async (t) => {
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

t.test('a text that Redis has lost is restored as far as known, until its owner appends the rest', async (t) => {
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
  t.match(await append(state, 5, 'f'), { outcome: 'done', epoch }, 'losing only its record loses nothing else')
  for (const name of ['all fields', 'fields and leases']) {
    const before = (await state.read('c')).version?.epoch
    await lost[name]?.()
    const { version: stamp, fields } = await state.read('c')
    t.not(stamp?.epoch, before, name)
    t.same([...fields ?? []], [['t', { value: '', text: true, expired: false }]])
    t.equal(await admin.zcard('rt:{c}:l'), 1, 'with a lease')
    t.match(await state.renew('c', ['t'], LEASE), { gone: [], epoch: stamp?.epoch })
    t.match(await append(state, 6, 'g'), { outcome: 'behind' })
    t.match(
      await state.change('c', {
        operation: 'open', field: 't', value: 'x', leaseMs: LEASE, owner: 'another', key: 'key'
      }),
      { outcome: 'taken' }
    )
    t.match(await begin(state, 'abcéf'), { outcome: 'done', epoch: stamp?.epoch })
  }
  await lost['all fields']?.()
  t.match(await state.finalize('c', { field: 't', owner: 'me', event: 'end', key: 'key' }), { duplicate: false })
  t.same([...(await state.read('c')).fields?.keys() ?? []], [])
  t.notOk(await admin.hexists('rt:{c}:m', 't=t'), 'after its end nothing is restored')
})

t.test('a text that has lost only its record expires like any other', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  await begin(state, 'abc')
  await admin.hdel('rt:{c}:f', '=t')
  await admin.zadd('rt:{c}:l', 1, 't')
  t.same((await state.read('c')).fields?.get('t'), { value: 'abc', text: true, expired: true })
  t.match(await state.finalize('c', { field: 't', event: 'end', key: 'key' }), { duplicate: false })
})

t.test('data that a full Redis has lost is restored once it has room; until then no text is abandoned', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  const { epoch } = await begin(state, 'abc')
  const { version: stamp } = await state.read('c')
  await admin.del('rt:{c}:f')
  await admin.config('SET', 'maxmemory', '1')
  t.same(await state.read('c', stamp), { version: stamp, fields: undefined }, 'a reader continues with its own copy')
  await t.rejects(append(state, 3, 'd'), { code: 'RT_PUBLISH_REJECTED' })
  await admin.config('SET', 'maxmemory', '0')
  const behind = await append(state, 3, 'd')
  t.equal(behind.outcome, 'behind')
  t.not(behind.epoch, epoch)
})

t.test('leases that begin anew keep their length: a quiet producer that renews in time keeps its text', async (t) => {
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
