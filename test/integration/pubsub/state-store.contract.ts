import type { Test } from 'tap'
import type { PubSubStats, PublishReceipt } from '../../../lib/pubsub/provider.ts'
import type {
  Field, StateChange, Stateful, StateReceipt, StateRequest, StateStore
} from '../../../lib/pubsub/state-store.ts'
import { live } from '../../support/live.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import type { FeedProvider } from '../../../lib/testing/index.ts'
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
    for (const part of [values, texts, leases, notifications, finalizations, heads, off]) part(t, make)
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

  open (field: string, value = '', owner = 'me', leaseMs = LEASE): Promise<string> {
    return this.outcome({ operation: 'open', field, value, leaseMs, owner, key: `end-${field}` })
  }

  append (field: string, at: number, value: string, owner = 'me', leaseMs = LEASE): Promise<string> {
    return this.outcome({ operation: 'append', field, at, value, leaseMs, owner })
  }

  finalize (field: string, event: unknown, owner?: string): Promise<PublishReceipt | { epoch: string }> {
    return this.store.finalize(this.channel, { field, owner, event, key: `end-${field}` })
  }

  async read (): Promise<Record<string, Field>> {
    return Object.fromEntries((await this.store.read(this.channel)).fields as Map<string, Field>)
  }

  async values (): Promise<Record<string, string>> {
    return Object.fromEntries(Object.entries(await this.read()).map(([field, { value }]) => [field, value]))
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

const value = (value: string): Field => ({ value, text: false, expired: false })
const text = (value: string, expired = false): Field => ({ value, text: true, expired })

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

function texts (t: Test, make: Make): void {
  t.test('a text grows only at its end, and a repeated append is applied once', async (t) => {
    const s = await subject(t, make)
    t.equal(await s.append('t', 0, 'x'), 'gone', 'there is none yet')
    t.equal(await s.open('t'), 'done')
    t.equal(await s.append('t', 0, 'Hé'), 'done')
    t.equal(await s.append('t', 0, 'Hé'), 'done')
    t.equal(await s.append('t', 3, 'llo 😀'), 'done', 'lengths are bytes')
    t.equal(await s.append('t', 3, 'llo 😀'), 'done')
    t.equal(await s.append('t', 100, 'x'), 'behind')
    t.equal(await s.append('t', 11, ''), 'done')
    t.same(await s.read(), { t: text('Héllo 😀') })
  })

  t.test('a text belongs to its owner, who may replace it', async (t) => {
    const s = await subject(t, make)
    t.equal(await s.open('t', 'abc'), 'done')
    t.equal(await s.open('t', 'abc'), 'done')
    t.equal(await s.open('t', '', 'another'), 'taken')
    t.equal(await s.append('t', 3, 'x', 'another'), 'gone')
    await s.append('t', 3, 'def')
    t.equal(await s.open('t', 'abcdefghi'), 'done')
    t.equal(await s.append('t', 9, 'j'), 'done')
    t.same(await s.values(), { t: 'abcdefghij' })
    t.equal(await s.outcome({ operation: 'delete', field: 't' }), 'done')
    t.same(await s.values(), {})
    t.equal(await s.append('t', 10, 'x'), 'gone')
  })

  t.test('late commands, after later pieces or after the end, change nothing', async (t) => {
    const s = await subject(t, make)
    await s.open('t', 'abc')
    await s.append('t', 3, 'def')
    for (const [at, piece, outcome] of [[0, 'abc', 'behind'], [3, 'd', 'behind'], [3, 'def', 'done']] as const) {
      t.equal(await s.append('t', at, piece), outcome)
    }
    t.equal(await s.open('t', ''), 'done')
    t.equal(await s.open('t', 'abc'), 'done')
    t.same(await s.values(), { t: 'abcdef' })
    await s.finalize('t', 'end', 'me')
    t.equal(await s.append('t', 6, 'ghi'), 'gone')
    t.equal(await s.open('t', 'abcdefghi'), 'over')
    t.match(await s.finalize('t', 'end', 'me'), { duplicate: true })
    t.same(await s.values(), {})
  })

  t.test('a text of thousands of pieces is read as one, and leaves nothing behind', async (t) => {
    const s = await subject(t, make)
    await s.open('t')
    const pieces = Array.from({ length: 2_000 }, (_, n) => `${n} `)
    let at = 0
    await Promise.all(pieces.map((piece) => {
      const done = s.append('t', at, piece)
      at += piece.length
      return done
    }))
    t.same(await s.values(), { t: pieces.join('') })
    const whole = `${pieces.join('')}anew`
    await s.open('t', whole)
    t.same(await s.values(), { t: whole })
  })

  t.test('a value and a text of the same name replace each other only where allowed', async (t) => {
    const s = await subject(t, make)
    await s.set('f', 'v')
    t.equal(await s.open('f'), 'taken')
    t.equal(await s.append('f', 1, 'x', ''), 'gone')
    await s.open('t', 'text')
    await s.set('t', 'text')
    t.same(await s.read(), { f: value('v'), t: value('text') })
  })
}

function leases (t: Test, make: Make): void {
  const expired = async (s: Subject, field: string): Promise<void> => {
    return until(() => s.read(), (fields) => fields[field]?.expired !== false)
  }

  t.test('a value expires with its lease; a text stays and accepts no more changes', async (t) => {
    const s = await subject(t, make)
    const { changes, settled } = await s.watch()
    await s.set('v', '1', 30)
    await s.open('t', 'abc', 'me', 30)
    await s.set('long', '1')
    await Promise.all([expired(s, 'v'), expired(s, 't')])
    t.same(await s.read(), { long: value('1'), t: text('abc', true) })
    t.equal(await s.append('t', 3, 'x'), 'gone')
    t.equal(await s.open('t', 'abcx'), 'gone')
    t.equal(await s.open('t', 'abcx', 'another'), 'taken')
    t.match(await s.store.renew(s.channel, ['t', 'v', 'long', 'none'], 30), { gone: ['t', 'v', 'none'] })
    await settled()
    t.same(
      changes.filter(({ operation }) => operation === 'expire').map(({ field }) => field).sort(),
      ['t', 'v'],
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
    await s.open('text', '', 'me', short)
    t.equal(await s.append('text', 0, 'x'), 'done')
    // Its lease begins last: once it has run out, so have all short ones.
    await s.set('left', '1', short)
    await expired(s, 'left')
    t.match(await s.read(), { renewed: value('1'), set: value('1'), text: text('x') })
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
    await s.open('a text')
    await s.append('a text', 0, ' piece ')
    await s.append('a text', 0, ' piece ')
    await s.outcome({ operation: 'delete', field: 'v' })
    await settled()
    t.same(changes.map(({ operation, field, value }) => [operation, field, value]), [
      ['set', 'v', '1 2\n😀'], ['open', 'a text', ''], ['append', 'a text', ' piece '], ['delete', 'v', '']
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
  t.test('an owner finalizes a text: the event replaces it, once', async (t) => {
    const s = await subject(t, make)
    const { all, settled } = await s.watch()
    await s.open('t', 'abc')
    t.match(await s.finalize('t', 'early'), { epoch: String }, 'no other owner can during its lease')
    t.match(await s.finalize('t', 'wrong', 'another'), { epoch: String })
    const first = await s.finalize('t', 'end', 'me')
    t.match(first, { id: String, duplicate: false })
    t.same(await s.finalize('t', 'again', 'me'), { ...first, duplicate: true })
    t.same(await s.values(), {})
    t.equal(await s.open('t'), 'over')
    t.equal(await s.append('t', 3, 'x'), 'gone')
    t.match(
      await s.log.read(s.channel, undefined, 10), { entries: { length: 2 } }, 'with the one that `watch` publishes'
    )
    await settled()
    t.same(all, ['open t', 'end', 'delete t'], 'the text is there until the event is')
  })

  t.test('any instance finalizes a text with an expired lease, and exactly one does', async (t) => {
    const s = await subject(t, make)
    const { all, settled } = await s.watch()
    await s.open('t', 'abc', 'me', 20)
    await until(() => s.read(), ({ t }) => t?.expired === true)
    const receipts = await Promise.all(Array.from({ length: 10 }, () => s.finalize('t', 'interrupted')))
    t.equal(receipts.filter((receipt) => 'duplicate' in receipt && !receipt.duplicate).length, 1)
    t.match(await s.finalize('t', 'late', 'me'), { duplicate: true })
    await settled()
    t.same(all, ['open t', 'expire t', 'interrupted', 'delete t'])
  })

  t.test('the owner may be the first to finalize it', async (t) => {
    const s = await subject(t, make)
    await s.open('t', 'abc', 'me', 20)
    await until(() => s.read(), ({ t }) => t?.expired === true)
    t.match(await s.finalize('t', 'end', 'me'), { duplicate: false })
  })

  t.test('a value can\'t be finalized, and an event that is too large leaves the text unchanged', async (t) => {
    const s = await subject(t, make, { maxPayloadBytes: 20 })
    await s.set('v', 'abc')
    t.match(await s.finalize('v', 'end', ''), { epoch: String })
    t.match(await s.finalize('none', 'end'), { epoch: (await s.store.read(s.channel)).version?.epoch })
    await s.open('t', 'abc')
    await t.rejects(s.finalize('t', 'x'.repeat(30), 'me'), { code: 'RT_PAYLOAD_TOO_LARGE' })
    t.same(await s.read(), { v: value('abc'), t: text('abc') })
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
    await t.rejects(s.finalize('t', 1), { code: 'RT_CLOSED' })
  })
}
