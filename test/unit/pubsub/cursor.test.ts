import t from 'tap'
import fc from 'fast-check'
import { formatCursor, parseCursor, sameCursor } from '../../../lib/pubsub/cursor.ts'

const cursors = fc.record({
  epoch: fc.stringMatching(/^[A-Za-z0-9]{1,32}$/),
  offset: fc.integer({ min: 0, max: 1e15 - 1 }),
  tag: fc.integer({ min: 0, max: 2 ** 47 - 1 })
})

t.test('a formatted cursor is parsed as the same position', async () => {
  fc.assert(fc.property(cursors, (cursor) => {
    const id = formatCursor(cursor)
    const read = parseCursor(id)
    return /^[A-Za-z0-9]{1,32}-\d{1,15}-\d{1,15}$/.test(id) && read !== undefined && sameCursor(read, cursor)
  }))
})

t.test('anything else is not a cursor', async (t) => {
  const wrong = [
    '', '-', '--', 'e-1', 'e-1-', '-1-1', 'e-1-1-1', 'e--1-1', 'e-1.5-1', 'e-1-1e3', 'é-1-1', ' e-1-1', 'e-1-1 ',
    'e-1-1\n', 'e-1-1\0', `${'e'.repeat(33)}-1-1`,
    `e-${'1'.repeat(16)}-1`, `e-1-${'1'.repeat(16)}`, 'e-0x1-1', 'e-١-1'
  ]
  for (const id of wrong) t.equal(parseCursor(id), undefined, JSON.stringify(id))
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }),
      (id) => parseCursor(id) === undefined || /^[A-Za-z0-9]{1,32}-\d{1,15}-\d{1,15}$/.test(id)
    )
  )
})

t.test('two positions are equal only if their epoch, offset and tag are', async () => {
  fc.assert(
    fc.property(
      cursors,
      cursors,
      (one, other) => sameCursor(one, other) === (formatCursor(one) === formatCursor(other))
    )
  )
})
