import t from 'tap'
import type { Cursor } from '../../lib/cursor.ts'
import { Backlog } from '../../lib/rooms/backlog.ts'

const at = (offset: number, tag = offset * 10): Cursor => ({ epoch: 'e', offset, tag })

function filled (from: number, to: number, capacity?: number): Backlog {
  const backlog = new Backlog('chat', at(from), { capacity })
  for (let offset = from + 1; offset <= to; offset++) {
    backlog.push({ from: 'x', timestamp: 0, event: 'message', json: `${offset}`, position: { ...at(offset), previousTag: at(offset - 1).tag, fence: false } })
  }
  return backlog
}

const told = (backlog: Backlog, cursor: Cursor): string[] | undefined => backlog.after(cursor)?.map(({ bytes }) => /^data: (.*)$/m.exec(bytes.toString())?.[1] as string)

t.test('tells what comes after each of its places, and of no other', async (t) => {
  const backlog = filled(5, 8)
  t.match(backlog.top, at(8))
  t.same(told(backlog, at(5)), ['6', '7', '8'])
  t.same(told(backlog, at(7)), ['8'])
  t.same(told(backlog, at(8)), [])
  for (const other of [at(4), at(9), at(7, 1), at(5, 1), { ...at(7), epoch: 'f' }, at(0), at(-1)]) t.equal(told(backlog, other), undefined)
})

t.test('an empty one knows its place', async (t) => {
  const backlog = filled(5, 5)
  t.match(backlog.top, at(5))
  t.same(told(backlog, at(5)), [])
  t.match(backlog.before(3), at(5))
})

t.test('keeps at least its capacity, and less than twice of it', async (t) => {
  for (let to = 0; to < 50; to++) {
    const backlog = filled(0, to, 4)
    t.ok(backlog.size >= Math.min(to, 4) && backlog.size < 8, `${backlog.size} of ${to}`)
    t.same(told(backlog, at(to - backlog.size)), Array.from({ length: backlog.size }, (_, n) => `${to - backlog.size + n + 1}`))
    t.equal(told(backlog, at(to - backlog.size - 1)), undefined)
  }
})

t.test('finds the place before the last few', async (t) => {
  const backlog = filled(5, 8)
  t.match(backlog.before(0), at(8))
  t.match(backlog.before(2), at(6))
  t.match(backlog.before(3), at(5))
  t.match(backlog.before(99), at(5))
})
