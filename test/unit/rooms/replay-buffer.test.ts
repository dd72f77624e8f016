import t from 'tap'
import type { Cursor } from '../../../lib/pubsub/cursor.ts'
import { ReplayBuffer } from '../../../lib/rooms/replay-buffer.ts'

const at = (offset: number, tag = offset * 10): Cursor => ({ epoch: 'e', offset, tag })

function filled (from: number, to: number, capacity?: number): ReplayBuffer {
  const buffer = new ReplayBuffer('chat', at(from), { capacity })
  for (let offset = from + 1; offset <= to; offset++) {
    buffer.push({
      from: 'x',
      timestamp: 0,
      event: 'message',
      json: `${offset}`,
      position: { ...at(offset), previousTag: at(offset - 1).tag, isMarker: false }
    })
  }
  return buffer
}

const framesAfter = (buffer: ReplayBuffer, cursor: Cursor): string[] | undefined =>
  buffer.after(cursor)?.map(({ bytes }) => /^data: (.*)$/m.exec(bytes.toString())?.[1] as string)

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

t.test('it finds the position before the last events', async (t) => {
  const buffer = filled(5, 8)
  t.match(buffer.before(0), at(8))
  t.match(buffer.before(2), at(6))
  t.match(buffer.before(3), at(5))
  t.match(buffer.before(99), at(5))
})
