import t from 'tap'
import assert from 'node:assert/strict'
import { createParser } from 'eventsource-parser'
import fc from 'fast-check'
import { frameReader } from '../../lib/client/frame-reader.ts'

/** What is read of a stream that comes in these pieces. */
function read (pieces: string[]): unknown[] {
  const seen: unknown[] = []
  const reader = frameReader(({ event, id, data }) => seen.push({ event, id, data }), (retryMs) => seen.push(retryMs))
  for (const piece of pieces) reader(piece)
  return seen
}

/** What another reader reads of it. */
function readElsewhere (pieces: string[]): unknown[] {
  const seen: unknown[] = []
  const parser = createParser({ onEvent: ({ event, id, data }) => { seen.push({ event, id, data }) }, onRetry: (retryMs) => { seen.push(retryMs) } })
  for (const piece of pieces) parser.feed(piece)
  return seen
}

t.test('frames are read with their fields, and nothing else is', async (t) => {
  t.same(read(['id: e-1-2\nretry: 5\nevent: message\ndata: {"n":1}\n\n: a comment\n\nevent: lost\n\ndata:1\ndata:  2\ndata\nid: a\0b\nretry: x\nother: y\n\ndata: cut']), [
    5,
    { event: 'message', id: 'e-1-2', data: '{"n":1}' },
    { event: undefined, id: undefined, data: '1\n 2\n' }
  ])
})

t.test('a separator of lines that is none of the stream\'s stays in its data', async (t) => {
  t.same(read(['data: a\u2028b\u2029c\u0085d\n\n']), [{ event: undefined, id: undefined, data: 'a\u2028b\u2029c\u0085d' }])
})

t.test('however a stream is cut, it is read as others read it', async (t) => {
  const line = fc.oneof(
    fc.constantFrom('', '', 'data: {"n":1}', 'data', 'data:', 'data:  x:y', 'event: ready', 'id: a.b', 'id:', 'id: a\0', 'retry: 12', 'retry: 1x', ': beat', 'dat: 1', ' data: 1', 'data : 1'),
    fc.string().map((text) => text.replace(/[\r\n]/g, ''))
  )
  const stream = fc.array(fc.tuple(line, fc.constantFrom('\n', '\r', '\r\n'))).map((lines) => `${lines.flat().join('')}\n\n\n`)
  t.doesNotThrow(() => fc.assert(fc.property(stream, fc.array(fc.nat()), (text, cuts) => {
    const at = [...new Set(cuts.map((cut) => cut % (text.length + 1)))].sort((one, other) => one - other)
    const pieces = [0, ...at].map((from, index) => text.slice(from, at[index]))
    assert.deepEqual(read(pieces), readElsewhere(pieces))
  }), { numRuns: 500 }))
})
