import t from 'tap'
import { budgets } from '../../../../lib/core/budgets.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { LEASE, append, begin, finalize, open, readDraft, start, write } from './state.ts'

t.beforeEach(nothingUnhandled)

t.test('the content of a draft lives with its lease, then as long as its event or not at all', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url, history: { ttlMs: 10_000 } })
  const seconds = async (): Promise<number> => Math.ceil(await admin.pttl('rt:{c}:d:d') / 1_000)
  await write(state, 'abc')
  t.equal(await seconds(), 70)
  await admin.pexpire('rt:{c}:d:d', 9_000)
  await state.renew('c', ['v', 'd'], LEASE)
  t.equal(await seconds(), 70, 'renewed with its lease, at whichever place')
  await finalize(state, { keepContent: true })
  t.same([await seconds(), Math.ceil(await admin.pttl('rt:{c}:s') / 1_000)], [13, 13])
  await write(state, 'abc', 'second')
  t.match(await admin.xlen('rt:{c}:d:d'), 1, 'a later draft replaces it')
  await finalize(state, { key: 'second' })
  t.same(await admin.keys('*:d:*'), [])
  for (const leave of [
    () => state.change('c', { operation: 'delete', field: 'd' }),
    () => state.change('c', { operation: 'set', field: 'd', value: '', leaseMs: LEASE })
  ]) {
    await write(state, 'abc', 'third')
    await leave()
    t.same(await admin.keys('*:d:*'), [], 'nor is it kept without an end')
  }
})

t.test('a draft of 5 MB: replies are bounded, and appending costs the same at the end as at first', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  const piece = 'é'.repeat(10_000)
  const pieces = 250
  await begin(state)
  await append(state, 0, piece)
  const calls = async (appends: number, from: number): Promise<Record<string, number>> => {
    await admin.config('RESETSTAT')
    for (let n = from; n < from + appends; n++) await append(state, n * piece.length, piece)
    const found = (await admin.info('commandstats')).matchAll(/cmdstat_(\w+):calls=(\d+)/g)
    const counts = Object.fromEntries([...found].map(([, name, count]) => [name, Number(count)]))
    // These depend on the connection and on the clock.
    for (const name of ['config|resetstat', 'config', 'ping', 'info', 'eval', 'evalsha', 'hset']) delete counts[name]
    return counts
  }
  const first = await calls(10, 1)
  for (let n = 11; n < pieces - 10; n++) await append(state, n * piece.length, piece)
  t.same(await calls(10, pieces - 10), first)
  t.equal(first.xadd, 10)
  /** The bytes that Redis has sent on all connections. */
  const sent = async (): Promise<number> =>
    Number(/total_net_output_bytes:(\d+)/.exec(await admin.info('stats'))?.[1])
  const costOf = async (read: () => Promise<unknown>): Promise<number> => {
    const before = await sent()
    const own = await sent() - before
    await read()
    return await sent() - before - 2 * own
  }
  t.ok(await costOf(() => state.read('c')) < 10_000, 'reading the state leaves the content out')
  let [length, pages] = [0, 0]
  while (length < pieces * piece.length) {
    const cost = await costOf(async () => {
      length = (await readDraft(state, length)).pieces.at(-1)?.end as number
    })
    pages++
    t.ok(cost <= budgets.page + 10_000, `${cost} bytes`)
  }
  t.equal(pages, Math.ceil(pieces / Math.floor(budgets.page / Buffer.byteLength(piece))))
})

t.test('many short drafts: one read of the state reads as much of them as its budget allows', async (t) => {
  const { redis } = await start(t)
  const { state } = open(t, { url: redis.url })
  const content = 'x'.repeat(budgets.draft)
  for (let n = 0; n < 6; n++) {
    const request = { field: `d${n}`, leaseMs: LEASE, owner: 'me' }
    await state.change('c', { ...request, operation: 'open', value: '', key: `${n}` })
    await state.change('c', { ...request, operation: 'append', piece: { at: 0, end: content.length, content } })
  }
  const drafts = [...(await state.read('c')).fields?.values() ?? []].map(({ draft }) => draft)
  t.same(drafts.map((draft) => draft?.length), Array(6).fill(content.length))
  t.equal(drafts.filter((draft) => draft?.content === content).length, budgets.drafts / budgets.draft)
})

t.test('a state that is read while a draft grows, is written again or ends is never mixed up', async (t) => {
  const { redis, admin } = await start(t)
  const { state } = open(t, { url: redis.url })
  const writer = open(t, { url: redis.url })
  /** Reads the state, and does something between the reply with the draft and the one with its content. */
  const readWhile = async (meanwhile: () => Promise<unknown>): Promise<unknown> => {
    const readDraft = state.readDraft
    state.readDraft = async (...args) => {
      state.readDraft = readDraft
      await meanwhile()
      return await state.readDraft(...args)
    }
    return (await state.read('c')).fields?.get('d')?.draft
  }
  await write(writer.state, 'abc')
  t.same(await readWhile(() => append(writer.state, 3, 'def')), { length: 3, content: 'abc' })
  t.same(await readWhile(async () => {
    await admin.del('rt:{c}:d:d')
    await append(writer.state, 6, '')
    await append(writer.state, 0, 'abcdefghi')
  }), { length: 6, content: undefined })
  t.same(await readWhile(() => finalize(writer.state, { keepContent: true })), { length: 9, content: undefined })
})
