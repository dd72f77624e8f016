import t, { type Test } from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { LocalPubSub } from '../../../lib/pubsub/local/local-pubsub.ts'
import type {
  Field,
  Piece,
  StateVersion,
  StateChange,
  StatePage,
  StateRequest,
  StateStore
} from '../../../lib/pubsub/state-store.ts'
import { StateReplica } from '../../../lib/rooms/state-replica.ts'
import { ReadGate } from '../../../lib/rooms/read-gate.ts'
import { FakeTimers } from '../../support/fake-timers.ts'
import { budgets } from '../../../lib/core/budgets.ts'

const CHANNEL = 'c'

type Change =
  { operation: 'set' | 'open' | 'delete', field: string, value?: string, leaseMs?: number } |
  { operation: 'append', field: string, piece: Piece }

/** A state of which changes can be lost and readings take their time. */
class LossyState {
  readonly provider = new LocalPubSub()
  readonly store = this.provider.state as StateStore // History is on here.
  readonly changes: StateChange[] = []
  reads = 0
  loses = false
  /** Whether readings wait for `answer`. */
  slow = false
  fails = false
  #waiting: (() => void)[] = []
  #watcher: (change: StateChange) => void = () => {}

  /** The store of the replica, which only reads and watches. */
  get asStore (): StateStore {
    return {
      read: async (channel: string, known?: StateVersion): Promise<StatePage> => {
        this.reads++
        if (this.fails) throw new Error('away')
        const page = await this.store.read(channel, known)
        if (this.slow) await new Promise<void>((resolve) => { this.#waiting.push(resolve) })
        return page
      },
      watch: (channel: string, watcher: (change: StateChange) => void) => {
        this.#watcher = watcher
        return this.store.watch(channel, (change) => {
          this.changes.push(change)
          if (!this.loses) watcher(change)
        })
      }
    } as unknown as StateStore
  }

  async change (request: Change): Promise<void> {
    await this.store.change(CHANNEL, { leaseMs: 60_000, owner: 'me', key: 'k', value: '', ...request } as StateRequest)
    await turn()
  }

  /** Appends to a draft, if there is one. */
  async append (field: string, content: string): Promise<void> {
    const at = (await this.fields()).get(field)?.draft?.length ?? 0
    await this.change({ operation: 'append', field, piece: pieceAt(at, content) })
  }

  broadcast (change: StateChange): void {
    this.#watcher(change)
  }

  answer (): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  async stamp (): Promise<StateVersion | undefined> {
    return (await this.store.read(CHANNEL)).version
  }

  async fields (): Promise<Map<string, Field>> {
    return (await this.store.read(CHANNEL)).fields as Map<string, Field>
  }
}

const pieceAt = (at: number, content: string): Piece => ({ at, end: at + content.length, content })

/** A value, or the content of a draft. */
const shownAs = (field: Field | undefined): string | undefined => field?.draft ? field.draft.content : field?.value

interface Stage {
  state: LossyState
  replica: StateReplica
  gate: ReadGate
  reported: string[]
  shown: Map<string, Field>
  /** The pieces of all reports. */
  pieces: (Piece | undefined)[]
  timers: FakeTimers
  rest: () => Promise<void>
}

function start (t: Test): Stage {
  const timers = new FakeTimers()
  timers.install()
  const state = new LossyState()
  const reported: string[] = []
  const shown = new Map<string, Field>()
  const pieces: (Piece | undefined)[] = []
  // One reading at a time.
  const gate = new ReadGate(budgets.clientPage)
  const replica = new StateReplica(CHANNEL, state.asStore, gate, {
    field: (name, after, before, piece) => {
      pieces.push(piece)
      after === undefined ? shown.delete(name) : shown.set(name, after)
      reported.push(`${name}: ${shownAs(before)} -> ${shownAs(after)}${after?.expired === true ? ' expired' : ''}`)
    },
    vanished: () => { reported.push('vanished') },
    readFailed: ({ message }) => { reported.push(message) }
  })
  t.teardown(async () => {
    replica.close()
    timers.uninstall()
    await state.provider.close()
  })
  const rest = async (): Promise<void> => { for (let n = 0; n < 5; n++) await turn() }
  return { state, replica, gate, reported, shown, pieces, timers, rest }
}

t.test('a channel without a state is never read, not even for its first changes', async (t) => {
  const { state, replica, reported, rest } = start(t)
  replica.syncTo(undefined)
  replica.poll()
  await rest()
  await state.change({ operation: 'set', field: 'v', value: '1' })
  await state.change({ operation: 'open', field: 'd' })
  await state.append('d', 'ab')
  await state.append('d', 'c')
  await state.change({ operation: 'delete', field: 'v' })
  t.same(reported, ['v: undefined -> 1', 'd: undefined -> ', 'd:  -> ab', 'd: ab -> abc', 'v: 1 -> undefined'])
  replica.syncTo(await state.stamp())
  await rest()
  t.equal(state.reads, 0)
  t.same(replica.fields, await state.fields())
})

t.test('a later replica reads once, and reports each concurrent change once', async (t) => {
  const { state, replica, reported, rest } = start(t)
  state.loses = true
  await state.change({ operation: 'open', field: 'd' })
  await state.append('d', 'ab')
  state.loses = false
  state.slow = true
  replica.syncTo(await state.stamp())
  await rest()
  await state.append('d', 'c')
  await state.append('d', 'd')
  t.same(reported, [])
  state.answer()
  await rest()
  t.same(reported, ['d: undefined -> ab', 'd: ab -> abc', 'd: abc -> abcd'])
  t.equal(state.reads, 1)
})

t.test('a change that arrives during a read is held, so that the newer page is not discarded', async (t) => {
  const { state, replica, reported, rest } = start(t)
  await state.change({ operation: 'set', field: 'v', value: '1' })
  state.loses = true
  await state.change({ operation: 'set', field: 'v', value: '2' })
  await state.change({ operation: 'set', field: 'v', value: '3' })
  state.slow = true
  replica.poll()
  await rest()
  state.broadcast(state.changes[1] as StateChange)
  t.same(reported, ['v: undefined -> 1'], 'held until the read ends')
  state.answer()
  await rest()
  t.same(reported, ['v: undefined -> 1', 'v: 1 -> 3'])
  t.equal(state.reads, 1)
})

t.test('a lost change is noticed by the next change, by the log, or by polling', async (t) => {
  const { state, replica, reported, rest } = start(t)
  await state.change({ operation: 'set', field: 'v', value: '1' })
  const lose = async (value: string): Promise<void> => {
    state.loses = true
    await state.change({ operation: 'set', field: 'v', value })
    state.loses = false
  }
  await lose('2')
  await state.change({ operation: 'set', field: 'w', value: '1' })
  await rest()
  await lose('3')
  replica.syncTo(await state.stamp())
  await rest()
  await lose('4')
  replica.poll()
  await rest()
  t.same(reported, ['v: undefined -> 1', 'v: 1 -> 2', 'w: undefined -> 1', 'v: 2 -> 3', 'v: 3 -> 4'])
  t.equal(state.reads, 3)
  replica.poll()
  await rest()
  t.equal(reported.length, 5, 'a known field is not reported again')
})

for (const [where, andOlder] of [['too', false], ['also if an older version is reported after it', true]] as const) {
  t.test(`a state version in the log that is newer than the running read causes a read, ${where}`, async (t) => {
    const { state, replica, reported, rest } = start(t)
    state.loses = state.slow = true
    await state.change({ operation: 'set', field: 'v', value: '1' })
    const older = await state.stamp()
    replica.syncTo(older)
    await rest()
    await state.change({ operation: 'set', field: 'v', value: '2' })
    replica.syncTo(await state.stamp())
    if (andOlder) replica.syncTo(older)
    state.answer()
    await rest()
    state.answer()
    await rest()
    t.same(reported, ['v: undefined -> 1', 'v: 1 -> 2'])
  })
}

t.test('if more changes arrive during a read than can be held, the state is read again', async (t) => {
  const { state, replica, reported, rest } = start(t)
  state.loses = true
  await state.change({ operation: 'set', field: 'v', value: '0' })
  state.loses = false
  state.slow = true
  replica.syncTo(await state.stamp())
  await rest()
  for (let n = 1; n <= 1_001; n++) {
    await state.store.change(CHANNEL, { operation: 'set', field: 'v', value: `${n}`, leaseMs: 60_000 })
  }
  await rest()
  state.answer()
  await rest()
  state.answer()
  await rest()
  t.same(reported, ['v: undefined -> 0', 'v: 0 -> 1001'])
})

t.test('a failed read of the state is retried', async (t) => {
  const { state, replica, reported, timers, rest } = start(t)
  state.loses = true
  await state.change({ operation: 'set', field: 'v', value: '1' })
  state.loses = false
  state.fails = true
  replica.syncTo(await state.stamp())
  await rest()
  await state.change({ operation: 'set', field: 'v', value: '2' })
  await rest()
  timers.fire()
  await rest()
  state.fails = false
  timers.fire()
  await rest()
  t.same(reported, ['away', 'away', 'away', 'v: undefined -> 2'])
  t.equal(timers.size, 0)
})

t.test('after closing, nothing is reported, read or retried', async (t) => {
  const { state, replica, reported, timers, rest } = start(t)
  state.slow = true
  state.loses = true
  await state.change({ operation: 'set', field: 'v', value: '1' })
  state.loses = false
  replica.syncTo(await state.stamp())
  await rest()
  replica.close()
  state.answer()
  await rest()
  await state.change({ operation: 'set', field: 'v', value: '2' })
  t.same(reported, [])
  t.equal(state.reads, 1)
  const other = start(t)
  other.state.fails = true
  other.replica.syncTo({ epoch: 'e', count: 1 })
  other.replica.close()
  await rest()
  t.same([other.reported, other.timers.size, timers.size], [[], 0, 0])
})

t.test('a retry is cancelled if the state is read before', async (t) => {
  const { state, replica, timers, rest } = start(t)
  state.fails = true
  replica.syncTo({ epoch: 'e', count: 1 })
  await rest()
  t.equal(timers.size, 1)
  state.fails = false
  replica.syncTo({ epoch: 'e', count: 1 })
  await rest()
  t.equal(timers.size, 0)
})

t.test('a replica stays closed, also if a field that it reports closes it', async (t) => {
  const { state, replica, reported, rest } = start(t)
  state.loses = true
  await state.change({ operation: 'set', field: 'v', value: '1' })
  reported.push = (...lines) => { replica.close(); return Array.prototype.push.apply(reported, lines) }
  replica.syncTo(await state.stamp())
  await rest()
  t.same(reported, ['v: undefined -> 1'])
  replica.syncTo({ epoch: 'another', count: 1 })
  replica.poll()
  await rest()
  t.equal(state.reads, 1)
})

t.test('a lost state that begins again replaces the old one', async (t) => {
  const { state, replica, reported, rest } = start(t)
  await state.change({ operation: 'set', field: 'v', value: '1' })
  await state.change({ operation: 'open', field: 'd' })
  const [epoch, version] = ['new', 1]
  state.broadcast({ version: { epoch, count: version }, operation: 'set', field: 'w', value: '1' })
  state.broadcast({ version: { epoch, count: 2 }, operation: 'open', field: 'x', value: '' })
  state.broadcast({ version: { epoch, count: 3 }, operation: 'expire', field: 'x', value: '' })
  state.broadcast({ version: { epoch, count: 4 }, operation: 'expire', field: 'w', value: '' })
  state.broadcast({ version: { epoch, count: 4 }, operation: 'set', field: 'w', value: 'an old one' })
  t.same(reported, [
    'v: undefined -> 1',
    'd: undefined -> ',
    'v: 1 -> undefined',
    'd:  -> undefined',
    'w: undefined -> 1',
    'x: undefined -> ',
    'x:  ->  expired',
    'w: 1 -> undefined'
  ])
  t.equal(state.reads, 0)
  state.broadcast({ version: { epoch: 'newer', count: 2 }, operation: 'set', field: 'w', value: '1' })
  await rest()
  t.same(replica.fields, await state.fields(), 'one that does not begin with its first change is read')
})

t.test('a field that is forgotten is reported again, also during a read', async (t) => {
  const { state, replica, reported, rest } = start(t)
  replica.forget()
  await state.change({ operation: 'set', field: 'v', value: '1' })
  replica.forget()
  t.equal(replica.fields.size, 0)
  await rest()
  t.same(reported, ['v: undefined -> 1', 'v: undefined -> 1'])
  state.slow = true
  replica.poll()
  await rest()
  replica.forget()
  state.answer()
  await rest()
  state.answer()
  await rest()
  t.same(reported, ['v: undefined -> 1', 'v: undefined -> 1', 'v: undefined -> 1'])
  t.equal(state.reads, 3)
})

t.test('a forgotten field that has been deleted by the next read is reported as deleted', async (t) => {
  const { state, replica, reported, shown, timers, rest } = start(t)
  await state.change({ operation: 'set', field: 'v', value: '1' })
  await state.change({ operation: 'set', field: 'w', value: '1' })
  state.fails = true
  replica.forget()
  await state.change({ operation: 'delete', field: 'v' })
  await rest()
  state.fails = false
  timers.fire()
  await rest()
  t.same(
    reported.filter((text) => text !== 'away'),
    ['v: undefined -> 1', 'w: undefined -> 1', 'w: undefined -> 1', 'v: undefined -> undefined']
  )
  t.same(shown, replica.fields)
})

t.test('the loss of a state is reported once', async (t) => {
  const { state, replica, reported, rest } = start(t)
  await state.change({ operation: 'set', field: 'v', value: '1' })
  state.store.read = async () => ({ version: undefined, fields: new Map() })
  for (let n = 0; n < 2; n++) {
    replica.poll()
    replica.syncTo({ epoch: 'another', count: 1 })
    await rest()
  }
  t.same(reported, ['v: undefined -> 1', 'v: 1 -> undefined', 'vanished'])
})

t.test('whatever is lost, late or fails, the replica equals the state in the end', async (t) => {
  const step = fc.record({ act: fc.nat(9), field: fc.constantFrom('a', 'b', 'd'), value: fc.string({ maxLength: 3 }) })
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
    const { state, replica, shown, timers, rest } = start(t)
    for (const { act, field, value } of steps) {
      if (act < 3) await state.change({ operation: field === 'd' ? 'open' : 'set', field, value })
      else if (act === 3) await state.append('d', value)
      else if (act === 4) await state.change({ operation: 'delete', field })
      else if (act === 5) state.loses = !state.loses
      else if (act === 6) state.slow = !state.slow
      else if (act === 7) state.fails = !state.fails
      else if (act === 8) replica.syncTo(await state.stamp())
      else replica.forget()
      if (!state.slow) state.answer()
    }
    state.loses = state.slow = state.fails = false
    for (let n = 0; n < 3; n++) {
      state.answer()
      timers.fire()
      await rest()
    }
    replica.syncTo(await state.stamp())
    await rest()
    timers.uninstall()
    // The replica, and a listener that has applied all its reports.
    for (const fields of [replica.fields, shown]) {
      if (JSON.stringify([...fields].sort()) !== JSON.stringify([...await state.fields()].sort())) {
        throw new Error('it shows something else')
      }
    }
  }), { numRuns: 200 })
})

t.test('a piece that does not fit to the draft causes exactly one read', async (t) => {
  const { state, replica, reported, rest } = start(t)
  await state.change({ operation: 'open', field: 'd' })
  await state.append('d', 'abc')
  const { epoch, count } = await state.stamp() as StateVersion
  const lost = { value: '', draft: { length: 2, content: 'ab' }, expired: false }
  let page = { version: { epoch, count: count + 1 }, fields: new Map([['d', lost]]) }
  state.store.read = async () => page
  // The store has lost the draft, and its owner writes it again.
  const change = { operation: 'append', field: 'd', value: '' } as const
  state.broadcast({ ...change, version: { ...page.version }, piece: pieceAt(0, 'ab') })
  await rest()
  t.equal(state.reads, 1)
  t.same(reported.at(-1), 'd: abc -> ab')
  state.broadcast({ ...change, version: { ...page.version }, piece: pieceAt(0, 'ab') })
  state.broadcast({ ...change, version: { epoch, count: count + 2 }, piece: pieceAt(2, 'c') })
  await rest()
  t.equal(state.reads, 1, 'the next one fits')
  t.same(reported.at(-1), 'd: ab -> abc')
  page = { ...page, version: { epoch, count: count + 3 } }
  state.broadcast({ ...change, field: 'unknown', version: { ...page.version }, piece: pieceAt(0, 'a') })
  await rest()
  t.equal(state.reads, 2, 'nor does a piece of an unknown draft')
  t.same(replica.fields, page.fields)
})

t.test('a draft that is read again unchanged is not reported again', async (t) => {
  const { state, replica, reported, rest } = start(t)
  await state.change({ operation: 'open', field: 'd' })
  await state.append('d', 'ab')
  state.loses = true
  await state.change({ operation: 'set', field: 'v', value: '1' })
  replica.poll()
  await rest()
  t.same(reported, ['d: undefined -> ', 'd:  -> ab', 'v: undefined -> 1'])
  t.equal(state.reads, 1)
})

t.test('content that the store has lost is still known here', async (t) => {
  const { state, replica, reported, rest } = start(t)
  await state.change({ operation: 'open', field: 'd' })
  await state.append('d', 'abc')
  const { epoch, count } = await state.stamp() as StateVersion
  const read = (length: number, expired: boolean): void => {
    const field = { value: '', draft: { length, content: undefined }, expired }
    const version = { epoch, count: count + length }
    state.store.read = async () => ({ version, fields: new Map([['d', field]]) })
    replica.poll()
  }
  read(3, true)
  await rest()
  t.same(replica.fields.get('d'), { value: '', draft: { length: 3, content: 'abc' }, expired: true })
  t.equal(reported.length, 3, 'only the lease is news')
  read(4, true)
  await rest()
  t.same(replica.fields.get('d')?.draft, { length: 4, content: undefined }, 'but not what came after it')
})

t.test('only short content is kept, and each piece is reported', async (t) => {
  const { state, replica, pieces } = start(t)
  const half = 'x'.repeat(budgets.draft / 2)
  await state.change({ operation: 'open', field: 'd', value: 'header' })
  for (const content of [half, half, 'y', 'z']) await state.append('d', content)
  const length = budgets.draft + 2
  t.same(replica.fields.get('d'), { value: 'header', draft: { length, content: undefined }, expired: false })
  t.same(pieces.map((piece) => piece && [piece.at, piece.end]), [
    undefined, [0, half.length], [half.length, 2 * half.length], [length - 2, length - 1], [length - 1, length]
  ])
  t.same(replica.fields, await state.fields())
})

t.test('the bytes of short content are counted, not its characters', async (t) => {
  const { state, replica } = start(t)
  await state.change({ operation: 'open', field: 'd' })
  const content = 'é'.repeat(budgets.draft / 2)
  await state.append('d', content)
  t.equal(replica.fields.get('d')?.draft?.content, content)
  await state.append('d', 'a')
  t.equal(replica.fields.get('d')?.draft?.content, undefined)
})

t.test('the states of many chats are read one after another, whether reads succeed or fail', async (t) => {
  const { state, replica, gate, reported, rest } = start(t)
  state.loses = true
  await state.change({ operation: 'set', field: 'v', value: '1' })
  let leave = (): void => {}
  const other = gate.runWhenFree(budgets.clientPage, () => new Promise<void>((resolve) => { leave = resolve }))
  replica.syncTo(await state.stamp())
  await rest()
  t.equal(state.reads, 0, 'another chat reads')
  state.fails = true
  leave()
  await other
  await rest()
  t.same([state.reads, reported], [1, ['away']])
  let reads = 0
  await gate.runWhenFree(budgets.clientPage, async () => { reads++ })
  t.equal(reads, 1, 'the next one may read')
})
