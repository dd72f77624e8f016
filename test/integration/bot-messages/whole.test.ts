import t from 'tap'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { text as textOf } from 'node:stream/consumers'
import type { BotMessage } from '../../../lib/index.ts'
import { LocalPubSub } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import { setups, type Setup } from './setups.ts'
import { instance, open, say, type Side } from './sides.ts'

t.beforeEach(nothingUnhandled)

const inOneProcess = setups['in one process'] as Setup

/** Requests a bot message as a client does. */
async function request (side: Side, path: string): Promise<{ status: number, cache: string | null, body: unknown }> {
  const response = await fetch(`${side.url}/api/chats/c/bot-messages/${path}`)
  return { status: response.status, cache: response.headers.get('cache-control'), body: await response.json() }
}

for (const [name, setup] of Object.entries(setups)) {
  t.test(name, async (t) => {
    t.beforeEach(nothingUnhandled)

    t.test('a text can be fetched while it is streamed and after its end, also from a position on', async (t) => {
      const { one, two } = await setup(t)
      const { stream, reader } = await open(t, two)
      const meta = { bot: 'b' }
      const botMessage = await one.app.chatEvents.startBotMessage('c', { id: 'a', meta })
      t.same((await request(two, 'a')).body, { id: 'a', status: 'streaming', meta, text: '' })
      await botMessage.append('one ')
      await botMessage.append('😀')
      await reader.text(stream, 'a', 'one 😀')
      const streaming = { id: 'a', status: 'streaming', meta }
      t.same(await request(two, 'a'), { status: 200, cache: 'no-store', body: { ...streaming, text: 'one 😀' } })
      t.same((await request(two, 'a?at=2')).body, { ...streaming, at: 2, text: 'e 😀' })
      t.same((await request(two, 'a?at=5')).body, { ...streaming, at: 5, text: '\ude00' })
      t.same((await request(two, 'a?at=6')).body, { ...streaming, at: 6, text: '' })
      t.same((await request(two, 'a?at=7')).body, { ...streaming, at: 0, text: 'one 😀' }, 'from the beginning')
      await botMessage.fail('Sorry')
      const failed = { id: 'a', status: 'failed', meta, error: 'Sorry' }
      t.same(await request(two, 'a'), { status: 200, cache: 'no-store', body: { ...failed, text: 'one 😀' } })
      t.same((await request(two, 'a?at=4')).body, { ...failed, at: 4, text: '😀' })
      t.same((await request(two, 'a?at=6')).body, { ...failed, at: 6, text: '' })
      t.same((await request(two, 'a?at=99')).body, { ...failed, at: 0, text: 'one 😀' })
    })

    t.test('chunks can be fetched, also from a position on', async (t) => {
      const { one, two } = await setup(t)
      const botMessage = await one.app.chatEvents.startBotMessage('c', { id: 'a', format: 'chunks' })
      const chunks = [{ n: 0, list: [] }, { n: 1, lone: '\ud800' }, { n: 2 }]
      t.same((await request(two, 'a')).body, { id: 'a', status: 'streaming', chunks: [] })
      for (const chunk of chunks) botMessage.append(chunk)
      await until(async () => (await request(two, 'a')).body, (body) => (body as BotMessage).chunks?.length === 3)
      for (const status of ['streaming', 'finished']) {
        t.same((await request(two, 'a')).body, { id: 'a', status, chunks })
        for (const at of [0, 1, 2, 3]) {
          t.same((await request(two, `a?at=${at}`)).body, { id: 'a', status, at, chunks: chunks.slice(at) })
        }
        t.same((await request(two, 'a?at=4')).body, { id: 'a', status, at: 0, chunks })
        await botMessage.finish()
      }
    })

    t.test('a long one is whole after its end, from any position', async (t) => {
      const { one, two } = await setup(t, { maxPayloadBytes: 100 })
      const text = Array.from({ length: 100 }, (_, n) => `${n} 😀 `).join('')
      const words = async function * (): AsyncGenerator<string> { yield * say(...text.split(/(?<= )/)) }
      await one.app.chatEvents.streamBotMessage('c', words, { id: 'a' })
      const head = { id: 'a', status: 'finished' }
      t.same((await request(two, 'a')).body, { ...head, text })
      t.same(await two.app.chatEvents.getBotMessage('c', 'a'), { ...head, text })
      for (const at of [1, 17, text.length - 1, text.length]) {
        t.same((await request(two, `a?at=${at}`)).body, { ...head, at, text: text.slice(at) })
      }
      t.same((await request(two, `a?at=${text.length + 1}`)).body, { ...head, at: 0, text })
    })

    t.test('a handler of the end reads the whole bot message, once on each instance', async (t) => {
      const { one, two } = await setup(t, { maxPayloadBytes: 100 })
      const sides = [...new Set([one, two])]
      const read: (BotMessage | undefined)[] = []
      for (const { app: { chatEvents } } of sides) {
        chatEvents.onChatEvent('c', async (event) => {
          if (event.type === 'bot_message') read.push(await chatEvents.getBotMessage('c', event.id))
        })
        await until(async () => chatEvents.stats(), ({ remoteSubscriptions }) => remoteSubscriptions > 0)
      }
      const botMessage = await one.app.chatEvents.startBotMessage('c', { id: 'a' })
      for (let n = 0; n < 10; n++) await botMessage.append('x'.repeat(50))
      await botMessage.finish()
      await until(async () => read.length, (count) => count === sides.length)
      t.same(read, sides.map(() => ({ id: 'a', status: 'finished', text: 'x'.repeat(500) })))
      await one.app.chatEvents.emitChatMessage('c', {})
      t.equal(read.length, sides.length)
    })

    t.test('without an id, the bot message that was started last is stopped', async (t) => {
      const { one, two } = await setup(t)
      await two.app.chatEvents.stopBotMessage('c')
      const stopped = async (signal: AbortSignal): Promise<void> => { if (!signal.aborted) await once(signal, 'abort') }
      const first = await one.app.chatEvents.startBotMessage('c', { id: 'first' })
      const second = await one.app.chatEvents.startBotMessage('c', { id: 'second' })
      const other = await one.app.chatEvents.startBotMessage('other', { id: 'third' })
      await two.app.chatEvents.stopBotMessage('c')
      await stopped(second.signal)
      t.equal(first.signal.aborted, false)
      t.same(await second.finish(), { status: 'stopped' })
      await two.app.chatEvents.stopBotMessage('c')
      await stopped(first.signal)
      t.same(await first.finish(), { status: 'stopped' })
      await two.app.chatEvents.stopBotMessage('c')
      t.equal(other.signal.aborted, false)
    })
  })
}

t.test('an unknown bot message is a 404 with a code, a wrong position or id a 400', async (t) => {
  const one = await startApp(t, {}, { server: { routerOptions: { maxParamLength: 200 } } })
  t.match(await request(one, 'none'), { status: 404, body: { code: 'RT_BOT_MESSAGE_NOT_FOUND' } })
  t.equal(await one.app.chatEvents.getBotMessage('c', 'none'), undefined)
  await one.app.chatEvents.streamBotMessage('c', say('text'), { id: 'a' })
  for (const at of ['-1', '1.5', 'x', '', '1e3', '1'.repeat(16), '1&at=2']) {
    t.match(await request(one, `a?at=${at}`), { status: 400, body: { code: 'RT_POSITION_INVALID' } }, at)
  }
  t.match(await request(one, 'x'.repeat(129)), { status: 400, body: { code: 'RT_BOT_MESSAGE_ID_INVALID' } })
  await t.rejects(one.app.chatEvents.getBotMessage('c', ''), { code: 'RT_BOT_MESSAGE_ID_INVALID' })
  await t.rejects(one.app.chatEvents.getBotMessage('', 'a'), { code: 'RT_CHAT_ID_INVALID' })
})

t.test('a client without access gets 403 for any id', async (t) => {
  const { one } = await inOneProcess(t, { authorize: ({ headers }) => headers.cookie === 'ok' })
  await one.app.chatEvents.streamBotMessage('c', say('text'), { id: 'a' })
  for (const path of ['a', 'none', 'a?at=x']) {
    t.match(await request(one, path), { status: 403, body: { code: 'RT_FORBIDDEN' } }, path)
  }
  const response = await fetch(`${one.url}/api/chats/c/bot-messages/a`, { headers: { cookie: 'ok' } })
  t.match(await response.json(), { text: 'text' })
})

t.test('without a state of chats, no bot message can be read or stopped without its id', async (t) => {
  const chatEvents = instance(t, new LocalPubSub({ history: false }))
  await t.rejects(chatEvents.getBotMessage('c', 'a'), { code: 'RT_STATE_UNAVAILABLE' })
  await t.rejects(chatEvents.stopBotMessage('c'), { code: 'RT_STATE_UNAVAILABLE' })
})

t.test('a long one is read in pages, as fast as the client reads', async (t) => {
  const { one, two } = await (setups['over Redis'] as Setup)(t)
  const text = Array.from({ length: 300_000 }, (_, n) => `${n} é `).join('').slice(0, 2_000_000)
  const botMessage = await one.app.chatEvents.startBotMessage('c', { id: 'a' })
  await botMessage.append(text)
  await botMessage.finish()
  const { state } = two.app.pubsub as LocalPubSub
  if (state === undefined) return t.fail('there is no state')
  const readDraft = state.readDraft.bind(state)
  const pages: number[] = []
  state.readDraft = async (...args) => {
    const page = await readDraft(...args)
    pages.push(page.pieces.reduce((sum, { content }) => sum + Buffer.byteLength(content), 0))
    return page
  }
  const [response] = await once(get(`${two.url}/api/chats/c/bot-messages/a`), 'response') as [IncomingMessage]
  response.pause()
  // The sockets and streams between take what they can, and then nothing is read until the client reads.
  let before = -1
  await until(async () => pages.length, (count) => {
    const still = count === before
    before = count
    return still
  })
  t.ok(Math.max(...pages) <= 262_144, `pages of ${Math.max(...pages)} bytes`)
  t.equal((JSON.parse(await textOf(response)) as BotMessage).text, text)
  t.ok(pages.length >= 8, `${pages.length} pages`)
})
