import t from 'tap'
import type { Cursor } from '../../../lib/pubsub/cursor.ts'
import { ByteBudget } from '../../../lib/pubsub/byte-budget.ts'
import { ReplayBuffer } from '../../../lib/rooms/replay-buffer.ts'

const at = (offset: number, tag = offset * 10): Cursor => ({ epoch: 'e', offset, tag })

function filled (from: number, to: number, capacity?: number): ReplayBuffer {
  const buffer = new ReplayBuffer('chat', at(from), { capacity })
  for (let offset = from + 1; offset <= to; offset++) push(buffer, offset)
  return buffer
}

function push (buffer: ReplayBuffer, offset: number): void {
  buffer.push({
    from: 'x',
    timestamp: 0,
    event: 'message',
    json: `${offset}`,
    position: { ...at(offset), previousTag: at(offset - 1).tag, isMarker: false }
  })
}

const framesAfter = (buffer: ReplayBuffer, cursor: Cursor): string[] | undefined =>
  buffer.after(cursor)?.frames.map(({ bytes }) => /^data: (.*)$/m.exec(bytes.toString())?.[1] as string)

t.test('it returns the events after each of its positions, and after no other', async (t) => {
  const buffer = filled(5, 8)
  t.match(buffer.head, at(8))
  t.same(framesAfter(buffer, at(5)), ['6', '7', '8'])
  t.same(framesAfter(buffer, at(7)), ['8'])
  t.same(framesAfter(buffer, at(8)), [])
  for (const other of [at(4), at(9), at(7, 1), at(5, 1), { ...at(7), epoch: 'f' }, at(0), at(-1)]) {
    t.equal(framesAfter(buffer, other), undefined)
  }
})

t.test('an empty buffer has a position', async (t) => {
  const buffer = filled(5, 5)
  t.match(buffer.head, at(5))
  t.same(framesAfter(buffer, at(5)), [])
  t.match(buffer.before(3), at(5))
})

t.test('it keeps at least its capacity, and less than twice as much', async (t) => {
  for (let to = 0; to < 50; to++) {
    const buffer = filled(0, to, 4)
    t.ok(buffer.size >= Math.min(to, 4) && buffer.size < 8, `${buffer.size} of ${to}`)
    t.same(
      framesAfter(buffer, at(to - buffer.size)),
      Array.from({ length: buffer.size }, (_, n) => `${to - buffer.size + n + 1}`)
    )
    t.equal(framesAfter(buffer, at(to - buffer.size - 1)), undefined)
  }
})

t.test('clients that missed the same events share their bytes until there is another event', async (t) => {
  const buffer = filled(5, 8)
  const run = buffer.after(at(5))
  t.equal(run?.bytes.toString(), run?.frames.map(({ bytes }) => bytes.toString()).join(''))
  t.equal(buffer.after(at(5)), run, 'the same client position')
  t.not(buffer.after(at(5), 1), run, 'fewer bytes')
  t.not(buffer.after(at(6)), run, 'another position')
  const last = buffer.after(at(6))
  push(buffer, 9)
  t.not(buffer.after(at(6)), last)
  t.same(framesAfter(buffer, at(6)), ['7', '8', '9'])
})

t.test('shared bytes count in the budget, which drops them before it drops events', async (t) => {
  const budget = new ByteBudget(1_000)
  const buffer = new ReplayBuffer('chat', at(0), { budget })
  for (let offset = 1; offset <= 3; offset++) push(buffer, offset)
  buffer.after(at(0))
  const { bytes, size } = buffer
  const shared = budget.bytes - bytes
  t.ok(shared > 300, 'three frames')
  budget.count(1_000 - budget.bytes + 1)
  budget.trim()
  t.equal(buffer.size, size)
  t.equal(budget.bytes, 1_001 - shared, 'they are dropped, and that is enough')
  buffer.after(at(2))
  t.ok(budget.bytes - (1_001 - shared) >= 100, 'a single frame counts as well, but not its bytes')
  buffer.clear()
  t.equal(budget.bytes, 1_001 - shared - bytes, 'nothing is left')
})

t.test('it finds the position before the last events', async (t) => {
  const buffer = filled(5, 8)
  t.match(buffer.before(0), at(8))
  t.match(buffer.before(2), at(6))
  t.match(buffer.before(3), at(5))
  t.match(buffer.before(99), at(5))
})
