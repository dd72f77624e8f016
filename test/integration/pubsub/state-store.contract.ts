import type { Test } from 'tap'
import type { PubSubStats, PublishReceipt } from '../../../lib/pubsub/provider.ts'
import type {
  DraftPage, Field, StateChange, Stateful, StateReceipt, StateRequest, StateStore
} from '../../../lib/pubsub/state-store.ts'
import { budgets } from '../../../lib/core/budgets.ts'
import { live } from '../../support/live.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import type { FeedProvider } from '../../../lib/contracts/index.ts'
import type { EventLog, Replayable } from '../../../lib/pubsub/event-log.ts'
import type { ProviderOptions } from '../../../lib/pubsub/provider-options.ts'

/** A provider that keeps a log and a state. */
export type StateKeeper = FeedProvider & PubSubStats & Replayable & Stateful

type Make = (t: Test, options?: ProviderOptions) => Promise<StateKeeper>

const LEASE = 60_000

/** The contract of every state store. `make` closes what it creates with the test. */
export function stateContract (t: Test, name: string, make: Make): void {
  t.test(name, async (t) => {
    t.beforeEach(nothingUnhandled)
    for (const part of [values, drafts, pages, leases, notifications, finalizations, heads, off]) part(t, make)
  })
}

let count = 0

/** The state of one channel that nothing else uses. */
class Subject {
  readonly channel: string
  readonly provider: StateKeeper
  readonly store: StateStore
  readonly log: EventLog

  constructor (provider: StateKeeper, channel = `state-${count++}`) {
    this.provider = provider
    this.channel = channel
    this.store = provider.state as StateStore // History is on here.
    this.log = provider.eventLog as EventLog
  }

  set (field: string, value: string, leaseMs = LEASE): Promise<StateReceipt> {
    return this.store.change(this.channel, { operation: 'set', field, value, leaseMs })
  }

  async outcome (request: StateRequest): Promise<string> {
    return (await this.store.change(this.channel, request)).outcome
  }

  open (field: string, value = 'header', owner = 'me', leaseMs = LEASE): Promise<string> {
    return this.outcome({ operation: 'open', field, value, leaseMs, owner, key: `end-${field}` })
  }

  /** Appends a piece whose length is counted in UTF-16 code units. */
  append (field: string, at: number, content: string, owner = 'me', leaseMs = LEASE): Promise<string> {
    const piece = { at, end: at + content.length, content }
    return this.outcome({ operation: 'append', field, piece, leaseMs, owner })
  }

  /** Opens a draft and appends some pieces to it. */
  async write (field: string, ...contents: string[]): Promise<void> {
    await this.open(field)
    let at = 0
    for (const content of contents) {
      await this.append(field, at, content)
      at += content.length
    }
  }

  finalize (
    field: string, event: unknown, owner?: string, keepContent = false
  ): Promise<PublishReceipt | { epoch: string }> {
    return this.store.finalize(this.channel, { field, owner, event, keepContent, key: `end-${field}` })
  }

  readDraft (field: string, from = 0): Promise<DraftPage> {
    return this.store.readDraft(this.channel, { field, key: `end-${field}` }, from)
  }

  async read (): Promise<Record<string, Field>> {
    return Object.fromEntries((await this.store.read(this.channel)).fields as Map<string, Field>)
  }

  /** The values and the contents of all fields. */
  async values (): Promise<Record<string, string | undefined>> {
    const fields = Object.entries(await this.read())
    return Object.fromEntries(fields.map(([field, { value, draft }]) => [field, draft ? draft.content : value]))
  }

  /** Follows the channel and records its changes of the state and events of the log. */
  async watch (): Promise<{ changes: StateChange[], all: unknown[], settled: () => Promise<void> }> {
    const changes: StateChange[] = []
    const all: unknown[] = []
    this.store.watch(this.channel, (change) => {
      changes.push(change)
      all.push(`${change.operation} ${change.field}`)
    })
    let seen: () => void = () => {}
    this.provider.subscribeExact(this.channel, ({ data }) => { data === 'last' ? seen() : all.push(data) })
    await live(this.provider)
    // After all earlier notifications, also in a Cluster.
    const settled = async (): Promise<void> => {
      const last = new Promise<void>((resolve) => { seen = resolve })
      await this.provider.publish(this.channel, 'last')
      await last
    }
    // A Cluster may confirm a subscription on one node before another one knows of it.
    await settled()
    return { changes, all, settled }
  }
}

async function subject (t: Test, make: Make, options?: ProviderOptions): Promise<Subject> {
  return new Subject(await make(t, options))
}

const value = (value: string): Field => ({ value, expired: false })
const draft = (content: string, expired = false): Field =>
  ({ value: 'header', draft: { length: content.length, content }, expired })

function values (t: Test, make: Make): void {
  t.test('a value is set, changed and deleted', async (t) => {
    const s = await subject(t, make)
    t.same(await s.store.read(s.channel), { version: undefined, fields: new Map() })
    t.match(await s.set('a', '{"n":1}'), { outcome: 'done', epoch: /^\w+$/ })
    await s.set('b', '')
    t.same(await s.read(), { a: value('{"n":1}'), b: value('') })
    await s.set('a', '{"n":2}')
    t.same(await s.read(), { a: value('{"n":2}'), b: value('') })
    t.equal(await s.outcome({ operation: 'delete', field: 'a' }), 'done')
    t.equal(await s.outcome({ operation: 'delete', field: 'a' }), 'gone')
    t.same(await s.read(), { b: value('') })
    t.equal((await s.set('b', 'x')).epoch, (await s.store.read(s.channel)).version?.epoch)
  })

  t.test('fields and values of any kind are kept apart', async (t) => {
    const s = await subject(t, make)
    const odd = [
      '*',
      ' ',
      '=',
      '0=a',
      '=a',
      'a',
      '{',
      '}',
      '%',
      '%2A',
      '\0',
      '\n',
      'é',
      '😀',
      '__proto__',
      'a b c',
      'x'.repeat(1_000)
    ]
    for (const field of odd) await s.set(field, `${field} \n\r\0 😀`)
    t.same(
      new Map([...(await s.store.read(s.channel)).fields as Map<string, Field>].map(([field, { value }]) => {
        return [field, value]
      })),
      new Map(odd.map((field) => [field, `${field} \n\r\0 😀`]))
    )
  })

  t.test('channels have separate states', async (t) => {
    const provider = await make(t)
    const [one, two] = [new Subject(provider, 'a{b}*'), new Subject(provider, 'a{b}')]
    await one.set('f', '1')
    await two.set('f', '2')
    t.same([await one.values(), await two.values()], [{ f: '1' }, { f: '2' }])
  })
}

function drafts (t: Test, make: Make): void {
  t.test('a draft grows only at its end, and a repeated append is applied once', async (t) => {
    const s = await subject(t, make)
    t.equal(await s.append('d', 0, 'x'), 'gone', 'there is none yet')
    t.equal(await s.open('d'), 'done')
    t.same(await s.read(), { d: draft('') })
    t.equal(await s.append('d', 0, 'Hé'), 'done')
    t.equal(await s.append('d', 0, 'Hé'), 'done')
    t.equal(await s.append('d', 2, 'llo 😀'), 'done')
    t.equal(await s.append('d', 2, 'llo 😀'), 'done')
    t.equal(await s.append('d', 100, 'x'), 'behind')
    t.equal(await s.append('d', 8, ''), 'done')
    t.same(await s.read(), { d: draft('Héllo 😀') })
  })

  t.test('the owner counts the length in its own units, and learns it from each request', async (t) => {
    const s = await subject(t, make)
    const request = { operation: 'append', field: 'd', leaseMs: LEASE, owner: 'me' } as const
    const opening = { ...request, operation: 'open', value: 'header', key: 'end-d' } as const
    t.match(await s.store.change(s.channel, opening), { outcome: 'done', length: 0 })
    const piece = { at: 0, end: 3, content: ',{},{},{}' }
    t.match(await s.store.change(s.channel, { ...request, piece }), { outcome: 'done', length: 3 })
    t.match(await s.store.change(s.channel, { ...request, piece }), { outcome: 'done', length: 3 })
    const later = { at: 7, end: 8, content: ',{}' }
    t.match(await s.store.change(s.channel, { ...request, piece: later }), { outcome: 'behind', length: 3 })
    t.match(await s.store.change(s.channel, opening), { outcome: 'done', length: 3 })
    t.same((await s.read()).d?.draft, { length: 3, content: ',{},{},{}' })
  })

  t.test('a draft belongs to its owner', async (t) => {
    const s = await subject(t, make)
    await s.write('d', 'abc')
    t.equal(await s.open('d', 'header', 'another'), 'taken')
    t.equal(await s.append('d', 3, 'x', 'another'), 'gone')
    t.equal(await s.open('d', 'another header'), 'done')
    t.same(await s.read(), { d: draft('abc') }, 'opening it again changes nothing')
    t.equal(await s.append('d', 3, 'def'), 'done')
    t.equal(await s.outcome({ operation: 'delete', field: 'd' }), 'done')
    t.same(await s.values(), {})
    t.equal(await s.append('d', 6, 'x'), 'gone')
    await s.write('d', 'new')
    t.same(await s.read(), { d: draft('new') }, 'nothing of the deleted one is left')
  })

  t.test('late commands, after later pieces or after the end, change nothing', async (t) => {
    const s = await subject(t, make)
    await s.write('d', 'abc', 'def')
    for (const [at, piece, outcome] of [[0, 'abc', 'behind'], [3, 'd', 'behind'], [3, 'def', 'done']] as const) {
      t.equal(await s.append('d', at, piece), outcome)
    }
    t.equal(await s.open('d'), 'done')
    t.same(await s.values(), { d: 'abcdef' })
    await s.finalize('d', 'end', 'me')
    t.equal(await s.append('d', 6, 'ghi'), 'gone')
    t.equal(await s.open('d'), 'over')
    t.match(await s.finalize('d', 'end', 'me'), { duplicate: true })
    t.same(await s.values(), {})
  })

  t.test('a draft of thousands of pieces is read as one', async (t) => {
    const s = await subject(t, make)
    await s.open('d')
    const pieces = Array.from({ length: 2_000 }, (_, n) => `${n} `)
    let at = 0
    await Promise.all(pieces.map((piece) => {
      const done = s.append('d', at, piece)
      at += piece.length
      return done
    }))
    t.same(await s.values(), { d: pieces.join('') })
  })

  t.test('a value and a draft of the same name replace each other only where allowed', async (t) => {
    const s = await subject(t, make)
    await s.set('f', 'v')
    t.equal(await s.open('f', 'v', ''), 'taken')
    t.equal(await s.append('f', 1, 'x', ''), 'gone')
    await s.write('d', 'content')
    await s.set('d', 'header')
    t.same(await s.read(), { f: value('v'), d: value('header') })
    t.same(await s.readDraft('d'), { field: value('header'), event: undefined, pieces: [] })
  })
}

function pages (t: Test, make: Make): void {
  const contents = ({ pieces }: DraftPage): string[] => pieces.map(({ content }) => content)

  t.test('a draft is read from any position, from a piece that contains it on', async (t) => {
    const s = await subject(t, make)
    t.same(await s.readDraft('d'), { field: undefined, event: undefined, pieces: [] }, 'there is none yet')
    await s.write('d', 'abc', 'é😀', 'f')
    const field = { ...draft('abcé😀f'), draft: { length: 7, content: 'abcé😀f' } }
    for (const from of [0, 2, 3, 5, 6, 7, 100]) {
      const page = await s.readDraft('d', from)
      t.match(page, { field: { value: 'header', draft: { length: 7 }, expired: false }, event: undefined })
      const at = page.pieces[0]?.at ?? 7
      t.equal(contents(page).join(''), 'abcé😀f'.slice(at), `from ${from}`)
      t.ok(at <= from && page.pieces.every(({ end }) => end > from))
    }
    t.same(await s.read(), { d: field })
  })

  t.test('a long draft is read in pages, and reading the state leaves it out', async (t) => {
    const s = await subject(t, make)
    const piece = '😀'.repeat(10_000)
    await s.open('d')
    const count = 20
    for (let n = 0; n < count; n++) await s.append('d', n * piece.length, piece)
    const length = count * piece.length
    t.same(await s.read(), { d: { value: 'header', draft: { length, content: undefined }, expired: false } })
    const sizes: number[] = []
    let read = ''
    while (read.length < length) {
      const page = contents(await s.readDraft('d', read.length)).join('')
      sizes.push(Buffer.byteLength(page))
      read += page
    }
    t.ok(read === piece.repeat(count))
    t.ok(sizes.every((bytes) => bytes <= budgets.page), sizes.join())
    t.equal(sizes.length, Math.ceil(count / Math.floor(budgets.page / 40_000)))
    const large = 'x'.repeat(2 * budgets.page)
    await s.append('d', length, large)
    t.ok(contents(await s.readDraft('d', length + 5)).join() === large, 'a page has at least one piece')
  })

  t.test('the content of a finalized draft is kept on request, and read with its event', async (t) => {
    const s = await subject(t, make)
    for (const [field, keep] of [['kept', true], ['dropped', false]] as const) {
      await s.write(field, 'abc', 'def')
      await s.finalize(field, { end: field }, 'me', keep)
      const page = await s.readDraft(field, 3)
      t.match(page, { field: undefined, event: JSON.stringify({ end: field }) })
      t.match(contents(page).join(''), keep ? /def$/ : /^$/)
    }
    t.same(await s.values(), {})
    t.same(
      await s.store.readDraft(s.channel, { field: 'kept', key: 'another' }, 0),
      { field: undefined, event: undefined, pieces: [] },
      'only with the key of its finalization'
    )
  })

  t.test('if its event was trimmed from the log, a finalized draft is not found', async (t) => {
    const s = await subject(t, make, { history: { size: 1 } })
    await s.write('d', 'abc')
    await s.finalize('d', 'end', 'me', true)
    t.match(await s.readDraft('d'), { event: '"end"', pieces: { length: 1 } })
    // Redis trims in steps.
    for (let n = 0; n < 200; n++) await s.provider.publish(s.channel, n)
    t.same(await s.readDraft('d'), { field: undefined, event: undefined, pieces: [] })
  })

  t.test('a draft that is finalized while it is read is read to its end', async (t) => {
    const s = await subject(t, make)
    const piece = 'x'.repeat(200_000)
    await s.write('d', piece, piece)
    const first = await s.readDraft('d')
    await s.finalize('d', 'end', 'me', true)
    const second = await s.readDraft('d', piece.length)
    t.match(first, { field: { draft: { length: 400_000 } }, event: undefined })
    t.match(second, { field: undefined, event: '"end"' })
    t.same([first, second].map(({ pieces }) => pieces.map(({ at, end }) => [at, end])), [
      [[0, 200_000]], [[200_000, 400_000]]
    ])
  })
}

function leases (t: Test, make: Make): void {
  const expired = async (s: Subject, field: string): Promise<void> => {
    return until(() => s.read(), (fields) => fields[field]?.expired !== false)
  }

  t.test('a value expires with its lease; a draft stays and accepts no more changes', async (t) => {
    const s = await subject(t, make)
    const { changes, settled } = await s.watch()
    await s.set('v', '1', 30)
    await s.open('d')
    await s.append('d', 0, 'abc', 'me', 30)
    await s.set('long', '1')
    await Promise.all([expired(s, 'v'), expired(s, 'd')])
    t.same(await s.read(), { long: value('1'), d: draft('abc', true) })
    t.equal(await s.append('d', 3, 'x'), 'gone')
    t.equal(await s.open('d'), 'gone')
    t.equal(await s.open('d', 'header', 'another'), 'taken')
    t.match(await s.readDraft('d'), { field: { expired: true }, pieces: [{ content: 'abc' }] })
    t.match(await s.store.renew(s.channel, ['d', 'v', 'long', 'none'], 30), { gone: ['d', 'v', 'none'] })
    await settled()
    t.same(
      changes.filter(({ operation }) => operation === 'expire').map(({ field }) => field).sort(),
      ['d', 'v'],
      'each is reported once'
    )
    await expired(s, 'long')
  })

  t.test('renewing a lease, or writing under it, extends it', async (t) => {
    const s = await subject(t, make)
    const short = 500
    await s.set('renewed', '1', short)
    t.match(await s.store.renew(s.channel, ['renewed'], LEASE), { gone: [] })
    await s.set('set', '1', short)
    await s.set('set', '1')
    for (const field of ['appended', 'repeated', 'opened']) await s.open(field, 'header', 'me', short)
    t.equal(await s.append('appended', 0, 'x'), 'done')
    t.equal(await s.append('repeated', 0, ''), 'done', 'nothing is new')
    t.equal(await s.open('opened'), 'done')
    // Its lease begins last: once it has run out, so have all short ones.
    await s.set('left', '1', short)
    await expired(s, 'left')
    t.same(await s.read(), {
      renewed: value('1'), set: value('1'), appended: draft('x'), repeated: draft(''), opened: draft('')
    })
  })

  t.test('a change and a renewal in a channel find its expired fields', async (t) => {
    const s = await subject(t, make)
    const { changes, settled } = await s.watch()
    const expiries = (): number => changes.filter(({ operation }) => operation === 'expire').length
    await s.set('other', '1')
    await s.set('v', '1', 20)
    await until(() => s.set('other', '1'), () => expiries() === 1)
    await settled()
    const seen = changes.map(({ operation, field }) => [operation, field])
    t.same(seen, [['set', 'other'], ['set', 'v'], ['expire', 'v']])
    await s.set('v', '1', 20)
    await until(() => s.store.renew(s.channel, ['other'], LEASE), () => expiries() === 2)
  })
}

function notifications (t: Test, make: Make): void {
  t.test('each change is reported once, in order, with the next version', async (t) => {
    const s = await subject(t, make)
    const { changes, settled } = await s.watch()
    await s.set('v', '1 2\n😀')
    await s.set('v', '1 2\n😀')
    await s.store.renew(s.channel, ['v'], LEASE)
    await s.open('a draft', '{"a": 1}')
    await s.append('a draft', 0, ' piece\n😀 ')
    await s.append('a draft', 0, ' piece\n😀 ')
    await s.append('a draft', 10, '')
    await s.open('a draft')
    await s.outcome({ operation: 'delete', field: 'v' })
    await settled()
    t.same(changes.map(({ operation, field, value, piece }) => [operation, field, value, piece]), [
      ['set', 'v', '1 2\n😀', undefined],
      ['open', 'a draft', '{"a": 1}', undefined],
      ['append', 'a draft', '', { at: 0, end: 10, content: ' piece\n😀 ' }],
      ['delete', 'v', '', undefined]
    ])
    t.same(changes.map(({ version: stamp }) => stamp.count), [1, 2, 3, 4])
    const { version: stamp } = await s.store.read(s.channel)
    t.same(changes.at(-1)?.version, stamp)
    t.same(
      await s.store.read(s.channel, stamp),
      { version: stamp, fields: undefined },
      'a reader that has this version reads no fields'
    )
    t.ok((await s.store.read(s.channel, { ...stamp as object, count: 3 } as typeof stamp)).fields)
    t.ok((await s.store.read(s.channel, { ...stamp as object, epoch: 'other' } as typeof stamp)).fields)
  })

  t.test('after unsubscribing, a listener is not called any more', async (t) => {
    const s = await subject(t, make)
    const { changes, settled } = await s.watch()
    const others: StateChange[] = []
    const unsubscribe = [0, 1].map(() => s.store.watch(s.channel, (change) => { others.push(change) }))
    await s.set('v', '1')
    await settled()
    for (const stop of [...unsubscribe, ...unsubscribe]) stop()
    await s.set('v', '2')
    await settled()
    t.equal(changes.length, 2)
    t.equal(others.length, 2)
  })

  t.test('changes reach no event handler and no log', async (t) => {
    const s = await subject(t, make)
    const { all, settled } = await s.watch()
    await s.set('v', '1')
    await s.provider.publish(s.channel, 'event')
    t.match(
      await s.log.read(s.channel, undefined, 10),
      { head: { offset: 2 }, entries: { length: 2 } },
      'with the one that `watch` publishes'
    )
    await settled()
    t.same(all, ['set v', 'event'])
  })
}

function finalizations (t: Test, make: Make): void {
  t.test('an owner finalizes a draft: the event replaces it, once', async (t) => {
    const s = await subject(t, make)
    const { all, settled } = await s.watch()
    await s.open('d')
    t.match(await s.finalize('d', 'early'), { epoch: String }, 'no other owner can during its lease')
    t.match(await s.finalize('d', 'wrong', 'another'), { epoch: String })
    const first = await s.finalize('d', 'end', 'me')
    t.match(first, { id: String, duplicate: false })
    t.same(await s.finalize('d', 'again', 'me'), { ...first, duplicate: true })
    t.same(await s.values(), {})
    t.equal(await s.open('d'), 'over')
    t.equal(await s.append('d', 0, 'x'), 'gone')
    t.match(
      await s.log.read(s.channel, undefined, 10), { entries: { length: 2 } }, 'with the one that `watch` publishes'
    )
    await settled()
    t.same(all, ['open d', 'end', 'delete d'], 'the draft is there until the event is')
  })

  t.test('any instance finalizes a draft with an expired lease, and exactly one does', async (t) => {
    const s = await subject(t, make)
    const { all, settled } = await s.watch()
    await s.open('d', 'header', 'me', 20)
    await until(() => s.read(), ({ d }) => d?.expired === true)
    const receipts = await Promise.all(Array.from({ length: 10 }, () => s.finalize('d', 'interrupted')))
    t.equal(receipts.filter((receipt) => 'duplicate' in receipt && !receipt.duplicate).length, 1)
    t.match(await s.finalize('d', 'late', 'me'), { duplicate: true })
    await settled()
    t.same(all, ['open d', 'expire d', 'interrupted', 'delete d'])
  })

  t.test('the owner may be the first to finalize it', async (t) => {
    const s = await subject(t, make)
    await s.open('d', 'header', 'me', 20)
    await until(() => s.read(), ({ d }) => d?.expired === true)
    t.match(await s.finalize('d', 'end', 'me'), { duplicate: false })
  })

  t.test('a value can\'t be finalized, and an event that is too large leaves the draft unchanged', async (t) => {
    const s = await subject(t, make, { maxPayloadBytes: 20 })
    await s.set('v', 'abc')
    t.match(await s.finalize('v', 'end', ''), { epoch: String })
    t.match(await s.finalize('none', 'end'), { epoch: (await s.store.read(s.channel)).version?.epoch })
    await s.write('d', 'abc')
    await t.rejects(s.finalize('d', 'x'.repeat(30), 'me'), { code: 'RT_PAYLOAD_TOO_LARGE' })
    t.same(await s.read(), { v: value('abc'), d: draft('abc') })
  })
}

function heads (t: Test, make: Make): void {
  t.test('the log returns the version of the state', async (t) => {
    const s = await subject(t, make)
    const { head: top } = await s.log.read(s.channel, undefined, 1)
    t.notOk('state' in top, 'none without one')
    t.same(await s.log.heads([s.channel]), [top])
    await s.set('v', '1')
    const { version: stamp } = await s.store.read(s.channel)
    t.match(stamp, { epoch: String, count: 1 })
    t.same((await s.log.read(s.channel, undefined, 1)).head, { ...top, state: stamp })
    await s.provider.publish(s.channel, 1)
    t.same((await s.log.read(s.channel, top, 10)).head.state, stamp)
    t.same((await s.log.heads([s.channel, 'state-none'])).map((head) => head?.state), [stamp, undefined])
    await s.outcome({ operation: 'delete', field: 'v' })
    t.same((await s.log.heads([s.channel]))[0]?.state, { ...stamp, count: 2 })
    await s.set('v', '1')
    t.same((await s.store.read(s.channel)).version, { ...stamp, count: 3 })
  })
}

function off (t: Test, make: Make): void {
  t.test('with history off there is no state', async (t) => {
    t.equal((await make(t, { history: false })).state, undefined)
  })

  t.test('after close a change rejects', async (t) => {
    const s = await subject(t, make)
    await s.provider.close()
    await t.rejects(s.set('v', '1'), { code: 'RT_CLOSED' })
    await t.rejects(s.store.renew(s.channel, ['v'], 1), { code: 'RT_CLOSED' })
    await t.rejects(s.finalize('d', 1), { code: 'RT_CLOSED' })
  })
}
