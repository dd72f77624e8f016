import t from 'tap'
import type { BotMessagePiece } from '../../../lib/index.ts'
import type { EventStream } from '../../support/event-stream.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { setups } from './setups.ts'
import { open } from './sides.ts'

t.beforeEach(nothingUnhandled)

/** Values that a JSON codec other than that of JavaScript changes. */
const CHUNKS = [
  { type: 'start', list: [], object: {}, nested: { list: [[]] } },
  { big: 9_007_199_254_740_991, small: -0.1, exponent: 1e300, one: 1.0 },
  { lone: '\ud800', control: '\u0000\u2028\r\n', emoji: '😀', empty: '' },
  JSON.parse('{"__proto__":{"a":1},"null":null}') as object,
  { value: ['an', 'array', null, true] }
]

/** Applies pieces by the one rule until the bot message has ended. Returns its content and the events. */
async function chunksOf (stream: EventStream): Promise<{ chunks: unknown[], events: BotMessagePiece[] }> {
  const events: BotMessagePiece[] = []
  for (let chunks: unknown[] = []; ;) {
    const { event, data } = await stream.next()
    if (event !== 'bot_message') continue
    const piece = data as BotMessagePiece
    events.push(piece)
    chunks = [...chunks.slice(0, piece.at), ...piece.chunks ?? []]
    if (piece.status !== 'streaming') return { chunks, events }
  }
}

for (const [name, setup] of Object.entries(setups)) {
  t.test(name, async (t) => {
    t.beforeEach(nothingUnhandled)

    t.test('chunks arrive as they were, in the pieces, in the end and as a whole', async (t) => {
      const { one, two } = await setup(t)
      const { stream } = await open(t, two)
      const meta = { bot: 'b', replyTo: { id: 5 } }
      const botMessage = await one.app.chatEvents.startBotMessage('c', { id: 'a', format: 'chunks', meta })
      for (const chunk of CHUNKS) await botMessage.append(chunk)
      t.match(await two.app.chatEvents.getBotMessage('c', 'a'), { id: 'a', status: 'streaming', meta })
      await botMessage.finish({ tokens: 5 })
      const { chunks, events } = await chunksOf(stream)
      t.same(chunks, CHUNKS)
      t.ok(events.every(({ id, meta: given }) => id === 'a' && JSON.stringify(given) === JSON.stringify(meta)))
      t.same(events.at(-1), {
        type: 'bot_message', chatId: 'c', id: 'a', status: 'finished', meta, at: 0, chunks: CHUNKS, extra: { tokens: 5 }
      })
      const whole = await two.app.chatEvents.getBotMessage('c', 'a')
      t.same(whole, { id: 'a', status: 'finished', meta, chunks: CHUNKS, extra: { tokens: 5 } })
      t.equal(JSON.stringify(whole?.chunks), JSON.stringify(CHUNKS))
    })

    t.test('the chunks of a source are streamed', async (t) => {
      const { one, two } = await setup(t)
      const { stream } = await open(t, two)
      const source = async function * (): AsyncGenerator<object> { yield * CHUNKS }
      const result = await one.app.chatEvents.streamBotMessage('c', source, { id: 'a', format: 'chunks' })
      t.same(result, { id: 'a', status: 'finished' })
      t.same((await chunksOf(stream)).chunks, CHUNKS)
    })

    t.test('a chunk has its own limit of bytes', async (t) => {
      const { one, two } = await setup(t, { maxPayloadBytes: 200 })
      const { stream } = await open(t, two)
      const botMessage = await one.app.chatEvents.startBotMessage('c', { format: 'chunks' })
      await t.rejects(botMessage.append({ text: 'x'.repeat(200) }), { code: 'RT_PAYLOAD_TOO_LARGE', statusCode: 413 })
      const chunks = Array.from({ length: 10 }, (_, n) => ({ n, text: 'x'.repeat(150) }))
      for (const chunk of chunks) await botMessage.append(chunk)
      await botMessage.finish()
      const ended = await chunksOf(stream)
      t.same(ended.chunks, chunks)
      t.match(ended.events.at(-1), { status: 'finished', at: 10, chunks: [] }, 'the end repeats nothing')
      t.same((await two.app.chatEvents.getBotMessage('c', botMessage.id))?.chunks, chunks)
    })
  })
}

t.test('text in a bot message of chunks is refused, and the other way round', async (t) => {
  const { one: { app: { chatEvents } } } = await (setups['in one process'] as NonNullable<typeof setups[string]>)(t)
  const chunks = await chatEvents.startBotMessage('c', { format: 'chunks' })
  for (const wrong of ['text', ['list'], [{}], 5, null, undefined]) {
    await t.rejects(chunks.append(wrong as never), { code: 'RT_PAYLOAD_INVALID' })
  }
  const text = await chatEvents.startBotMessage('c')
  await t.rejects(text.append({ type: 'text' }), { code: 'RT_PAYLOAD_INVALID', message: /format: 'chunks'/ })
  const words = async function * (): AsyncGenerator<string> { yield 'text' }
  await t.rejects(chatEvents.streamBotMessage('c', words, { format: 'chunks' }), { code: 'RT_PAYLOAD_INVALID' })
})

t.test('wrong options are refused before the bot message starts', async (t) => {
  const { one: { app: { chatEvents } } } = await (setups['in one process'] as NonNullable<typeof setups[string]>)(t)
  for (const [options, message] of [
    [{ format: 'json' }, /`options\.format` to be 'text' or 'chunks', got string/],
    [{ protocol: 'two words' }, /`options\.protocol`/],
    [{ protocol: 5 }, /`options\.protocol`/],
    [{ meta: 'text' }, /`options\.meta` to be an object, got string/],
    [{ meta: [] }, /`options\.meta` to be an object, got an array/],
    [{ meta: { text: 'é'.repeat(2_048) } }, /`options\.meta` takes 4107 of at most 4096 bytes/]
  ] as const) {
    await t.rejects(chatEvents.startBotMessage('c', options as object), { code: 'RT_OPTION_INVALID', message })
  }
  await t.rejects(chatEvents.startBotMessage('c', { meta: { n: 1n } }), { code: 'RT_PAYLOAD_INVALID' })
  const meta = { list: [1] }
  const botMessage = await chatEvents.startBotMessage('c', { meta, protocol: 'ui-message' })
  meta.list.push(2)
  await botMessage.append('text')
  await botMessage.finish()
  t.same((await chatEvents.getBotMessage('c', botMessage.id))?.meta, { list: [1] }, 'the data as it was at the start')
})
