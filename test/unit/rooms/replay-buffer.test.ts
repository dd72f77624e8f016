import t from 'tap'
import type { Cursor } from '../../../lib/pubsub/cursor.ts'
import { ByteBudget, type ByteHolder } from '../../../lib/pubsub/byte-budget.ts'
import { EventRing } from '../../../lib/pubsub/event-ring.ts'
import { ReplayBuffer } from '../../../lib/rooms/replay-buffer.ts'
import { budgets } from '../../../lib/core/budgets.ts'

const at = (offset: number, tag = offset * 10): Cursor => ({ epoch: 'e', offset, tag })

/** Returns a ring with an event at each offset after `from`, up to `to`. */
function filled (from: number, to: number, capacity?: number): EventRing {
  const ring = new EventRing(at(from), { capacity })
  for (let offset = from + 1; offset <= to; offset++) push(ring, `${offset}`)
  return ring
}

function push (ring: EventRing, json: string): void {
  const offset = ring.offset + 1
  const position = { ...at(offset), previousTag: at(offset - 1).tag, isMarker: false }
  ring.push({ from: 'x', timestamp: 0, event: 'message', json, position })
}

/** A buffer with the events of a ring up to an index. */
function bufferOf (ring: EventRing, { end, budget }: { end?: number, budget?: ByteBudget } = {}): ReplayBuffer {
  return new ReplayBuffer('chat', () => ({ ring, end: end ?? ring.size }), budget)
}

const framesAfter = (buffer: ReplayBuffer, cursor: Cursor): string[] | undefined =>
  buffer.after(cursor)?.frames.map(({ bytes }) => /^data: (.*)$/m.exec(bytes.toString())?.[1] as string)

t.test('it returns the events after each of its positions, and after no other', async (t) => {
  const buffer = bufferOf(filled(5, 8))
  t.match([buffer.base, buffer.head, buffer.size], [at(5), at(8), 3])
  t.same(framesAfter(buffer, at(5)), ['6', '7', '8'])
  t.same(framesAfter(buffer, at(7)), ['8'])
  t.same(framesAfter(buffer, at(8)), [])
  for (const other of [at(4), at(9), at(7, 1), at(5, 1), { ...at(7), epoch: 'f' }, at(0), at(-1)]) {
    t.equal(framesAfter(buffer, other), undefined)
    t.notOk(buffer.has(other))
  }
})

t.test('it ends before events of the ring that streams do not get yet', async (t) => {
  const buffer = bufferOf(filled(5, 9), { end: 2 })
  t.match([buffer.base, buffer.head, buffer.size], [at(5), at(7), 2])
  t.same(framesAfter(buffer, at(5)), ['6', '7'])
  t.same(framesAfter(buffer, at(7)), [])
  t.equal(framesAfter(buffer, at(8)), undefined)
  t.notOk(buffer.has(at(9)))
  t.match([buffer.before(0), buffer.before(1)], [at(7), at(6)])
})

t.test('an empty buffer has a position', async (t) => {
  const buffer = bufferOf(filled(5, 5))
  t.match(buffer.head, at(5))
  t.same(framesAfter(buffer, at(5)), [])
  t.match(buffer.before(3), at(5))
})

t.test('it has the last events of a ring that drops the others', async (t) => {
  for (let to = 0; to < 50; to++) {
    const buffer = bufferOf(filled(0, to, 4))
    const size = Math.min(to, 4)
    t.equal(buffer.size, size)
    t.same(framesAfter(buffer, at(to - size)), Array.from({ length: size }, (_, n) => `${to - size + n + 1}`))
    t.equal(framesAfter(buffer, at(to - size - 1)), undefined)
  }
})

t.test('clients that missed the same events share their bytes', async (t) => {
  const ring = filled(5, 8)
  const buffer = bufferOf(ring)
  const run = buffer.after(at(5))
  t.equal(run?.bytes.toString(), run?.frames.map(({ bytes }) => bytes.toString()).join(''))
  t.equal(buffer.after(at(5)), run, 'the same client position')
  const part = buffer.after(at(5), 1)
  t.match(part?.frames, { length: 1 }, 'fewer bytes')
  t.equal(part?.frames[0], run?.frames[0], 'a frame is encoded once')
  t.same(framesAfter(buffer, at(6)), ['7', '8'], 'another position')
  push(ring, '9')
  buffer.dropFrames()
  t.same(framesAfter(buffer, at(6)), ['7', '8', '9'])
  t.not(buffer.after(at(5))?.frames[0], run?.frames[0])
})

/** A budget that shows which holders it would ask to drop data. */
class Budget extends ByteBudget {
  readonly entered = new Set<ByteHolder>()

  override enter (holder: ByteHolder): void {
    this.entered.add(holder)
    super.enter(holder)
  }

  override leave (holder: ByteHolder): void {
    this.entered.delete(holder)
    super.leave(holder)
  }
}

t.test('a buffer is known to the budget only while it keeps frames', async (t) => {
  const budget = new Budget(10_000)
  const buffer = bufferOf(filled(0, 3), { budget })
  t.equal(buffer.after(at(3))?.frames.length, 0)
  t.equal(budget.entered.size, 0)
  buffer.after(at(1))
  t.equal(budget.entered.size, 1)
  buffer.dropFrames()
  t.equal(budget.entered.size, 0)
})

t.test('frames and shared bytes count in the budget, which drops them', async (t) => {
  const budget = new ByteBudget(10_000)
  const buffer = bufferOf(filled(0, 3), { budget })
  const run = buffer.after(at(0))
  const counted = budget.bytes
  t.ok(counted > 2 * (run?.bytes.length as number) + 600, 'three frames, and their joined bytes')
  buffer.after(at(2))
  t.equal(budget.bytes, counted - (run?.bytes.length as number), 'a single frame is not joined')
  budget.count(10_000)
  budget.trim()
  t.equal(budget.bytes, 10_000)
  t.not(buffer.after(at(0))?.frames[0], run?.frames[0])
  t.equal(budget.bytes, 10_000, 'what exceeds the budget is returned, but not kept')
  budget.count(-10_000)
  buffer.after(at(0))
  t.equal(budget.bytes, counted)
  buffer.dropFrames()
  buffer.dropFrames()
  t.equal(budget.bytes, 0, 'nothing is left')
})

t.test('the frames of one chat have a limit of their own', async (t) => {
  const budget = new ByteBudget(Infinity)
  const ring = filled(0, 0)
  for (let n = 0; n < 3; n++) push(ring, JSON.stringify('x'.repeat(budgets.replay / 4)))
  const buffer = bufferOf(ring, { budget })
  for (const [offset, count] of [[0, 1], [1, 2], [2, 3]] as const) {
    t.match(buffer.after(at(offset), 1), { frames: { length: 1 } })
    t.ok(budget.bytes > count * budgets.replay / 4)
  }
  t.match(buffer.after(at(0)), { frames: { length: 3 } })
  t.equal(budget.bytes, 0)
})

t.test('it finds the position before the last events', async (t) => {
  const buffer = bufferOf(filled(5, 8))
  t.match(buffer.before(0), at(8))
  t.match(buffer.before(2), at(6))
  t.match(buffer.before(3), at(5))
  t.match(buffer.before(99), at(5))
})
