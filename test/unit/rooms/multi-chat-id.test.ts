import t from 'tap'
import fc from 'fast-check'
import { formatCursor, sameCursor, type Cursor } from '../../../lib/pubsub/cursor.ts'
import { formatPart, parsePart, parseMultiChatId } from '../../../lib/rooms/multi-chat-id.ts'
import { encodeFrame } from '../../../lib/sse/frame.ts'

const offset = fc.integer({ min: 0, max: 1e15 - 1 })
/** As both providers make them. */
const ours = fc.record({
  epoch: fc.stringMatching(/^[0-9a-f]{16}$/),
  offset,
  tag: fc.integer({ min: 0, max: 2 ** 47 - 1 })
})
/** As a provider of an app's own may. */
const others = fc.record({
  epoch: fc.oneof(fc.stringMatching(/^[A-Za-z0-9]{1,32}$/), fc.stringMatching(/^[0-9A-F]{16}$/)),
  offset,
  tag: fc.integer({ min: 0, max: 1e15 - 1 })
})
const places = fc.array(fc.oneof(ours, others, fc.constantFrom('invalid' as const, undefined)), {
  minLength: 1,
  maxLength: 60
})

const same = (one: Cursor | 'invalid' | undefined, other: Cursor | 'invalid' | undefined): boolean =>
  typeof one === 'object' && typeof other === 'object' ? sameCursor(one, other) : one === other

t.test('the formatted positions of several chats are parsed as the same positions', async () => {
  fc.assert(fc.property(places, (places) => {
    const read = parseMultiChatId(places.map(formatPart).join('.'), places.length)
    return read.length === places.length && read.every((place, index) => same(place, places[index]))
  }))
})

t.test('two positions have the same format only if they are equal', async () => {
  fc.assert(
    fc.property(
      fc.oneof(ours, others),
      fc.oneof(ours, others),
      (one, other) => sameCursor(one, other) === (formatPart(one) === formatPart(other))
    )
  )
})

t.test('the id is compact, and valid in a header, a query and a frame', async (t) => {
  fc.assert(fc.property(ours, (cursor) => formatPart(cursor).length === 19 + `${cursor.offset}`.length))
  fc.assert(fc.property(places, (places) => {
    const id = places.map(formatPart).join('.')
    if (id !== '') encodeFrame({ id, json: '1' })
    return /^[\w.~!-]*$/.test(id) && encodeURIComponent(id) === id
  }))
  t.equal(
    formatPart({ epoch: 'fbefbefbefbefbef', offset: 7, tag: 1 }),
    '~~~~~~~~~~8AAAAAAAE7',
    'no dash, which only the other form has'
  )
})

t.test('an event id of a stream of one chat is a valid part', async () => {
  fc.assert(fc.property(fc.oneof(ours, others), (cursor) => same(parsePart(formatCursor(cursor)), cursor)))
})

t.test('an id with the wrong number of parts has no valid part', async (t) => {
  const id = ['e-1-1', 'e-2-2'].join('.')
  t.same(parseMultiChatId(id, 1), ['invalid'])
  t.same(parseMultiChatId(id, 3), ['invalid', 'invalid', 'invalid'])
  t.same(parseMultiChatId('', 2), ['invalid', 'invalid'])
  t.same(parseMultiChatId('.', 2), [undefined, undefined])
})

t.test('an invalid part does not affect the others', async (t) => {
  t.match(parseMultiChatId('e-1-1.garbage.e-2-2', 3), [{ offset: 1 }, 'invalid', { offset: 2 }])
  const long = 'A'.repeat(19)
  const compact = [long, `${long}x`, `${long}${'1'.repeat(16)}`, `${'='.repeat(19)}1`, 'é'.repeat(19) + '1']
  for (const part of ['x', '!', ' ', '-', 'e-1', ...compact, 'e-1-1\n']) {
    t.equal(parsePart(part), 'invalid', JSON.stringify(part))
  }
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }),
      fc.integer({ min: 1, max: 4 }),
      (id, count) => parseMultiChatId(id, count).length === count
    )
  )
})
