import t, { type Test } from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { LocalPubSub } from '../../../lib/pubsub/local/local-pubsub.ts'
import type { Field, StateVersion, StateChange, StatePage, StateRequest, StateStore } from '../../../lib/pubsub/state-store.ts'
import { StateReplica } from '../../../lib/rooms/state-replica.ts'
import { ReadGate } from '../../../lib/rooms/read-gate.ts'
import { FakeTimers } from '../../support/fake-timers.ts'
import { budgets } from '../../../lib/core/budgets.ts'

const CHANNEL = 'c'

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

  /** What a mirror is given for a store: it reads and watches only. */
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

  async change (request: { operation: 'set' | 'open' | 'delete', field: string, value?: string, leaseMs?: number } | { operation: 'append', field: string, at: number, value: string }): Promise<void> {
    await this.store.change(CHANNEL, { leaseMs: 60_000, owner: 'me', key: 'k', value: '', ...request } as StateRequest)
    await turn()
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

function start (t: Test): { state: LossyState, replica: StateReplica, gate: ReadGate, told: string[], shown: Map<string, Field>, timers: FakeTimers, rest: () => Promise<void> } {
  const timers = new FakeTimers()
  timers.install()
  const state = new LossyState()
  const told: string[] = []
  const shown = new Map<string, Field>()
  // One reading at a time.
  const gate = new ReadGate(budgets.clientPage)
  const replica = new StateReplica(CHANNEL, state.asStore, gate, {
    field: (name, after, before) => { after === undefined ? shown.delete(name) : shown.set(name, after); told.push(`${name}: ${before?.value} -> ${after?.value}${after?.expired === true ? ' expired' : ''}`) },
    vanished: () => { told.push('vanished') },
    failed: ({ message }) => { told.push(message) }
  })
  t.teardown(async () => {
    replica.close()
    timers.uninstall()
    await state.provider.close()
  })
  return { state, replica, gate, told, shown, timers, rest: async () => { for (let n = 0; n < 5; n++) await turn() } }
}

t.test('a channel without a state is never read, and its first changes need no reading', async (t) => {
  const { state, replica, told, rest } = start(t)
  replica.syncTo(undefined)
  replica.poll()
  await rest()
  await state.change({ operation: 'set', field: 'v', value: '1' })
  await state.change({ operation: 'open', field: 't' })
  await state.change({ operation: 'append', field: 't', at: 0, value: 'ab' })
  await state.change({ operation: 'append', field: 't', at: 2, value: 'c' })
  await state.change({ operation: 'delete', field: 'v' })
  t.same(told, ['v: undefined -> 1', 't: undefined -> ', 't:  -> ab', 't: ab -> abc', 'v: 1 -> undefined'])
  replica.syncTo(await state.stamp())
  await rest()
  t.equal(state.reads, 0)
  t.same(replica.fields, await state.fields())
})

t.test('who comes later reads once, and nothing that changes meanwhile is missed or told twice', async (t) => {
  const { state, replica, told, rest } = start(t)
  state.loses = true
  await state.change({ operation: 'open', field: 't', value: 'ab' })
  state.loses = false
  state.slow = true
  replica.syncTo(await state.stamp())
  await rest()
  await state.change({ operation: 'append', field: 't', at: 2, value: 'c' })
  await state.change({ operation: 'append', field: 't', at: 3, value: 'd' })
  t.same(told, [])
  state.answer()
  await rest()
  t.same(told, ['t: undefined -> ab', 't: ab -> abc', 't: abc -> abcd'])
  t.equal(state.reads, 1)
})

t.test('a change that was lost shows by the next one, by the log, or by looking now and then', async (t) => {
  const { state, replica, told, rest } = start(t)
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
  t.same(told, ['v: undefined -> 1', 'v: 1 -> 2', 'w: undefined -> 1', 'v: 2 -> 3', 'v: 3 -> 4'])
  t.equal(state.reads, 3)
  replica.poll()
  await rest()
  t.equal(told.length, 5, 'what is known is not told again')
})

for (const [where, andOlder] of [['too', false], ['also where one that is not is told after it', true]] as const) {
  t.test(`a place of the log that is newer than what is being read is read, ${where}`, async (t) => {
    const { state, replica, told, rest } = start(t)
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
    t.same(told, ['v: undefined -> 1', 'v: 1 -> 2'])
  })
}

t.test('more changes than can be held during a reading are read', async (t) => {
  const { state, replica, told, rest } = start(t)
  state.loses = true
  await state.change({ operation: 'set', field: 'v', value: '0' })
  state.loses = false
  state.slow = true
  replica.syncTo(await state.stamp())
  await rest()
  for (let n = 1; n <= 1_001; n++) await state.store.change(CHANNEL, { operation: 'set', field: 'v', value: `${n}`, leaseMs: 60_000 })
  await rest()
  state.answer()
  await rest()
  state.answer()
  await rest()
  t.same(told, ['v: undefined -> 0', 'v: 0 -> 1001'])
})

t.test('where the state can\'t be read, it is tried again', async (t) => {
  const { state, replica, told, timers, rest } = start(t)
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
  t.same(told, ['away', 'away', 'away', 'v: undefined -> 2'])
  t.equal(timers.size, 0)
})

t.test('after closing nothing is told, read or tried again', async (t) => {
  const { state, replica, told, timers, rest } = start(t)
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
  t.same(told, [])
  t.equal(state.reads, 1)
  const other = start(t)
  other.state.fails = true
  other.replica.syncTo({ epoch: 'e', count: 1 })
  other.replica.close()
  await rest()
  t.same([other.told, other.timers.size, timers.size], [[], 0, 0])
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
  const { state, replica, told, rest } = start(t)
  state.loses = true
  await state.change({ operation: 'set', field: 'v', value: '1' })
  told.push = (...lines) => { replica.close(); return Array.prototype.push.apply(told, lines) }
  replica.syncTo(await state.stamp())
  await rest()
  t.same(told, ['v: undefined -> 1'])
  replica.syncTo({ epoch: 'another', count: 1 })
  replica.poll()
  await rest()
  t.equal(state.reads, 1)
})

t.test('a state that was lost and begins anew replaces the old one', async (t) => {
  const { state, replica, told, rest } = start(t)
  await state.change({ operation: 'set', field: 'v', value: '1' })
  await state.change({ operation: 'open', field: 't', value: 'abc' })
  const [epoch, version] = ['new', 1]
  state.broadcast({ version: { epoch, count: version }, operation: 'set', field: 'w', value: '1' })
  state.broadcast({ version: { epoch, count: 2 }, operation: 'open', field: 'x', value: '' })
  state.broadcast({ version: { epoch, count: 3 }, operation: 'expire', field: 'x', value: '' })
  state.broadcast({ version: { epoch, count: 4 }, operation: 'expire', field: 'w', value: '' })
  state.broadcast({ version: { epoch, count: 4 }, operation: 'set', field: 'w', value: 'an old one' })
  t.same(told, ['v: undefined -> 1', 't: undefined -> abc', 'v: 1 -> undefined', 't: abc -> undefined', 'w: undefined -> 1', 'x: undefined -> ', 'x:  ->  expired', 'w: 1 -> undefined'])
  t.equal(state.reads, 0)
  state.broadcast({ version: { epoch: 'newer', count: 2 }, operation: 'set', field: 'w', value: '1' })
  await rest()
  t.same(replica.fields, await state.fields(), 'one that does not begin with its first change is read')
})

t.test('what is forgotten is told anew, also while it is read', async (t) => {
  const { state, replica, told, rest } = start(t)
  replica.forget()
  await state.change({ operation: 'set', field: 'v', value: '1' })
  replica.forget()
  t.equal(replica.fields.size, 0)
  await rest()
  t.same(told, ['v: undefined -> 1', 'v: undefined -> 1'])
  state.slow = true
  replica.poll()
  await rest()
  replica.forget()
  state.answer()
  await rest()
  state.answer()
  await rest()
  t.same(told, ['v: undefined -> 1', 'v: undefined -> 1', 'v: undefined -> 1'])
  t.equal(state.reads, 3)
})

t.test('what was forgotten and is gone by the time that it is read, is told as gone', async (t) => {
  const { state, replica, told, shown, timers, rest } = start(t)
  await state.change({ operation: 'set', field: 'v', value: '1' })
  await state.change({ operation: 'set', field: 'w', value: '1' })
  state.fails = true
  replica.forget()
  await state.change({ operation: 'delete', field: 'v' })
  await rest()
  state.fails = false
  timers.fire()
  await rest()
  t.same(told.filter((text) => text !== 'away'), ['v: undefined -> 1', 'w: undefined -> 1', 'w: undefined -> 1', 'v: undefined -> undefined'])
  t.same(shown, replica.fields)
})

t.test('a state that is there no more is told once', async (t) => {
  const { state, replica, told, rest } = start(t)
  await state.change({ operation: 'set', field: 'v', value: '1' })
  state.store.read = async () => ({ version: undefined, fields: new Map() })
  for (let n = 0; n < 2; n++) {
    replica.poll()
    replica.syncTo({ epoch: 'another', count: 1 })
    await rest()
  }
  t.same(told, ['v: undefined -> 1', 'v: 1 -> undefined', 'vanished'])
})

t.test('whatever is lost, late or fails, in the end the mirror shows the state', async (t) => {
  const step = fc.record({ act: fc.nat(9), field: fc.constantFrom('a', 'b', 't'), value: fc.string({ maxLength: 3 }) })
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
    const { state, replica, shown, timers, rest } = start(t)
    for (const { act, field, value } of steps) {
      if (act < 3) await state.change({ operation: field === 't' ? 'open' : 'set', field, value })
      else if (act === 3) await state.change({ operation: 'append', field: 't', at: Buffer.byteLength((await state.fields()).get('t')?.value ?? ''), value })
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
    // The mirror, and whoever has kept what it told, forgetting nothing.
    for (const fields of [replica.fields, shown]) {
      if (JSON.stringify([...fields].sort()) !== JSON.stringify([...await state.fields()].sort())) throw new Error('it shows something else')
    }
  }), { numRuns: 200 })
})

t.test('the states of many chats are read after each other, whether readings succeed or fail', async (t) => {
  const { state, replica, gate, told, rest } = start(t)
  state.loses = true
  await state.change({ operation: 'set', field: 'v', value: '1' })
  gate.enter(budgets.clientPage)
  replica.syncTo(await state.stamp())
  await rest()
  t.equal(state.reads, 0, 'another chat reads')
  state.fails = true
  gate.leave(budgets.clientPage)
  await rest()
  t.same([state.reads, told], [1, ['away']])
  t.equal(gate.enter(budgets.clientPage), undefined, 'the next one may read')
})
