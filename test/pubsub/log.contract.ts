import type { Test } from 'tap'
import { formatCursor, parseCursor, type Cursor } from '../../lib/cursor.ts'
import type { ProviderOptions } from '../../lib/options.ts'
import type { EventLog, LogGap, PubSubMessage, Replayable } from '../../lib/pubsub/provider.ts'
import { live } from '../support/live.ts'
import { nothingUnhandled } from '../support/unhandled.ts'
import type { Provider } from './contract.ts'

/** A provider that may keep a log. */
export type Keeper = Provider & Replayable

type Make = (t: Test, options?: ProviderOptions) => Promise<Keeper>

/** What every log keeps to, wherever it is kept. `make` closes what it makes with the test. */
export function logContract (t: Test, name: string, make: Make): void {
  t.test(name, async (t) => {
    t.beforeEach(nothingUnhandled)
    for (const part of [places, reading, gaps, keeping, keys, limits, off]) part(t, make)
  })
}

let count = 0

/** A channel that nothing else uses. */
function fresh (): string {
  return `log-${count++}`
}

function logOf (provider: Keeper): EventLog {
  return provider.log as EventLog
}

/** Publishes the numbers from 1 to `last`. Returns the places they were given, the place of the start before them. */
async function fill (provider: Keeper, channel: string, last: number): Promise<Cursor[]> {
  const { top } = await logOf(provider).read(channel, undefined, 1)
  const receipts = await Promise.all(Array.from({ length: last }, (_, n) => provider.publish(channel, n + 1)))
  return [top, ...receipts.map(({ id }) => parseCursor(id as string) as Cursor)]
}

/** What a page says, with each event as the number that was published. */
async function readNumbers (provider: Keeper, channel: string, after: Cursor | undefined, limit: number): Promise<{ gap: LogGap | undefined, numbers: number[] }> {
  const { gap, entries } = await logOf(provider).read(channel, after, limit)
  return { gap, numbers: entries.map(({ json }) => JSON.parse(json.toString())) }
}

function upTo (last: number, first = 1): number[] {
  return Array.from({ length: last - first + 1 }, (_, n) => first + n)
}

/** Resolves with what was delivered on a channel so far, when all that was published before has been. */
function listen (provider: Keeper, channel: string): { got: PubSubMessage[], settled: () => Promise<void> } {
  const got: PubSubMessage[] = []
  let seen: () => void = () => {}
  provider.subscribeExact(channel, (message) => { message.data === 'last' ? seen() : got.push(message) })
  const settled = async (): Promise<void> => {
    const last = new Promise<void>((resolve) => { seen = resolve })
    await provider.publish(channel, 'last', { ephemeral: true })
    await last
    // An ephemeral message may overtake those of its own instance; what is subscribed next is confirmed behind them.
    await live(provider)
  }
  return { got, settled }
}

function places (t: Test, make: Make): void {
  t.test('each event has a place: one epoch, offsets without a hole, a tag that the next one names', async (t) => {
    const provider = await make(t)
    const c = fresh()
    const heard = listen(provider, c)
    await live(provider)
    const cursors = await fill(provider, c, 100)
    t.match(cursors[0], { offset: 0, tag: 0 })
    t.same(cursors.map(({ offset }) => offset), upTo(100, 0))
    t.equal(new Set(cursors.map(({ epoch }) => epoch)).size, 1)
    t.equal(new Set(cursors.map(({ tag }) => tag)).size, 101, 'no tag comes twice')
    const { top, gap, entries } = await logOf(provider).read(c, cursors[0], 1_000)
    t.equal(gap, undefined)
    t.same(top, cursors[100])
    t.same(entries.map(({ position: { epoch, offset, tag } }) => ({ epoch, offset, tag })), cursors.slice(1))
    t.same(entries.map(({ position }) => position.previousTag), cursors.slice(0, -1).map(({ tag }) => tag))
    t.ok(entries.every(({ position }) => !position.fence))
    await heard.settled()
    t.same(heard.got.map(({ id }) => id), cursors.slice(1).map(formatCursor), 'handlers are told the same')
  })

  t.test('an event is read as it was published', async (t) => {
    const provider = await make(t)
    const c = fresh()
    const before = Date.now()
    await provider.publish(c, { type: 'typing', text: 'é€😀\n\0\u2028' })
    const { entries: [entry] } = await logOf(provider).read(c, undefined, 1)
    t.match(entry, { event: 'typing', from: provider.instanceId })
    t.same(JSON.parse(String(entry?.json)), { type: 'typing', text: 'é€😀\n\0\u2028' })
    t.ok(entry !== undefined && before <= entry.timestamp && entry.timestamp <= Date.now())
  })

  t.test('channels have logs of their own', async (t) => {
    const provider = await make(t)
    const odd = ['*', '?', '[a]', '{', '}', '{a}', '}{', '%', '%2A', '\0', '\n', ' ', 'é', '😀', '__proto__', ':m', ':s', 'a:i:b', 'a', 'x'.repeat(4096)]
    for (const channel of odd) t.match(parseCursor((await provider.publish(channel, channel)).id as string), { offset: 1 })
    for (const channel of odd) {
      const { top, entries } = await logOf(provider).read(channel, undefined, 10)
      t.match(top, { offset: 1 })
      t.same(entries.map(({ json }) => JSON.parse(json.toString())), [channel])
    }
  })

  t.test('an ephemeral event has no place', async (t) => {
    const provider = await make(t)
    const c = fresh()
    const heard = listen(provider, c)
    await live(provider)
    t.same(await provider.publish(c, 'typing', { ephemeral: true, idempotencyKey: 'key' }), { duplicate: false })
    t.same(await provider.publish(c, 'typing', { ephemeral: true, idempotencyKey: 'key' }), { duplicate: false })
    await heard.settled()
    t.same(heard.got.map(({ id, data }) => [id, data]), [[undefined, 'typing'], [undefined, 'typing']])
    t.same(await readNumbers(provider, c, undefined, 10), { gap: undefined, numbers: [] })
  })
}

function reading (t: Test, make: Make): void {
  t.test('a log is read from any of its places, a page at a time', async (t) => {
    const provider = await make(t)
    const c = fresh()
    const cursors = await fill(provider, c, 25)
    for (const from of [0, 1, 12, 24, 25]) {
      t.same(await readNumbers(provider, c, cursors[from], 1_000), { gap: undefined, numbers: upTo(25, from + 1) })
      t.same(await readNumbers(provider, c, cursors[from], 5), { gap: undefined, numbers: upTo(Math.min(25, from + 5), from + 1) })
    }
  })

  t.test('without a place the last events are read, in their order', async (t) => {
    const provider = await make(t)
    const c = fresh()
    const cursors = await fill(provider, c, 25)
    for (const limit of [1, 10, 25, 1_000]) {
      t.same(await readNumbers(provider, c, undefined, limit), { gap: undefined, numbers: upTo(25, Math.max(1, 26 - limit)) })
    }
    t.same((await logOf(provider).read(c, undefined, 1)).top, cursors[25])
  })

  t.test('who reads an empty log gets a place that the first event follows', async (t) => {
    const provider = await make(t)
    const c = fresh()
    const log = logOf(provider)
    t.same(await log.tops([c]), [undefined])
    const { top, gap, entries } = await log.read(c, undefined, 10)
    t.same([gap, entries, top.offset, top.tag], [undefined, [], 0, 0])
    t.same(await log.read(c, top, 10), { top, gap: undefined, entries: [] })
    const { id } = await provider.publish(c, 1)
    t.match(parseCursor(id as string), { epoch: top.epoch, offset: 1 })
    t.same(await readNumbers(provider, c, top, 10), { gap: undefined, numbers: [1] })
  })

  t.test('the ends of many logs are told at once', async (t) => {
    const provider = await make(t)
    const [one, none, two] = [fresh(), fresh(), fresh()]
    const expected = [(await fill(provider, one, 3))[3], undefined, (await fill(provider, two, 1))[1]]
    t.same(await logOf(provider).tops([one, none, two]), expected)
    t.same(await logOf(provider).tops([]), [])
  })
}

function gaps (t: Test, make: Make): void {
  t.test('a place that can\'t be followed is told with its reason', async (t) => {
    const provider = await make(t)
    const c = fresh()
    const cursors = await fill(provider, c, 5)
    const [start, , second, , , top] = cursors as [Cursor, Cursor, Cursor, Cursor, Cursor, Cursor]
    const rows: [LogGap, Cursor][] = [
      ['epoch', { ...top, epoch: 'another' }],
      ['epoch', { epoch: 'another', offset: 1_000, tag: 1 }],
      ['ahead', { ...top, offset: 6 }],
      ['ahead', { ...top, offset: 10 ** 15 - 1, tag: 10 ** 15 - 1 }],
      ['diverged', { ...top, tag: top.tag + 1 }],
      ['diverged', { ...second, tag: second.tag + 1 }],
      ['diverged', { ...start, tag: 1 }]
    ]
    for (const [reason, cursor] of rows) {
      t.same(await logOf(provider).read(c, cursor, 10), { top, gap: reason, entries: [] }, reason)
    }
    t.match(await logOf(provider).read(fresh(), top, 10), { gap: 'epoch', top: { offset: 0 }, entries: [] }, 'also in an empty log')
  })

  t.test('a place before the events that are left is told as trimmed', async (t) => {
    const size = 10
    const provider = await make(t, { history: { size } })
    const c = fresh()
    const cursors = await fill(provider, c, 500)
    const { entries } = await logOf(provider).read(c, undefined, 1_000)
    t.ok(entries.length >= size && entries.length < 200, `${entries.length} are left`)
    const left = entries[0]?.position.offset as number
    t.same(await readNumbers(provider, c, cursors[left - 1], 1_000), { gap: undefined, numbers: upTo(500, left) })
    for (const from of [0, 1, left - 2]) t.same(await readNumbers(provider, c, cursors[from], 1_000), { gap: 'trimmed', numbers: [] })
    t.same(await readNumbers(provider, c, cursors[500], 10), { gap: undefined, numbers: [] })
  })

  t.test('events expire after the last one, and the log goes on from there', async (t) => {
    const provider = await make(t, { history: { ttlMs: 40 } })
    const c = fresh()
    const cursors = await fill(provider, c, 3)
    while ((await readNumbers(provider, c, undefined, 10)).numbers.length > 0) { /* until they expire */ }
    for (const from of [0, 1, 2]) t.same(await readNumbers(provider, c, cursors[from], 10), { gap: 'expired', numbers: [] })
    t.same(await readNumbers(provider, c, cursors[3], 10), { gap: undefined, numbers: [] })
    t.match(parseCursor((await provider.publish(c, 4)).id as string), { epoch: cursors[0]?.epoch, offset: 4 })
    t.match(await logOf(provider).read(c, cursors[2], 10), { gap: /trimmed|expired/, top: { offset: 4 } })
  })
}

function keeping (t: Test, make: Make): void {
  t.test('events stay while new ones keep coming', async (t) => {
    const provider = await make(t, { history: { ttlMs: 1_000 } })
    const c = fresh()
    const [start] = await fill(provider, c, 1)
    const until = performance.now() + 1_500
    let n = 1
    while (performance.now() < until) await provider.publish(c, ++n)
    const { gap, numbers } = await readNumbers(provider, c, undefined, 10_000)
    t.equal(gap, undefined)
    t.same(numbers, upTo(n, numbers[0]))
    t.ok(numbers.length >= Math.min(1_000, n))
    if (n <= 1_000) t.same((await readNumbers(provider, c, start, 10_000)).numbers, upTo(n))
  })
}

function keys (t: Test, make: Make): void {
  t.test('what is published again with its key is told as a duplicate, and reaches nobody again', async (t) => {
    const provider = await make(t)
    const c = fresh()
    const heard = listen(provider, c)
    await live(provider)
    const first = await provider.publish(c, 1, { idempotencyKey: 'key' })
    t.match(first, { duplicate: false, id: String })
    const others = await Promise.all([1, 2].map((n) => provider.publish(c, n, { idempotencyKey: 'key' })))
    t.same(others, [{ ...first, duplicate: true }, { ...first, duplicate: true }], 'whatever it says')
    await heard.settled()
    t.same(heard.got.map(({ data }) => data), [1])
    t.same(await readNumbers(provider, c, undefined, 10), { gap: undefined, numbers: [1] })
  })

  t.test('two that race with one key are published once', async (t) => {
    const provider = await make(t)
    const c = fresh()
    const receipts = await Promise.all(upTo(20).map((n) => provider.publish(c, n, { idempotencyKey: 'key' })))
    t.equal(new Set(receipts.map(({ id }) => id)).size, 1)
    t.same(receipts.filter(({ duplicate }) => !duplicate).length, 1)
    t.same(await readNumbers(provider, c, undefined, 10), { gap: undefined, numbers: [1] })
  })

  t.test('keys of one channel don\'t meet those of another, and every one of 200 characters is fine', async (t) => {
    const provider = await make(t)
    const [one, two] = [fresh(), fresh()]
    for (const key of ['key', 'x'.repeat(200), '😀'.repeat(100), '{}', '*', '\0', '\n', '__proto__', ':m']) {
      for (const channel of [one, two]) t.match(await provider.publish(channel, 1, { idempotencyKey: key }), { duplicate: false })
      for (const channel of [one, two]) t.match(await provider.publish(channel, 1, { idempotencyKey: key }), { duplicate: true })
    }
  })

  t.test('a key is forgotten after its time', async (t) => {
    const provider = await make(t, { idempotencyTtlMs: 40 })
    const c = fresh()
    const publish = (): Promise<{ duplicate: boolean }> => provider.publish(c, 1, { idempotencyKey: 'key' })
    t.match(await publish(), { duplicate: false })
    t.match(await provider.publish(c, 1, { idempotencyKey: 'other' }), { duplicate: false })
    let tries = 0
    while ((await publish()).duplicate) tries++
    t.ok(tries > 0)
    t.match(await publish(), { duplicate: true }, 'and remembered again')
  })

  t.test('what is no key is refused, and nothing is published', async (t) => {
    const provider = await make(t)
    const c = fresh()
    for (const wrong of ['', 1, null, {}, ['key'], 'x'.repeat(201), '\ud800', 'a\udc00b']) {
      const idempotencyKey = wrong as string // As a caller without types could.
      await t.rejects(provider.publish(c, 1, { idempotencyKey }), { code: 'RT_IDEMPOTENCY_KEY_INVALID', statusCode: 400 })
      await t.rejects(provider.publish(c, 1, { idempotencyKey, ephemeral: true }), { code: 'RT_IDEMPOTENCY_KEY_INVALID' })
    }
    t.same(await logOf(provider).tops([c]), [undefined])
  })
}

function limits (t: Test, make: Make): void {
  t.test('what is too large gets no place and uses up no key', async (t) => {
    const provider = await make(t, { maxPayloadBytes: 10 })
    const c = fresh()
    await t.rejects(provider.publish(c, 'x'.repeat(9), { idempotencyKey: 'key' }), { code: 'RT_PAYLOAD_TOO_LARGE' })
    const { id, duplicate } = await provider.publish(c, 'x'.repeat(8), { idempotencyKey: 'key' })
    t.equal(duplicate, false)
    t.match(parseCursor(id as string), { offset: 1 })
  })
}

function off (t: Test, make: Make): void {
  t.test('with history off there is no log, no id, and a key is without effect', async (t) => {
    const provider = await make(t, { history: false })
    const c = fresh()
    const heard = listen(provider, c)
    await live(provider)
    t.equal(provider.log, undefined)
    for (let n = 0; n < 2; n++) t.same(await provider.publish(c, n, { idempotencyKey: 'key' }), { duplicate: false })
    await t.rejects(provider.publish(c, 1, { idempotencyKey: '' }), { code: 'RT_IDEMPOTENCY_KEY_INVALID' })
    await heard.settled()
    t.same(heard.got.map(({ id, data }) => [id, data]), [[undefined, 0], [undefined, 1]])
  })
}
