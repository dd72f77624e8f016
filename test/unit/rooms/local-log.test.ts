import t, { type Test } from 'tap'
import assert from 'node:assert/strict'
import { mock } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { formatCursor, parseCursor, type Cursor } from '../../../lib/pubsub/cursor.ts'
import { silentLogger } from '../../../lib/core/logger.ts'
import { ByteBudget } from '../../../lib/pubsub/byte-budget.ts'
import type { EventRing } from '../../../lib/pubsub/event-ring.ts'
import type { LogEntry } from '../../../lib/pubsub/event-log.ts'
import { LocalLog } from '../../../lib/pubsub/local/log.ts'
import { Metrics } from '../../../lib/observability/metrics.ts'
import type { ResumeRequest } from '../../../lib/rooms/catch-up.ts'
import { ReadGate } from '../../../lib/rooms/read-gate.ts'
import { Room } from '../../../lib/rooms/room.ts'
import { budgets } from '../../../lib/core/budgets.ts'
import { Stream } from './fixture.ts'

const CHANNEL = 'chat:chat'
const HOUR = 3_600_000

/** A room over the log of one process. An event is appended at once, and delivered when the test says so. */
class LocalRoom {
  readonly log: LocalLog
  readonly replays = new ByteBudget(budgets.replays)
  readonly metrics = new Metrics()
  readonly room: Room
  #count = 0

  private constructor (t: Test, size: number) {
    this.log = new LocalLog({ size, ttlMs: HOUR, idempotencyTtlMs: HOUR })
    this.room = new Room('chat', CHANNEL, {
      log: silentLogger,
      metrics: this.metrics,
      eventLog: this.log,
      historySize: size,
      retryMs: 2_000,
      reads: new ReadGate(budgets.reads),
      replays: this.replays
    }, () => {})
    t.teardown(() => {
      this.room.close()
      this.log.close()
    })
  }

  /** Resolves once the room is in sync. */
  static async open (t: Test, size = 1_000): Promise<LocalRoom> {
    const local = new LocalRoom(t, size)
    local.room.chatLog.live()
    await rest()
    return local
  }

  get ring (): EventRing {
    return this.log.ring(CHANNEL) as EventRing
  }

  /** Appends events whose JSON is their count. */
  append (count = 1): LogEntry[] {
    return Array.from({ length: count }, () => {
      const envelope = { from: 'x', timestamp: 0, event: 'message', json: `${++this.#count}` }
      return this.log.append(CHANNEL, envelope, undefined).entry as LogEntry
    })
  }

  deliver (entries: LogEntry[]): void {
    for (const entry of entries) this.room.chatLog.receive(entry, false)
  }

  publish (count = 1): LogEntry[] {
    const entries = this.append(count)
    this.deliver(entries)
    return entries
  }

  async join (resume: ResumeRequest = {}): Promise<Stream> {
    const stream = new Stream(false)
    this.room.join(stream.connection.asConnection, resume)
    await rest()
    return stream
  }

  /** Resumes after an entry. */
  resume (entry: LogEntry | undefined): Promise<Stream> {
    return this.join({ after: entry?.position })
  }
}

/** Lets everything happen that needs no time. */
async function rest (): Promise<void> {
  for (let n = 0; n < 5; n++) await turn()
}

const received = (stream: Stream): unknown[] => stream.data('message')
const reasons = (stream: Stream): unknown[] => stream.data('reset').map((data) => (data as { reason: string }).reason)

t.test('a room keeps no event that the log has', async (t) => {
  const local = await LocalRoom.open(t)
  const [first] = local.publish(3)
  t.equal(local.replays.bytes, 0)
  t.same(received(await local.resume(first)), [2, 3])
  t.ok(local.replays.bytes > 0, 'until the next event, it keeps their frames')
  local.publish()
  t.equal(local.replays.bytes, 0)
  t.same(received(await local.resume(first)), [2, 3, 4])
  local.room.close()
  t.equal(local.replays.bytes, 0)
})

t.test('a stream that joins between an append and its delivery gets the event once', async (t) => {
  const local = await LocalRoom.open(t)
  const [first] = local.publish(2)
  const between = local.append(2)
  const streams = await Promise.all([local.resume(first), local.join({ rewind: 1 }), local.join()])
  t.same(streams.map(received), [[2], [2], []])
  local.deliver(between)
  await rest()
  t.same(streams.map(received), [[2, 3, 4], [2, 3, 4], [3, 4]])
  t.same(streams.map(reasons), [[], [], []])
})

t.test('a client that already has an event that is not delivered yet does not get it again', async (t) => {
  const local = await LocalRoom.open(t)
  const other = await local.join()
  local.publish()
  const between = local.append(2)
  const stream = await local.resume(between[0])
  local.deliver(between)
  await rest()
  t.same([received(stream), received(other)], [[3], [1, 2, 3]])
  t.same([reasons(stream), reasons(other)], [[], []])
})

t.test('an event whose predecessor is not delivered yet is not taken for a duplicate', async (t) => {
  const local = await LocalRoom.open(t)
  const stream = await local.join()
  const [first, second] = local.append(2) as [LogEntry, LogEntry]
  local.deliver([second])
  await rest()
  t.same(received(stream), [1, 2])
  const { resyncs } = local.metrics
  local.deliver([first, second])
  await rest()
  t.same(received(stream), [1, 2])
  t.equal(local.metrics.resyncs, resyncs, 'the later copies are duplicates')
})

t.test('events that the log drops between an append and its delivery reach the streams', async (t) => {
  const local = await LocalRoom.open(t)
  const [first, second] = local.publish(2)
  const between = local.append(2)
  local.ring.clear()
  const stream = await local.resume(second)
  t.same([received(stream), reasons(stream)], [[], []])
  local.deliver(between)
  await rest()
  t.same([received(stream), reasons(stream)], [[3, 4], []])
  t.same(reasons(await local.resume(first)), ['expired'])
})

t.test('a client gets a reset if the log had to drop events that it missed', async (t) => {
  const local = await LocalRoom.open(t)
  const entries = local.publish(8)
  local.ring.release()
  t.same(reasons(await local.resume(entries[2])), ['trimmed'])
  t.same(received(await local.resume(entries[3])), [5, 6, 7, 8])
})

t.test('a client that missed nothing continues if the log had to drop all events', async (t) => {
  const local = await LocalRoom.open(t)
  const [first, second] = local.publish(2)
  local.log.budget.count(budgets.localLogs)
  local.log.budget.trim()
  t.equal(local.ring.size, 0)
  const stream = await local.resume(second)
  t.same(reasons(await local.resume(first)), ['expired'])
  local.log.budget.count(-budgets.localLogs)
  local.publish()
  await rest()
  t.same([received(stream), reasons(stream)], [[3], []])
  t.same(received(await local.resume(second)), [3])
})

t.test('the events of a log can expire while the room is open', async (t) => {
  mock.timers.enable({ apis: ['Date', 'setInterval'] })
  t.teardown(() => mock.timers.reset())
  const local = await LocalRoom.open(t)
  const [first, second] = local.publish(2)
  await local.resume(first)
  mock.timers.tick(2 * HOUR)
  const current = await local.resume(second)
  local.publish(2)
  await rest()
  t.same([received(current), reasons(current)], [[3, 4], []])
  t.same(reasons(await local.resume(first)), ['trimmed'])
  t.same(received(await local.resume(second)), [3, 4])
})

t.test('a client of a log that is gone gets a reset, and those of the new one continue', async (t) => {
  const local = await LocalRoom.open(t)
  const [old] = local.publish(3)
  const open = await local.resume(old)
  local.log.close()
  t.same(received(await local.resume(old)), [2, 3], 'the frames are kept until the next event')
  const [first] = local.publish(2)
  await rest()
  t.same([received(open), reasons(open)], [[2, 3, 4, 5], ['epoch']])
  t.same(reasons(await local.resume(old)), ['epoch'])
  t.same(received(await local.resume(first)), [5])
})

t.test('a gap drops the frames', async (t) => {
  const local = await LocalRoom.open(t)
  const [old] = local.publish(3)
  await local.resume(old)
  t.ok(local.replays.bytes > 0)
  local.log.close()
  await local.room.chatLog.sync()
  t.equal(local.replays.bytes, 0)
})

t.test('a room keeps more events than a small log, so that clients need no reset', async (t) => {
  const local = await LocalRoom.open(t, 1)
  const entries = local.publish(5)
  t.ok(local.replays.bytes > 0)
  const stream = await local.resume(entries[1])
  t.same([received(stream), reasons(stream)], [[3, 4, 5], []])
})

t.test('the log serves clients that are further behind than a room without it can be', async (t) => {
  const local = await LocalRoom.open(t)
  const entries = local.publish(600)
  const all = Array.from({ length: 600 }, (_, n) => n + 1)
  t.same(received(await local.resume(entries[99])), all.slice(100))
  t.same(received(await local.join({ rewind: 500 })), all.slice(100))
  const start = parseCursor(formatCursor({ ...(entries[0] as LogEntry).position, offset: 0, tag: 0 })) as Cursor
  t.same(received(await local.join({ after: start })), all)
})

/** What can happen to a room. The numbers say how many events, or how many events before the last one. */
const step = fc.oneof(
  fc.record({ kind: fc.constantFrom('append', 'deliver', 'resume', 'rewind'), count: fc.integer({ min: 1, max: 8 }) }),
  fc.record({ kind: fc.constantFrom('append', 'resume', 'rewind'), count: fc.integer({ min: 200, max: 300 }) }),
  fc.record({ kind: fc.constantFrom('drop', 'rest'), count: fc.constant(0) })
)

t.test('in any order of appends, deliveries and joins, a stream gets each event once', async (t) => {
  const all = fc.array(step, { maxLength: 40 })
  const run = fc.asyncProperty(fc.constantFrom(255, 256, 300), all, async (size, steps) => {
    const local = await LocalRoom.open(t, size)
    const streams: Stream[] = []
    const entries = local.publish()
    const undelivered: LogEntry[] = []
    const join = (resume: ResumeRequest): void => {
      const stream = new Stream(false)
      local.room.join(stream.connection.asConnection, resume)
      streams.push(stream)
    }
    for (const { kind, count } of steps) {
      if (kind === 'append') {
        const appended = local.append(count)
        entries.push(...appended)
        undelivered.push(...appended)
      } else if (kind === 'deliver') local.deliver(undelivered.splice(0, count))
      else if (kind === 'resume') join({ after: entries[Math.max(0, entries.length - count)]?.position })
      else if (kind === 'rewind') join({ rewind: count })
      else if (kind === 'drop') local.ring.release()
      else await rest()
    }
    await rest()
    local.deliver(undelivered)
    local.publish()
    await rest()
    const last = entries.length + 1
    for (const { frames } of streams) {
      const order = frames.filter(({ event }) => event !== 'ready')
        .map(({ event, data }) => event === 'message' ? Number(data) : String(event))
      assert.equal(order.at(-1), last)
      for (const [index, number] of order.entries()) {
        const before = order[index - 1]
        if (typeof number === 'number' && typeof before === 'number') assert.equal(number, before + 1)
      }
    }
  })
  await fc.assert(run, { numRuns: 300, seed: 1 })
})
