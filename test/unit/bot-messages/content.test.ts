import t from 'tap'
import { contentOf, type BotMessageContent } from '../../../lib/bot-messages/content.ts'
import type { BotMessageFormat } from '../../../lib/event-types.ts'
import { keptMemory } from '../../support/kept-memory.ts'

/** The length of a block of text. */
const BLOCK = 32_768

function of (format: BotMessageFormat, ...additions: unknown[]): BotMessageContent {
  const content = contentOf(format, 65_536)
  for (const addition of additions) content.append(content.encode(addition))
  return content
}

/** All pieces from a position on, as the writer writes them. */
function piecesOf (content: BotMessageContent, from = 0): string[] {
  const pieces: string[] = []
  for (let at = from; at < content.length;) {
    const piece = content.pieceAt(at)
    pieces.push(piece.content)
    at = piece.end
  }
  return pieces
}

t.test('a text is given back in pieces that never split a character, also across blocks', async (t) => {
  for (const before of [0, 1, BLOCK - 2, BLOCK - 1, BLOCK, 2 * BLOCK - 1]) {
    const text = 'x'.repeat(before) + '😀'.repeat(BLOCK) + 'end'
    const content = of('text', text)
    t.equal(content.length, text.length)
    t.equal(content.joined, text)
    t.equal(content.bytes, Buffer.byteLength(text))
    t.equal(piecesOf(content).join(''), text, `from ${before}`)
    t.ok(piecesOf(content).every((piece) => piece.isWellFormed() && piece.length <= BLOCK + 1))
    t.equal(piecesOf(content, before).join(''), text.slice(before))
  }
})

t.test('the first half of a character waits for the second one', async (t) => {
  for (const before of ['', 'a', 'x'.repeat(BLOCK - 1), 'x'.repeat(BLOCK)]) {
    const content = of('text', `${before}\ud83d`)
    t.equal(content.length, before.length)
    t.same(content.pieceAt(before.length), { at: before.length, end: before.length, content: '' })
    content.append('\ude00')
    t.equal(content.length, before.length + 2)
    t.same(content.pieceAt(before.length), { at: before.length, end: before.length + 2, content: '😀' })
    t.equal(piecesOf(content).join(''), `${before}😀`)
  }
})

t.test('a lone half of a character is kept as it is', async (t) => {
  const text = `a\ud83d${'x'.repeat(BLOCK - 3)}\ud83d${'y'.repeat(BLOCK)}`
  const content = of('text', text)
  t.equal(content.joined, text)
  t.equal(piecesOf(content).join(''), text)
})

t.test('a piece from the end on is empty', async (t) => {
  const texts = ['', 'abc', 'x'.repeat(BLOCK)].map((text) => of('text', text))
  for (const content of [...texts, of('chunks'), of('chunks', {})]) {
    const { length } = content
    t.same(content.pieceAt(length), { at: length, end: length, content: '' })
  }
})

t.test('a text of control characters makes pieces of limited size as JSON', async (t) => {
  const content = of('text', '\u0001'.repeat(5 * BLOCK))
  t.equal(content.jsonBytes, 6 * 5 * BLOCK)
  for (const piece of piecesOf(content)) t.ok(Buffer.byteLength(JSON.stringify(piece)) < 200_000)
})

t.test('chunks are kept as JSON, each after a comma, and a piece has a limited number of bytes', async (t) => {
  const chunks = Array.from({ length: 50 }, (_, n) => ({ n, list: [], text: '€'.repeat(10_000) }))
  const content = of('chunks', ...chunks)
  t.equal(content.length, 50)
  t.same(JSON.parse(`[${content.joined.slice(1)}]`), chunks)
  t.equal(content.jsonBytes, Buffer.byteLength(content.joined))
  t.equal(content.bytes, content.jsonBytes - 50)
  const pieces = piecesOf(content)
  t.equal(pieces.join(''), content.joined)
  t.ok(pieces.length > 5 && pieces.every((piece) => Buffer.byteLength(piece) <= 131_072))
  const large = { text: 'x'.repeat(200_000) }
  const few = contentOf('chunks', 1_000_000)
  for (const chunk of [{}, large, large, {}]) few.append(few.encode(chunk))
  const sizes = piecesOf(few).map((piece) => piece.length)
  t.same(sizes, [3, 200_012, 200_012, 3], 'a large chunk is a piece of its own')
  const one = contentOf('chunks', 1_000_000)
  one.append(one.encode(large))
  t.equal(one.joined, `,${JSON.stringify(large)}`)
})

t.test('of what is forgotten, only the block with the next piece is kept', async (t) => {
  const text = of('text', 'x'.repeat(5 * BLOCK))
  const chunks = of('chunks', ...Array(9).fill({ text: 'x'.repeat(60_000) }))
  for (const content of [text, chunks]) {
    content.forget(0)
    const pieces = piecesOf(content)
    const [first, second] = [content.pieceAt(0).end, content.pieceAt(content.pieceAt(0).end).end]
    content.forget(first - 1)
    t.same(piecesOf(content), pieces)
    content.forget(first)
    t.throws(() => content.pieceAt(0))
    t.same(piecesOf(content, first), pieces.slice(1))
    content.forget(second + 1)
    t.same(piecesOf(content, second), pieces.slice(2))
    content.forget(content.length)
    t.match(content.pieceAt(content.length), { content: '' })
    content.append(content.encode(content === text ? 'end' : { end: 1 }))
    t.match(piecesOf(content, content.length - 1).at(-1), /[d}]$/)
  }
})

t.test('what the format does not allow is refused', async (t) => {
  for (const wrong of ['text', ['list'], 5, null, true, undefined, { n: 1n }, new Date()]) {
    t.throws(() => contentOf('chunks', 1_000).encode(wrong), { code: 'RT_PAYLOAD_INVALID' })
  }
  for (const wrong of [{}, ['text'], 5, null, undefined]) {
    t.throws(() => contentOf('text', 1_000).encode(wrong), { code: 'RT_PAYLOAD_INVALID' })
  }
  const chunks = contentOf('chunks', 20)
  t.equal(chunks.encode({ text: '12345678 ' }).length, 20)
  t.throws(() => chunks.encode({ text: '12345678 é' }), {
    code: 'RT_PAYLOAD_TOO_LARGE', message: /takes 22 of at most 20 bytes/
  })
})

/** Makes ten contents of 2 MB. Returns them, and how much memory they take. */
async function fill (
  format: BotMessageFormat, unit: string
): Promise<{ contents: BotMessageContent[], taken: number }> {
  // Each addition has a memory of its own, as if it had just been received.
  const text = Buffer.from(unit.repeat(500))
  const before = await keptMemory()
  const contents = Array.from({ length: 10 }, () => {
    const content = of(format)
    while (content.bytes < 2_000_000) {
      content.append(content.encode(format === 'text' ? text.toString() : { type: 'delta', text: text.toString() }))
    }
    return content
  })
  return { contents, taken: await keptMemory() - before }
}

t.test('ten contents of 2 MB take as much memory as they have bytes, whatever their characters', async (t) => {
  // None is freed before all are measured, since memory is not freed at once.
  const filled = [await fill('text', 'word '), await fill('text', 'wo 😀 '), await fill('chunks', 'wo 😀 ')]
  for (const { contents, taken } of filled) {
    const bytes = contents.reduce((sum, content) => sum + content.bytes, 0)
    t.ok(bytes >= 20_000_000 && taken < 1.1 * bytes, `${taken} for ${bytes}`)
  }
})
