import t from 'tap'
import { BotMessageReader } from '../../../lib/bot-messages/reader.ts'
import type { DraftPage, Field, Piece, StateStore } from '../../../lib/pubsub/state-store.ts'

const TEXT = JSON.stringify({ format: 'text', startedAt: 1 })

function draft (length: number, value = TEXT, expired = false): Field {
  return { value, draft: { length, content: undefined }, expired }
}

function streaming (length: number, ...pieces: Piece[]): DraftPage {
  return { field: draft(length), event: undefined, pieces }
}

function ended (event: object, ...pieces: Piece[]): DraftPage {
  const end = { type: 'bot_message', chatId: 'c', id: 'a', status: 'finished', ...event }
  return { field: undefined, event: JSON.stringify(end), pieces }
}

/** A reader of a store with these pages, one for each read, and the positions that were read. */
function readerOf (...pages: DraftPage[]): { reader: BotMessageReader, positions: number[] } {
  const positions: number[] = []
  const store: Pick<StateStore, 'readDraft'> = {
    readDraft: async (_channel, _draft, from) => {
      positions.push(from)
      return pages.shift() ?? { field: undefined, event: undefined, pieces: [] }
    }
  }
  return { reader: new BotMessageReader(store as StateStore), positions } // The reader reads nothing else.
}

t.test('pages are read one after another, each from the position after the one before', async (t) => {
  const { reader, positions } = readerOf(
    streaming(6, { at: 0, end: 2, content: 'ab' }, { at: 2, end: 3, content: 'c' }),
    streaming(6, { at: 3, end: 6, content: 'def' })
  )
  t.same(await reader.read('c', 'a'), { id: 'a', status: 'streaming', text: 'abcdef' })
  t.same(positions, [0, 3])
})

t.test('what is appended after a bot message was opened is left out', async (t) => {
  const { reader } = readerOf(
    streaming(3, { at: 0, end: 2, content: 'ab' }),
    streaming(9, { at: 2, end: 3, content: 'c' }, { at: 3, end: 9, content: 'defghi' })
  )
  t.equal((await reader.read('c', 'a'))?.text, 'abc')
  const { reader: joined } = readerOf(
    streaming(3, { at: 0, end: 2, content: 'ab' }), streaming(9, { at: 0, end: 9, content: 'abcdefghi' })
  )
  t.equal((await joined.read('c', 'a'))?.text, 'abc', 'also of a piece that goes beyond it')
  const value = JSON.stringify({ format: 'chunks', startedAt: 1 })
  const { reader: chunks } = readerOf({
    field: draft(2, value), event: undefined, pieces: [{ at: 0, end: 3, content: ',{"n":0},{"n":1},{"n":2}' }]
  })
  t.same((await chunks.read('c', 'a'))?.chunks, [{ n: 0 }, { n: 1 }])
})

t.test('a bot message that ends while it is read is whole', async (t) => {
  const { reader } = readerOf(
    streaming(3, { at: 0, end: 2, content: 'ab' }), ended({ at: 3, text: '' }, { at: 2, end: 3, content: 'c' })
  )
  t.match(await reader.read('c', 'a'), { text: 'abc' })
  const short = readerOf(streaming(3, { at: 0, end: 2, content: 'ab' }), ended({ at: 0, text: 'abc' }))
  t.match(await short.reader.read('c', 'a'), { text: 'abc' })
})

t.test('a first piece may begin before the position, of a text and of chunks', async (t) => {
  const text = readerOf(streaming(4, { at: 0, end: 4, content: 'abcd' }))
  const opened = await text.reader.open('c', 'a', 2)
  for await (const content of opened?.contents() ?? []) t.equal(content, 'cd')
  const page = ended({ at: 3, chunks: [] }, { at: 0, end: 3, content: ',{"n":0},{"n":1},{"n":2}' })
  const chunks = await readerOf(page).reader.open('c', 'a', 2)
  for await (const content of chunks?.contents() ?? []) t.equal(content, ',{"n":2}')
})

t.test('a bot message whose content is lost is not found, or breaks off with an error', async (t) => {
  t.equal(await readerOf(streaming(3)).reader.read('c', 'a'), undefined)
  t.equal(await readerOf(ended({ at: 3, text: '' })).reader.read('c', 'a'), undefined)
  t.match(await readerOf(streaming(0)).reader.read('c', 'a'), { status: 'streaming', text: '' })
  const first = streaming(3, { at: 0, end: 2, content: 'ab' })
  await t.rejects(readerOf(first, streaming(3)).reader.read('c', 'a'), { code: 'RT_BOT_MESSAGE_NOT_FOUND' })
  await t.rejects(readerOf(first).reader.read('c', 'a'), { code: 'RT_BOT_MESSAGE_NOT_FOUND' })
})

t.test('a header that Redis has lost counts as that of a text', async (t) => {
  const { reader } = readerOf({
    field: draft(2, ''), event: undefined, pieces: [{ at: 0, end: 2, content: 'ab' }]
  })
  t.same(await reader.read('c', 'a'), { id: 'a', status: 'streaming', text: 'ab' })
})

t.test('the newest bot message is the one that was started last, of those in progress', async (t) => {
  const header = (startedAt: number, protocol?: string): string => {
    return JSON.stringify({ format: 'chunks', protocol, startedAt })
  }
  const fields = new Map<string, Field>([
    ['presence:x', { value: '1', expired: false }],
    ['answer:value', { value: '1', expired: false }],
    ['answer:second', draft(0, header(2, 'ui-message'))],
    ['answer:third', draft(0, header(3))],
    ['answer:first', draft(0, header(1, 'ui-message'))],
    ['answer:dead', draft(0, header(9, 'ui-message'), true)]
  ])
  const pages = [fields, fields, undefined].map((fields) => ({ version: undefined, fields }))
  const store: Pick<StateStore, 'read'> = { read: async () => pages.shift() ?? { version: undefined, fields } }
  const reader = new BotMessageReader(store as StateStore) // It reads nothing else.
  t.equal(await reader.newest('c'), 'third')
  t.equal(await reader.newest('c', 'ui-message'), 'second')
  t.equal(await reader.newest('c'), undefined)
  t.equal(await reader.newest('c', 'other'), undefined)
})
