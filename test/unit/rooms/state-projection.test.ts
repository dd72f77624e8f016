import t, { type Test } from 'tap'
import { mock } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { silentLogger } from '../../../lib/core/logger.ts'
import { Metrics } from '../../../lib/observability/metrics.ts'
import { ByteBudget } from '../../../lib/pubsub/byte-budget.ts'
import { LocalPubSub } from '../../../lib/pubsub/local/local-pubsub.ts'
import type { StateChange, StateStore } from '../../../lib/pubsub/state-store.ts'
import { ReadGate } from '../../../lib/rooms/read-gate.ts'
import { Rooms } from '../../../lib/rooms/rooms.ts'
import type { ProjectionFactory } from '../../../lib/rooms/state-projection.ts'
import { encodeFrame } from '../../../lib/sse/frame.ts'
import { Stream } from './fixture.ts'
import { budgets } from '../../../lib/core/budgets.ts'
import { timing } from '../../../lib/core/timing.ts'
import type { EventLog } from '../../../lib/pubsub/event-log.ts'

const CHANNEL = 'chat:a'

/** Shows all fields as they are. */
const showAll: ProjectionFactory = {
  eventName: 'message',
  create: (room) => ({
    field: (name, after) =>
      room.write(encodeFrame({ event: 'field', json: JSON.stringify([name, after?.value ?? null]) })),
    receive: ({ json }) => room.write(encodeFrame({ event: 'seen', json })),
    snapshot () {
      const fields = [...room.fields].map(([name, { value }]) => [name, value])
      return [encodeFrame({ event: 'snapshot', json: JSON.stringify(fields) })]
    }
  })
}

/** An instance with one view of the state. `faults` loses changes and counts readings. */
interface Stage {
  provider: LocalPubSub
  log: EventLog
  faults: { loses: boolean, reads: number, fails: boolean, vanished: boolean }
  warnings: unknown[]
  join: (after?: string) => Stream
  set: (field: string, value: string, leaseMs?: number) => Promise<unknown>
  rest: () => Promise<void>
}

function start (t: Test, views = [showAll]): Stage {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] })
  // Leases follow this clock.
  const clock = mock.method(performance, 'now', () => Date.now())
  t.teardown(() => {
    clock.mock.restore()
    mock.timers.reset()
  })
  const provider = new LocalPubSub()
  const log = provider.eventLog as EventLog
  const store = provider.state as StateStore
  const faults = { loses: false, reads: 0, fails: false, vanished: false }
  const warnings: unknown[] = []
  const state = {
    read: async (...args: Parameters<StateStore['read']>) => {
      faults.reads++
      if (faults.fails) throw new Error('away')
      if (faults.vanished) return { version: undefined, fields: new Map() }
      return await store.read(...args)
    },
    watch: (channel: string, watcher: (change: StateChange) => void) =>
      store.watch(channel, (change) => {
        if (!faults.loses) watcher(change)
      })
  } as unknown as StateStore // Rooms read and watch only.
  const rooms = new Rooms({
    maxRooms: Infinity,
    feed: provider,
    eventLog: log,
    historySize: 1_000,
    state,
    projections: views,
    log: { ...silentLogger, warn: (context: unknown) => { warnings.push(context) } },
    metrics: new Metrics(),
    retryMs: 2_000,
    reads: new ReadGate(budgets.reads),
    replays: new ByteBudget(budgets.replays)
  })
  t.teardown(async () => {
    rooms.close()
    await provider.close()
  })
  return {
    provider,
    log,
    faults,
    warnings,
    join: (lastEventId) => {
      const stream = new Stream(false)
      rooms.enter('a').join(stream.connection.asConnection, lastEventId === undefined ? {} : { after: 'invalid' })
      return stream
    },
    set: (field, value, leaseMs = 60_000) => store.change(CHANNEL, { operation: 'set', field, value, leaseMs }),
    rest: async () => { for (let n = 0; n < 5; n++) await turn() }
  }
}

const said = (stream: Stream): unknown[] => stream.frames.map(({ event, data }) => [event, JSON.parse(data.toString())])

t.test('a stream gets a snapshot in the turn in which it joins, then each change, all without ids', async (t) => {
  const { set, join, rest } = start(t)
  await set('v', '1')
  const first = join()
  await rest()
  await set('v', '2')
  const second = join()
  await rest()
  await set('v', '3')
  await rest()
  t.same(said(first).slice(1), [['snapshot', [['v', '1']]], ['field', ['v', '2']], ['field', ['v', '3']]])
  t.same(said(second).slice(1).at(-1), ['field', ['v', '3']])
  t.same(second.names.slice(0, 2), ['ready', 'snapshot'])
  const third = join()
  await rest()
  t.same(said(third).slice(1), [['snapshot', [['v', '3']]]])
  t.same([...first.ids, ...third.ids].filter(Boolean).length, 2, 'but `ready`')
})

t.test('an event of the log passes the projections that name it before it is sent', async (t) => {
  const { provider, join, rest } = start(t)
  const stream = join()
  await rest()
  await provider.publish(CHANNEL, { n: 1 })
  await provider.publish(CHANNEL, { type: 'other', n: 2 })
  await rest()
  t.same(said(stream).slice(2), [['seen', { n: 1 }], ['message', { n: 1 }], ['other', { type: 'other', n: 2 }]])
})

t.test('the state of a chat is not read if there is no state or no projection', async (t) => {
  const { faults, provider, join, rest } = start(t)
  join()
  await rest()
  await provider.publish(CHANNEL, 1)
  for (let n = 0; n < 4; n++) mock.timers.tick(timing.idleCheck)
  await rest()
  t.equal(faults.reads, 0)
  mock.timers.reset()
  const other = start(t, [])
  await other.set('v', '1')
  const stream = other.join()
  await rest()
  for (let n = 0; n < 4; n++) mock.timers.tick(timing.idleCheck)
  await rest()
  t.equal(other.faults.reads, 0)
  t.same(stream.names, ['ready'])
})

t.test('if the whole state has vanished, the log is read, since it may be lost as well', async (t) => {
  const { faults, log, set, join, rest } = start(t)
  await set('v', '1')
  const stream = join()
  await rest()
  const reads = mock.method(log, 'read')
  faults.vanished = true
  mock.timers.tick(timing.idleCheck)
  await rest()
  t.same(said(stream).at(-1), ['field', ['v', null]])
  t.equal(reads.mock.callCount(), 1)
})

t.test('many streams that join at once cause one read of the state', async (t) => {
  const { faults, set, join, rest } = start(t)
  await set('v', '1')
  const streams = Array.from({ length: 100 }, () => join())
  await rest()
  for (const stream of streams) t.same(said(stream).at(-1), ['snapshot', [['v', '1']]])
  t.equal(faults.reads, 1)
})

t.test('the first and the last change before a silence are read if their broadcasts were lost', async (t) => {
  const { faults, set, join, rest } = start(t)
  const stream = join()
  await rest()
  faults.loses = true
  await set('v', '1')
  for (const expected of ['1', '2']) {
    // A poll may be running.
    for (let n = 0; n < 2; n++) {
      mock.timers.tick(timing.idleCheck)
      await rest()
    }
    t.same(said(stream).at(-1), ['field', ['v', expected]])
    await set('v', '2')
  }
})

t.test('a lease that expires without any other activity is reported', async (t) => {
  const { set, join, rest } = start(t)
  const stream = join()
  await rest()
  await set('v', '1', timing.idleCheck / 2)
  await rest()
  mock.timers.tick(timing.idleCheck)
  await rest()
  t.same(said(stream).slice(2), [['field', ['v', '1']], ['field', ['v', null]]])
})

t.test('a stream that gets a reset gets the whole state again', async (t) => {
  const { set, log, join, rest } = start(t)
  const stream = join()
  await rest()
  await set('v', '1')
  await rest()
  // Another log than the one that is followed.
  const read = log.read.bind(log)
  log.read = async (...args) => {
    const page = await read(...args)
    return {
      ...page,
      head: { ...page.head, epoch: 'other' },
      ...(args[1] !== undefined && { gap: 'diverged' as const, entries: [] })
    }
  }
  const tops = log.heads.bind(log)
  log.heads = async (channels) => (await tops(channels)).map((top) => top && { ...top, epoch: 'other' })
  for (let n = 0; n < 2; n++) {
    mock.timers.tick(timing.idleCheck)
    await rest()
  }
  t.same(said(stream).slice(2), [
    ['field', ['v', '1']],
    ['reset', { chatId: 'a', reason: 'diverged', certain: true }],
    ['field', ['v', '1']]
  ])
  const late = join('garbage')
  await rest()
  t.same(said(late).slice(1), [
    ['reset', { chatId: 'a', reason: 'invalid', certain: false }],
    ['snapshot', [['v', '1']]]
  ])
})

t.test('after a discontinuity marker, streams get the whole state again', async (t) => {
  const { set, join, rest, provider } = start(t)
  const stream = join()
  await rest()
  await set('v', '1')
  await provider.publish(CHANNEL, 1)
  await rest()
  const append = provider.eventLog as unknown as {
    append(...args: unknown[]): { entry: { position: { isMarker: boolean } } }
  }
  const real = append.append.bind(append)
  append.append = (...args) => {
    const appended = real(...args)
    appended.entry.position.isMarker = true
    return appended
  }
  await provider.publish(CHANNEL, 'fence')
  await rest()
  t.same(said(stream).slice(-2), [
    ['reset', { chatId: 'a', reason: 'failover', certain: false }],
    ['field', ['v', '1']]
  ])
})

t.test('a failed read of the state is logged and retried', async (t) => {
  const { faults, set, join, rest, warnings } = start(t)
  await set('v', '1')
  faults.fails = true
  const stream = join()
  await rest()
  t.same(warnings[0], { chatId: 'a', reason: 'away' })
  t.same(said(stream).slice(1), [['snapshot', []]])
  faults.fails = false
  mock.timers.tick(timing.resyncRetry)
  await rest()
  t.same(said(stream).slice(2), [['field', ['v', '1']]])
})
