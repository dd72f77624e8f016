import t from 'tap'
import { once } from 'node:events'
import { live } from '../../../support/live.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { timing } from '../../../../lib/core/timing.ts'
import { LEASE, start, open, watch, set, begin, append, write, finalize, readDraft, valuesOf } from './state.ts'

t.beforeEach(nothingUnhandled)

t.test('a Redis that was restarted without its data has a state of a new epoch', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  const { epoch } = await write(state, 'abc')
  await redis.restart()
  await once(admin, 'ready')
  const gone = await append(state, 3, 'def')
  t.equal(gone.outcome, 'gone')
  t.not(gone.epoch, epoch, 'so it may have been lost')
  t.match(await state.renew('c', ['d'], LEASE), { gone: ['d'] })
  t.match(await begin(state), { outcome: 'done', length: 0 })
  t.match(await append(state, 0, 'abcdef'), { outcome: 'done', length: 6 })
  t.same(await valuesOf(state), { d: 'abcdef' })
})

t.test('a Redis that was restarted with its data has a new epoch, and leases begin anew', async (t) => {
  const { redis, admin } = await start(t, ['--appendonly', 'yes', '--appendfsync', 'always'])
  const pubsub = open(t, { url: redis.url })
  const { state } = pubsub
  const { epoch } = await write(state, 'abc')
  await set(state, 'v', '1', 1_000)
  await redis.restart()
  await once(admin, 'ready')
  // Both ran out while it was away.
  for (const field of ['d', 'v']) await admin.zadd('rt:{c}:l', 1, field)
  const changes = await watch(pubsub)
  const { version: stamp, fields } = await state.read('c')
  t.not(stamp?.epoch, epoch)
  t.ok((stamp?.count ?? 0) >= 1, 'it does not begin with the first change: there is something before that')
  t.same(Object.fromEntries(fields ?? []), {
    d: { value: 'header', draft: { length: 3, content: 'abc' }, expired: false }, v: { value: '1', expired: false }
  })
  t.match(await append(state, 3, 'def'), { outcome: 'done', epoch: stamp?.epoch })
  await live(pubsub)
  t.match(changes, [
    { version: { epoch: stamp?.epoch, count: (stamp?.count ?? 0) + 1 }, operation: 'append', piece: { content: 'def' } }
  ])
  const left = Number(await admin.zscore('rt:{c}:l', 'v')) - Number(await admin.hget('rt:{c}:m', 'sc'))
  t.ok(left > 1_000 && left <= 5_000, 'five seconds at least')
})

t.test('a draft whose latest pieces Redis has lost goes on from what is left', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  await write(state, 'abc')
  const content = await admin.dumpBuffer('rt:{c}:d:d')
  await append(state, 3, 'def')
  // As a failover leaves it.
  await admin.hset('rt:{c}:f', '=d', 'd 3 3 60000 me')
  await admin.restore('rt:{c}:d:d', 0, content, 'REPLACE')
  t.match(await append(state, 6, 'ghi'), { outcome: 'behind', length: 3 })
  t.match(await begin(state), { outcome: 'done', length: 3 })
  t.match(await append(state, 3, 'defghi'), { outcome: 'done', length: 9 })
  t.same(await valuesOf(state), { d: 'abcdefghi' })
})

t.test('if only the leases were evicted, renewed fields stay and the others expire', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  for (const id of ['dead', 'live']) {
    await state.change('c', { operation: 'open', field: id, value: 'header', leaseMs: 1_000, owner: id, key: id })
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
    await finalize(state, { field: 'dead', owner: undefined, key: 'dead' }), { duplicate: false }, 'and can be ended'
  )
})

t.test('a state whose meta was deleted continues in a new epoch, and leases begin anew', async (t) => {
  const { redis, admin } = await start(t)
  const { eventLog: log, state } = open(t, { url: redis.url })
  const { epoch } = await set(state, 'old', '1')
  await write(state, 'abc')
  await admin.del('rt:{c}:m')
  const top = (await log?.read('c', undefined, 1))?.head
  t.ok(top?.state, 'the log head shows that there is one')
  const { version: stamp } = await state.read('c')
  t.not(stamp?.epoch, epoch)
  t.same(await valuesOf(state), { old: '1', d: 'abc' })
  t.match(await append(state, 3, 'def'), { outcome: 'done', epoch: stamp?.epoch })
  t.match(await admin.hgetall('rt:{c}:m'), { 'd=d': '60000 me' })
  await admin.del('rt:{c}:m', 'rt:{c}:f')
  t.match(await state.read('c'), { version: undefined }, 'without its fields, too, there is none')
  t.not((await set(state, 'new', '1')).epoch, stamp?.epoch)
  t.same([...(await state.read('c')).fields?.keys() ?? []], ['new'])
  t.same(await admin.zrange('rt:{c}:l', '0', '-1'), ['new'])
})

t.test('drafts are restored if Redis loses the fields of a state after its meta', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  await write(state, 'abc')
  // Its lease has run out.
  await admin.hset('rt:{c}:f', '=over', 'x 3 3 60000 other', '0=over', 'header')
  await admin.del('rt:{c}:m')
  await state.read('c')
  t.same(await admin.zrange('rt:{c}:l', '0', '-1'), ['d'], 'a draft whose lease has run out gets none')
  await admin.del('rt:{c}:f')
  t.same([...(await state.read('c')).fields?.keys() ?? []].sort(), ['d', 'over'])
})

t.test('a draft that Redis has lost is restored as far as known, until its owner appends the rest', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  await write(state, 'abc')
  const lost: Record<string, () => Promise<unknown>> = {
    'all fields': () => admin.del('rt:{c}:f'),
    'fields and leases': () => admin.del('rt:{c}:f', 'rt:{c}:l'),
    'fields and content': () => admin.del('rt:{c}:f', 'rt:{c}:d:d')
  }
  for (const [name, lose] of Object.entries(lost)) {
    const before = (await state.read('c')).version?.epoch
    await lose()
    const { version: stamp, fields } = await state.read('c')
    t.not(stamp?.epoch, before, name)
    t.same([...fields ?? []], [['d', { value: '', draft: { length: 0, content: '' }, expired: false }]])
    t.equal(await admin.zcard('rt:{c}:l'), 1, 'with a lease')
    t.match(await state.renew('c', ['d'], LEASE), { gone: [], epoch: stamp?.epoch })
    t.match(await append(state, 3, 'd'), { outcome: 'behind', length: 0 })
    t.match(
      await state.change('c', {
        operation: 'open', field: 'd', value: 'x', leaseMs: LEASE, owner: 'another', key: 'key'
      }),
      { outcome: 'taken' }
    )
    t.match(await begin(state), { outcome: 'done', epoch: stamp?.epoch, length: 0 })
    t.match(await append(state, 0, 'a'), { outcome: 'done', length: 1 })
    t.match(await append(state, 1, 'bcé'), { outcome: 'done', length: 4 })
    t.match((await readDraft(state)).pieces, [{ content: 'a' }, { content: 'bcé' }], 'nothing of the lost one is left')
    t.same((await state.read('c')).fields?.get('d'), {
      value: 'header', draft: { length: 4, content: 'abcé' }, expired: false
    })
  }
  await lost['all fields']?.()
  t.match(await finalize(state), { duplicate: false })
  t.same([...(await state.read('c')).fields?.keys() ?? []], [])
  t.notOk(await admin.hexists('rt:{c}:m', 'd=d'), 'after its end nothing is restored')
})

t.test('a draft that has lost only its record is written again by its owner, in the same epoch', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  const { epoch } = await write(state, 'abc')
  await admin.hdel('rt:{c}:f', '=d')
  t.same(await readDraft(state), { field: undefined, event: undefined, pieces: [] }, 'content alone is no draft')
  t.match(await append(state, 3, 'd'), { outcome: 'behind', epoch, length: 0 })
  t.match(await append(state, 0, 'abcd'), { outcome: 'done', epoch, length: 4 })
  t.same(await valuesOf(state), { d: 'abcd' })
})

t.test('a draft that has lost only its record expires like any other', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  await write(state, 'abc')
  await admin.hdel('rt:{c}:f', '=d')
  await admin.zadd('rt:{c}:l', 1, 'd')
  t.same((await state.read('c')).fields?.get('d'), {
    value: 'header', draft: { length: 0, content: '' }, expired: true
  })
  t.match(await finalize(state, { owner: undefined }), { duplicate: false })
})

t.test('a draft that has lost only its content is behind, and its owner writes it again', async (t) => {
  const { redis, admin } = await start(t)
  const pubsub = open(t, { url: redis.url })
  const { state } = pubsub
  const changes = await watch(pubsub)
  await write(state, 'abc')
  const { version } = await state.read('c')
  await admin.del('rt:{c}:d:d')
  t.match(await readDraft(state), { field: { draft: { length: 3 } }, pieces: [] })
  t.same((await state.read('c')).fields?.get('d')?.draft, { length: 3, content: undefined }, 'its content is unknown')
  for (const content of ['def', '']) {
    t.match(await append(state, 3, content), { outcome: 'behind', length: 0 }, 'even if nothing is new')
  }
  t.same((await state.read('c', version)).version, version)
  t.match(await append(state, 0, 'abcdef'), { outcome: 'done', length: 6 })
  t.same(await valuesOf(state), { d: 'abcdef' })
  await live(pubsub)
  t.match(changes.map(({ version: { count }, piece }) => [count, piece?.at, piece?.end]), [
    [1, undefined, undefined], [2, 0, 3], [3, 0, 6]
  ], 'a replica notices it by the position of the piece')
})

t.test('a draft whose header was lost gets it back from its owner', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  await write(state, 'abc')
  await admin.hdel('rt:{c}:f', '0=d')
  t.match((await state.read('c')).fields?.get('d'), { value: '', draft: { content: 'abc' } })
  t.match(await begin(state), { outcome: 'done', length: 0 })
  t.match((await state.read('c')).fields?.get('d'), { value: 'header', draft: { length: 0, content: '' } })
  t.match(await append(state, 0, 'abc'), { outcome: 'done', length: 3 })
  t.same(await valuesOf(state), { d: 'abc' })
})

t.test('data that a full Redis has lost is restored once it has room; until then no draft is abandoned', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  const { epoch } = await write(state, 'abc')
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

t.test('leases that begin anew keep their length: a quiet producer that renews in time keeps its draft', async (t) => {
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
  for (const [name, lose] of Object.entries(lost)) {
    await begin(state)
    await lose()
    await state.read('c')
    for (let look = 0; look < looks; look++) {
      await admin.hincrby('rt:{c}:m', 'st', -timing.idleCheck)
      await state.read('c')
    }
    t.equal((await state.read('c')).fields?.get('d')?.expired, false, name)
    t.match(await state.renew('c', ['d'], LEASE), { gone: [] })
  }
})
