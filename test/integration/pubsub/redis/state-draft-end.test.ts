import t from 'tap'
import { RedisPubSub } from '../../../../lib/index.ts'
import { live } from '../../../support/live.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { start, open, watch, append, begin, write, finalize, readDraft, valuesOf } from './state.ts'

t.beforeEach(nothingUnhandled)

t.test('if the end of a draft is refused, the draft stays, and ends once its event is accepted', async (t) => {
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
    await write(state, 'abc', code)
    await refuse()
    await t.rejects(finalize(state, { key: code }), { code: 'RT_PUBLISH_REJECTED' }, code)
    t.same(await valuesOf(state), { d: 'abc' })
    await allow()
    t.match(await finalize(state, { key: code }), { duplicate: false })
    t.same(await valuesOf(state), {})
  }
  await live(pubsub)
  const each = ['open', 'append', 'delete']
  t.same(changes.map(({ operation }) => operation), [...each, ...each], 'no change is reported twice')
})

t.test('a draft that was not deleted when its event was appended is deleted by the next attempt, once', async (t) => {
  const { redis, admin } = await start(t)
  await admin.call('ACL', 'SETUSER', 'app', 'on', '>secret', 'allchannels', 'allkeys', '+@all')
  const { eventLog: log, state } = open(t, { url: redis.url.replace('//', '//app:secret@') })
  await write(state, 'abc')
  await admin.call('ACL', 'SETUSER', 'app', '-hdel')
  await t.rejects(finalize(state, { keepContent: true }), { code: 'RT_PUBLISH_REJECTED' })
  await admin.call('ACL', 'SETUSER', 'app', '+hdel')
  t.match(await finalize(state, { keepContent: true }), { duplicate: true })
  t.same(await valuesOf(state), {})
  t.match(await readDraft(state), { event: '"end"', pieces: [{ content: 'abc' }] })
  t.match(await log?.read('c', undefined, 10), { head: { offset: 1 }, entries: { length: 1 } })
})

t.test('a full Redis accepts the end of a draft', async (t) => {
  const { redis, admin } = await start(t)
  const { eventLog: log, state } = open(t, { url: redis.url })
  await write(state, 'abc')
  await finalize(state, { field: 'none', owner: undefined, key: 'none' })
  await admin.config('SET', 'maxmemory', '1')
  for (const content of ['def', '']) await t.rejects(append(state, 3, content), { code: 'RT_PUBLISH_REJECTED' })
  t.match(await finalize(state), { duplicate: false })
  await admin.config('SET', 'maxmemory', '0')
  t.match(await log?.read('c', undefined, 10), { entries: { length: 1 } })
  t.equal(
    Math.ceil(await admin.pttl('rt:{c}:m') / 1_000), 7 * 24 * 3_600 + 750, 'and it is kept as long as any other event'
  )
})

t.test('the finalization of a draft is remembered for as long as its owner may restore the draft', async (t) => {
  const { redis, admin } = await start(t)
  const keyPrefix = 'p:'
  for (const [idempotencyTtlMs, seconds] of [[1_000, 70], [100_000, 100]] as const) {
    const { state } = open(t, { url: redis.url, keyPrefix, history: { ttlMs: 10_000 }, idempotencyTtlMs })
    const key = `key-${seconds}`
    await begin(state, key)
    await finalize(state, { key })
    t.equal(Math.ceil(await admin.pttl(`p:{c}:c:${key}`) / 1_000), seconds)
  }
})

t.test('finalizing a draft is not overtaken by earlier publishes', async (t) => {
  const { redis, admin } = await start(t)
  const pubsub = open(t, { url: redis.url })
  await pubsub.publish('c', 0)
  await begin(pubsub.state)
  await finalize(pubsub.state, { owner: 'another' })
  for (let n = 0; n < 20; n++) {
    await begin(pubsub.state, `key-${n}`)
    await admin.script('FLUSH')
    // Another one brings back the script that finalizes, but not the one that publishes.
    const other = new RedisPubSub({ url: redis.url })
    await other.state?.finalize('other', { field: 'd', event: 1, keepContent: false, key: 'key' })
    const receipts = [
      pubsub.publish('c', 'before'),
      finalize(pubsub.state, { key: `key-${n}` }),
      pubsub.publish('c', 'after')
    ]
    const ids = (await Promise.all(receipts)).map((receipt) => Number((receipt as { id: string }).id.split('-')[1]))
    t.same(ids, [1, 2, 3].map((k) => (ids[0] as number) + k - 1))
    await other.close()
  }
  t.match(await admin.info('errorstats'), /errorstat_EARLY/, 'some met it')
})
