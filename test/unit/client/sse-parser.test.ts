import t, { type Test } from 'tap'
import assert from 'node:assert/strict'
import { createParser } from 'eventsource-parser'
import fc from 'fast-check'
import { parseFrames } from '../../../lib/client/sse-parser.ts'

/** Returns the parsed events of a stream that arrives in these pieces. */
function read (pieces: string[]): unknown[] {
  const seen: unknown[] = []
  const readNext = parseFrames(
    ({ event, id, data }) => seen.push({ event, id, data }),
    (retryMs) => seen.push(retryMs)
  )
  for (const piece of pieces) readNext(piece)
  return seen
}

/** Returns the events that another parser reads. */
function readElsewhere (pieces: string[]): unknown[] {
  const seen: unknown[] = []
  const parser = createParser({
    onEvent: ({ event, id, data }) => {
      seen.push({ event, id, data })
    },
    onRetry: (retryMs) => {
      seen.push(retryMs)
    }
  })
  for (const piece of pieces) parser.feed(piece)
  return seen
}

t.test('frames are parsed with their fields, and everything else is ignored', async (t) => {
  const frames = [
    'id: e-1-2\nretry: 5\nevent: message\ndata: {"n":1}', ': a comment', 'event: lost',
    'data:1\ndata:  2\ndata\nid: a\0b\nretry: x\nother: y', 'data: cut'
  ]
  t.same(read([frames.join('\n\n')]), [
    5,
    { event: 'message', id: 'e-1-2', data: '{"n":1}' },
    { event: undefined, id: undefined, data: '1\n 2\n' }
  ])
})

t.test('a line separator that does not belong to the format stays in the data', async (t) => {
  t.same(read(['data: a\u2028b\u2029c\u0085d\n\n']), [
    { event: undefined, id: undefined, data: 'a\u2028b\u2029c\u0085d' }
  ])
})

t.test('a stream in any pieces is parsed as another parser parses it', async (t) => {
  const line = fc.oneof(
    fc.constantFrom(
      '',
      '',
      'data: {"n":1}',
      'data',
      'data:',
      'data:  x:y',
      'event: ready',
      'id: a.b',
      'id:',
      'id: a\0',
      'retry: 12',
      'retry: 1x',
      ': beat',
      'dat: 1',
      ' data: 1',
      'data : 1'
    ),
    fc.string().map((text) => text.replace(/[\r\n]/g, ''))
  )
  const stream = fc
    .array(fc.tuple(line, fc.constantFrom('\n', '\r', '\r\n')))
    .map((lines) => `${lines.flat().join('')}\n\n\n`)
  t.doesNotThrow(() => fc.assert(fc.property(stream, fc.array(fc.nat()), (text, cuts) => {
    const at = [...new Set(cuts.map((cut) => cut % (text.length + 1)))].sort((one, other) => one - other)
    const pieces = [0, ...at].map((from, index) => text.slice(from, at[index]))
    assert.deepEqual(read(pieces), readElsewhere(pieces))
  }), { numRuns: 500 }))
})

t.test('a heartbeat is not an event, with and without an empty line after it', async (t) => {
  t.same(read(['data: 1\n', ':\n', 'data: 2\n\n', ':\n', ':\n\n', '\n', 'data: 3\n\n', ':\n']), [
    { event: undefined, id: undefined, data: '1\n2' },
    { event: undefined, id: undefined, data: '3' }
  ])
})

/** Counts how many characters regular expressions pass over while `run` runs. */
function countCharacters (t: Test, run: () => void): number {
  const { prototype } = RegExp
  const { exec } = prototype
  let count = 0
  prototype.exec = function (text) {
    const from = this.global || this.sticky ? this.lastIndex : 0
    const found = exec.call(this, text)
    count += (found === null ? text.length : found.index + (found[0]?.length ?? 0)) - from
    return found
  }
  t.teardown(() => { prototype.exec = exec })
  run()
  prototype.exec = exec
  return count
}

t.test('the steps to parse a large event grow with its characters, not with its pieces', async (t) => {
  for (const [size, step] of [[1_000_000, 1_000], [200_000, 7]] as const) {
    const text = `data: ${'x'.repeat(size)}\n\n`
    const pieces = Array.from({ length: Math.ceil(text.length / step) }, (_, index) =>
      text.slice(index * step, (index + 1) * step)
    )
    let seen: unknown[] = []
    const count = countCharacters(t, () => { seen = read(pieces) })
    t.match(seen, [{ data: 'x'.repeat(size) }])
    t.ok(count >= text.length && count <= 3 * text.length, `${count} steps for ${text.length} characters`)
  }
})

t.test('the steps to parse many lines in one piece grow with their characters', async (t) => {
  const text = 'data: x\n\n'.repeat(20_000)
  let seen: unknown[] = []
  const count = countCharacters(t, () => { seen = read([text]) })
  t.equal(seen.length, 20_000)
  t.ok(count >= text.length && count <= 3 * text.length, `${count} steps for ${text.length} characters`)
})

t.test('parsing stops at an event of more than 16 million characters', async (t) => {
  const piece = 'x'.repeat(2 ** 20)
  const begin = (): ReturnType<typeof parseFrames> => parseFrames(() => {}, () => {})
  const inOneLine = begin()
  t.ok(inOneLine('data: '))
  for (let n = 1; n < 16; n++) t.ok(inOneLine(piece))
  t.notOk(inOneLine(piece))
  const inManyLines = begin()
  for (let n = 1; n < 16; n++) t.ok(inManyLines(`data: ${piece}\r\n`))
  t.notOk(inManyLines(`data: ${piece}\r\n`))
  const inManyEvents = begin()
  for (let n = 0; n < 20; n++) t.ok(inManyEvents(`: ${piece}\ndata: ${piece}\n\n`))
})
