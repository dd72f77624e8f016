import t from 'tap'
import { RedisPubSub } from '../../../../lib/index.ts'
import { live } from '../../../support/live.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { LEASE, start, open, watch, begin } from './state.ts'

t.beforeEach(nothingUnhandled)

t.test('if the end of a text is refused, the text stays, and ends once its event is accepted', async (t) => {
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
  t.same(changes.map(({ operation }) => operation), ['open', 'delete', 'open', 'delete'], 'no change is reported twice')
})

t.test('a text that was not deleted when its event was appended is deleted by the next attempt, once', async (t) => {
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

t.test('a full Redis accepts the end of a text', async (t) => {
  const { redis, admin } = await start(t)
  const { eventLog: log, state } = open(t, { url: redis.url })
  await begin(state, 'abc')
  await state.finalize('c', { field: 'none', event: 'end', key: 'none' })
  await admin.config('SET', 'maxmemory', '1')
  t.match(await state.finalize('c', { field: 't', owner: 'me', event: 'end', key: 'key' }), { duplicate: false })
  await admin.config('SET', 'maxmemory', '0')
  t.match(await log?.read('c', undefined, 10), { entries: { length: 1 } })
  t.equal(
    Math.ceil(await admin.pttl('rt:{c}:m') / 1_000), 7 * 24 * 3_600 + 600, 'and it is kept as long as any other event'
  )
})

t.test('the finalization of a text is remembered for as long as its owner may restore the text', async (t) => {
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

t.test('finalizing a text is not overtaken by earlier publishes', async (t) => {
  const { redis, admin } = await start(t)
  const pubsub = open(t, { url: redis.url })
  await pubsub.publish('c', 0)
  await begin(pubsub.state, 'abc')
  await pubsub.state.finalize('c', { field: 't', owner: 'another', event: 'no', key: 'key' })
  for (let n = 0; n < 20; n++) {
    await pubsub.state.change('c', {
      operation: 'open', field: 't', value: 'abc', leaseMs: LEASE, owner: 'me', key: `key-${n}`
    })
    await admin.script('FLUSH')
    // Another one brings back the script that finalizes, but not the one that publishes.
    const other = new RedisPubSub({ url: redis.url })
    await other.state?.finalize('other', { field: 't', event: 1, key: 'key' })
    const receipts = [
      pubsub.publish('c', 'before'),
      pubsub.state.finalize('c', { field: 't', owner: 'me', event: 'end', key: `key-${n}` }),
      pubsub.publish('c', 'after')
    ]
    const ids = (await Promise.all(receipts)).map((receipt) => Number((receipt as { id: string }).id.split('-')[1]))
    t.same(ids, [1, 2, 3].map((k) => (ids[0] as number) + k - 1))
    await other.close()
  }
  t.match(await admin.info('errorstats'), /errorstat_EARLY/, 'some met it')
})
