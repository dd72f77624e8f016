import t from 'tap'
import type { BotMessage, BotMessageFormat } from '../../../lib/index.ts'
import { InstanceProcess } from '../../support/instance-process.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { apart } from './apart.ts'
import { LongReader } from './long-reader.ts'
import { setups, type Setup } from './setups.ts'
import { say } from './sides.ts'

t.beforeEach(nothingUnhandled)
t.setTimeout(120_000)

const FIVE_MB = 5_000_000
/** How much is appended at a time. */
const STEP = 100_000

const overRedis = setups['over Redis'] as Setup

t.test('5 MB of text pass between two instances, whole, to early and late readers', async (t) => {
  const { one, two } = await overRedis(t)
  const early = await LongReader.open(t, two.url)
  const botMessage = await one.app.chatEvents.startBotMessage('c', { id: 'a', meta: { bot: 'b' } })
  let late: LongReader | undefined
  let text = ''
  for (let n = 0; text.length < FIVE_MB; n++) {
    const next = `${1_000 + n}é😀\n`.repeat(STEP / 8)
    text += next
    await botMessage.append(next)
    await early.reaches(text.length)
    if (text.length === FIVE_MB / 2) late = await LongReader.open(t, two.url)
  }
  await botMessage.finish({ tokens: 9 })
  for (const reader of [early, late]) {
    const end = { status: 'finished', meta: { bot: 'b' }, at: text.length, text: '', extra: { tokens: 9 } }
    t.match(await reader?.end, end)
    t.ok(reader?.text === text, 'every byte has arrived')
    t.ok((reader?.largest ?? Infinity) <= 262_144, `no piece is above 256 kB: ${reader?.largest}`)
  }
  t.ok((late?.fetches ?? 0) > 0, 'a late reader fetches what it missed')
  t.ok((await two.app.chatEvents.getBotMessage('c', 'a'))?.text === text)
})

t.test('5 MB of chunks pass between two instances, whole', async (t) => {
  const { one, two } = await overRedis(t)
  const early = await LongReader.open(t, two.url)
  const botMessage = await one.app.chatEvents.startBotMessage('c', { id: 'a', format: 'chunks' })
  const chunks: unknown[] = []
  for (let size = 0; size < FIVE_MB; size += STEP) {
    for (let n = 0; n < 100; n++) {
      const chunk = { n: chunks.length, list: [], delta: 'é😀'.repeat(170) }
      chunks.push(chunk)
      botMessage.append(chunk)
    }
    await early.reaches(chunks.length)
  }
  await botMessage.finish()
  t.match(await early.end, { status: 'finished', at: chunks.length, chunks: [] })
  t.ok(JSON.stringify(early.chunks) === JSON.stringify(chunks), 'every chunk has arrived')
  t.ok(early.largest <= 262_144, `no piece is above 256 kB: ${early.largest}`)
  const whole = await two.app.chatEvents.getBotMessage('c', 'a')
  t.ok(JSON.stringify(whole?.chunks) === JSON.stringify(chunks))
})

for (const [name, setup] of Object.entries(setups)) {
  t.test(`${name}, a text that is appended at once passes in pieces of limited size`, async (t) => {
    const { one, two } = await setup(t, { maxBufferedBytes: 20_000_000 })
    const reader = await LongReader.open(t, two.url)
    const botMessage = await one.app.chatEvents.startBotMessage('c', { id: 'a' })
    const text = 'x' + '\u0001'.repeat(300_000) + '😀'.repeat(200_000) + '\u001f😀'.repeat(100_000)
    await botMessage.append(text)
    await botMessage.finish()
    t.match(await reader.end, { status: 'finished', at: text.length, text: '' })
    t.ok(reader.text === text)
    t.ok(reader.largest <= 262_144, `no piece is above 256 kB: ${reader.largest}`)
  })

  t.test(`${name}, pieces and ends keep their limit however large an event may be`, async (t) => {
    const { one, two } = await setup(t, { maxPayloadBytes: 16_000_000, maxBufferedBytes: 20_000_000 })
    const text = '\u0001'.repeat(300_000)
    const chunks = Array.from({ length: 1_000 }, (_, n) => ({ n, text: '€'.repeat(200) }))
    for (const [format, additions] of Object.entries({ text: [text], chunks })) {
      const reader = await LongReader.open(t, two.url)
      const botMessage = await one.app.chatEvents.startBotMessage('c', { format: format as BotMessageFormat })
      for (const addition of additions) botMessage.append(addition)
      await botMessage.finish()
      const { at } = await reader.end
      t.equal(at, reader.length, `the end repeats nothing of the ${format}`)
      t.ok(reader.largest <= 262_144, `no piece is above 256 kB: ${reader.largest}`)
      t.ok(reader.text === (format === 'text' ? text : ''))
      t.same(reader.chunks.length, format === 'text' ? 0 : 1_000)
    }
    const reader = await LongReader.open(t, two.url)
    const botMessage = await one.app.chatEvents.startBotMessage('c', { format: 'chunks' })
    for (const chunk of [{ n: 1 }, { large: 'x'.repeat(400_000) }, { n: 2 }]) botMessage.append(chunk)
    await botMessage.finish()
    await reader.end
    t.ok(reader.largest > 400_000, 'a chunk cannot be cut')
    t.match(reader.chunks, [{ n: 1 }, { large: /^x+$/ }, { n: 2 }])
  })

  t.test(`${name}, an extra that a piece cannot carry is refused, and the bot message ends without it`, async (t) => {
    const { one, two } = await setup(t, { maxPayloadBytes: 16_000_000, maxBufferedBytes: 20_000_000 })
    const much = 'é'.repeat(131_072)
    for (const [format, addition, content] of [
      ['text', 'one', { text: 'one two' }], ['chunks', { n: 1 }, { chunks: [{ n: 1 }, { n: 2 }] }]
    ] as const) {
      const reader = await LongReader.open(t, two.url)
      const botMessage = await one.app.chatEvents.startBotMessage('c', { format })
      await botMessage.append(addition)
      await t.rejects(botMessage.finish({ much }), {
        code: 'RT_BOT_MESSAGE_EXTRA_TOO_LARGE', statusCode: 413, message: /would take 262\d{3} of at most 262144 bytes/
      })
      await botMessage.append(format === 'text' ? ' two' : { n: 2 })
      t.same(await botMessage.finish({ much: much.slice(1_000) }), { status: 'finished' }, 'one that fits is sent')
      t.match(await reader.end, { status: 'finished', extra: { much: much.slice(1_000) } })
      t.match(reader, content)
      t.ok(reader.largest <= 262_144, `no piece is above 256 kB: ${reader.largest}`)
    }
    const reader = await LongReader.open(t, two.url)
    const botMessage = await one.app.chatEvents.startBotMessage('c')
    await botMessage.append('one')
    t.same(await botMessage.fail(much), { status: 'failed' })
    const end = await reader.end
    t.match(end, { status: 'failed', at: 0, text: 'one' }, 'a description that is too long is left out')
    t.equal(end.error, undefined)
    await t.rejects(one.app.chatEvents.streamBotMessage('c', say('one', ' two'), { id: 'b', extra: { much } }), {
      code: 'RT_BOT_MESSAGE_EXTRA_TOO_LARGE'
    })
    t.match(await two.app.chatEvents.getBotMessage('c', 'b'), { status: 'failed', text: 'one two' })
  })

  t.test(`${name}, a late reader fetches a text whose JSON would be too large for a piece`, async (t) => {
    const { one, two } = await setup(t)
    const early = await LongReader.open(t, two.url)
    const botMessage = await one.app.chatEvents.startBotMessage('c')
    for (const text of ['\u0001'.repeat(30_000), '\u0001'.repeat(30_000)]) {
      await botMessage.append(text)
      await early.reaches(text.length)
    }
    await early.reaches(60_000)
    const late = await LongReader.open(t, two.url)
    await late.reaches(60_000)
    await botMessage.finish()
    for (const reader of [early, late]) {
      await reader.end
      t.ok(reader.text === '\u0001'.repeat(60_000))
      t.ok(reader.largest <= 262_144, `no piece is above 256 kB: ${reader.largest}`)
    }
    t.same([early.fetches, late.fetches], [0, 1])
  })

  t.test(`${name}, an end that fits repeats all of the content, and one that does not repeats nothing`, async (t) => {
    const { one, two } = await setup(t, { maxPayloadBytes: 1_000 })
    const cases = [['short', 800, true], ['long', 1_001, false], ['border', 950, false]] as const
    for (const [id, length, isWhole] of cases) {
      const reader = await LongReader.open(t, two.url)
      const botMessage = await one.app.chatEvents.startBotMessage('c', { id })
      const text = 'x'.repeat(length)
      await botMessage.append(text)
      await botMessage.finish()
      const end = await reader.end
      t.match(end, isWhole ? { at: 0, text } : { at: length, text: '' }, id)
      t.ok(Buffer.byteLength(JSON.stringify(end)) <= 1_000)
      t.equal(reader.text, text, id)
      t.match(await two.app.chatEvents.getBotMessage('c', id), { status: 'finished', text }, id)
    }
  })
}

t.test('a long bot message of which Redis loses everything is written again, and ends whole', async (t) => {
  const { one, two, admin } = await apart(t)
  const reader = await LongReader.open(t, two.url)
  const botMessage = await one.app.chatEvents.startBotMessage('c', { id: 'a' })
  let text = ''
  for (let n = 0; n < 6; n++) {
    if (n === 3) await admin.flushall()
    const next = `${n} é `.repeat(STEP / 5)
    text += next
    await botMessage.append(next)
    await reader.reaches(text.length)
  }
  t.same(await botMessage.finish(), { status: 'finished' })
  t.match(await reader.end, { status: 'finished', at: text.length, text: '' })
  t.ok(reader.text === text, 'a reader has all of it')
  const whole = await two.app.chatEvents.getBotMessage('c', 'a')
  t.equal(whole?.status, 'finished')
  t.ok(whole?.text === text, 'and so has Redis')
})

t.test('content that Redis has deleted is written again before the end', async (t) => {
  const { one, two, admin } = await apart(t)
  const reader = await LongReader.open(t, two.url)
  const botMessage = await one.app.chatEvents.startBotMessage('c', { id: 'a' })
  const text = 'é'.repeat(STEP)
  await botMessage.append(text)
  await reader.reaches(text.length)
  const streams = (await admin.keys('*')).filter((key) => key.includes('answer'))
  t.equal(streams.length, 1, 'the key of the content')
  await admin.del(...streams)
  t.same(await botMessage.finish(), { status: 'finished' })
  t.match(await reader.end, { status: 'finished', at: text.length, text: '' })
  t.ok((await two.app.chatEvents.getBotMessage('c', 'a'))?.text === text)
})

t.test('a long bot message whose producer is killed ends as interrupted, and its content can be fetched', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const env = { REDIS_URL: redis.url, REALTIME: JSON.stringify({ botMessageLeaseMs: 1_000 }) }
  const [producer, other] = await InstanceProcess.startAll(t, 2, env) as [InstanceProcess, InstanceProcess]
  const readers = await Promise.all([0, 1].map(() => LongReader.open(t, other.url)))
  await fetch(`${producer.url}/api/chats/c/answers`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ id: 'a', count: 100_000, everyMs: 5, filler: 5_000 })
  })
  for (const reader of readers) await reader.reaches(300_000)
  await producer.kill()
  for (const reader of readers) {
    const end = await reader.end
    t.match(end, { status: 'interrupted', text: '' })
    t.equal(end.at, reader.text.length)
    const whole = await (await fetch(`${other.url}/api/chats/c/bot-messages/a`)).json() as BotMessage
    t.equal(whole.status, 'interrupted')
    t.ok(whole.text === reader.text)
    const numbers = reader.text.match(/\d+/g)?.map(Number) ?? []
    t.ok(numbers.length > 50 && numbers.every((number, n) => number === n + 1), 'no part is missing')
  }
})
