import t, { type Test } from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { ChatEvents, closePubSub, LocalPubSub, RealtimeError, RedisPubSub, startBotMessage, stopBotMessage, streamBotMessage, type BotMessageWriter, type ChatEvent, type PubSubProvider, type RealtimeOptions, type StateStore } from '../../lib/index.ts'
import { silentLogger } from '../../lib/core/logger.ts'
import { asOwn } from '../../lib/pubsub/publisher.ts'
import { BotMessageReader } from '../support/bot-message-reader.ts'
import { startApp } from '../support/app.ts'
import { EventStream } from '../support/event-stream.ts'
import { freePort } from '../support/free-port.ts'
import { keepLog } from '../support/log.ts'
import { LossyProxy } from '../support/lossy-proxy.ts'
import { RedisServer } from '../support/redis-server.ts'
import { nothingUnhandled } from '../support/unhandled.ts'
import { until } from '../support/until.ts'

t.beforeEach(nothingUnhandled)

const LEASE = 900

interface Side { app: FastifyInstance, url: string }

/** Two instances; one and the same without Redis. */
type Setup = (t: Test, options?: RealtimeOptions) => Promise<{ one: Side, two: Side }>

const server = await RedisServer.start()
t.teardown(() => server.stop())
let count = 0

const setups: Record<string, Setup> = {
  'in one process': async (t, options) => {
    const one = await startApp(t, { botMessageWindowMs: 0, botMessageLeaseMs: LEASE, ...options })
    return { one, two: one }
  },
  'over Redis': async (t, options) => {
    const keyPrefix = `rt${count++}:`
    const [one, two] = await Promise.all(['one', 'two'].map((instanceId) => startApp(t, { redisUrl: server.url, keyPrefix, instanceId, botMessageWindowMs: 0, botMessageLeaseMs: LEASE, ...options })))
    return { one, two } as { one: Side, two: Side }
  }
}

/** A client, after its `ready`. */
async function open (t: Test, { url }: Side, chatId = 'c', query = '', lastEventId?: string): Promise<{ stream: EventStream, reader: BotMessageReader }> {
  const stream = await EventStream.open(t, `${url}/api/chats/${chatId}/events${query}`, lastEventId === undefined ? {} : { headers: { 'last-event-id': lastEventId } })
  const reader = new BotMessageReader()
  reader.take(await stream.next())
  return { stream, reader }
}

async function * say (...pieces: string[]): AsyncGenerator<string> {
  yield * pieces
}

for (const [name, setup] of Object.entries(setups)) {
  t.test(name, async (t) => {
    t.beforeEach(nothingUnhandled)

    t.test('who reads along sees each piece, then the end; who comes late sees what there is, then the rest', async (t) => {
      const { one, two } = await setup(t)
      const early = await open(t, two)
      const botMessage = await one.app.chatEvents.startBotMessage('c', { id: 'a' })
      await botMessage.append('Once ')
      await early.reader.text(early.stream, 'a', 'Once ')
      await botMessage.append('upon ')
      await early.reader.text(early.stream, 'a', 'Once upon ')
      const late = await open(t, two)
      await late.reader.text(late.stream, 'a', 'Once upon ')
      t.equal(late.reader.pieces.length, 1, 'one snapshot')
      await botMessage.append('a time')
      t.same(await botMessage.finish({ tokens: 3 }), { status: 'finished' })
      const end = { type: 'bot_message', chatId: 'c', id: 'a', status: 'finished', at: 0, text: 'Once upon a time', extra: { tokens: 3 } }
      for (const { stream, reader } of [early, late]) {
        t.same(await reader.end(stream), end)
        t.same(reader.faults, [])
      }
      t.same(early.reader.pieces.map(({ at, text }) => [at, text]).filter(([, text]) => text !== ''), [[0, 'Once '], [5, 'upon '], [10, 'a time']])
      const after = await open(t, one)
      await one.app.chatEvents.emitChatMessage('c', { n: 1 })
      t.match(await after.stream.next(), { event: 'message' }, 'who comes after it sees nothing of it')
      const rewound = await open(t, one, 'c', '?rewind=10')
      t.match(await rewound.stream.next(), { event: 'bot_message', data: end }, 'but in the log')
      t.match(await rewound.stream.next(), { event: 'message' })
    })

    t.test('a page that is reloaded, and a client that hops, go on with the answer', async (t) => {
      const { one, two } = await setup(t)
      const botMessage = await one.app.chatEvents.startBotMessage('c')
      let text = ''
      let lastId: string | undefined
      for (let n = 0; n < 6; n++) {
        const { stream, reader } = await open(t, n % 2 === 0 ? one : two, 'c', '', lastId)
        if (n > 0) await reader.text(stream, botMessage.id, text)
        await botMessage.append(`${n} é😀 `)
        text += `${n} é😀 `
        await reader.text(stream, botMessage.id, text)
        t.same(reader.faults, [])
        lastId = reader.lastId
        stream.close()
      }
      await botMessage.finish()
      const { stream, reader } = await open(t, two, 'c', '', lastId)
      t.match(await reader.end(stream), { text, status: 'finished' })
      t.equal(reader.pieces.length, 0, 'who missed the end gets just it')
    })

    t.test('whatever idempotency key a client chooses, it neither keeps a bot message from starting nor ends it', async (t) => {
      const { one, two } = await setup(t)
      const { stream, reader } = await open(t, two)
      for (const idempotencyKey of ['bot_message:a', 'bot_message:b', 'finalization bot_message:a', 'c:bot_message:a']) {
        t.match(await two.app.chatEvents.emitChatMessage('c', { n: 1 }, { idempotencyKey }), { duplicate: false })
      }
      const botMessage = await one.app.chatEvents.startBotMessage('c', { id: 'a' })
      await botMessage.append('Once')
      await two.app.chatEvents.emitChatMessage('c', { n: 2 }, { idempotencyKey: 'bot_message:a' })
      t.same(await botMessage.finish(), { status: 'finished' })
      t.match(await reader.end(stream), { id: 'a', status: 'finished', text: 'Once' })
      t.match(await two.app.chatEvents.emitChatMessage('c', { n: 3 }, { idempotencyKey: 'answer:a' }), { duplicate: false })
    })

    t.test('ids and texts of any kind arrive as they are', async (t) => {
      const { one, two } = await setup(t)
      const { stream, reader } = await open(t, two)
      const text = ['', '\r\n\r\nid: 1\ndata: x\n\n', '\0', '\u2028', '', ' = + ', '\udc00', '{"id":']
      const ids = ['__proto__', 'a\r\nb', '\0', ' ', '%41', 'A', '=a', '0=a', '😀'.repeat(64)]
      await Promise.all(ids.map((id) => one.app.chatEvents.streamBotMessage('c', say(...text), { id })))
      for (let n = 0; n < ids.length; n++) t.match(await reader.end(stream), { status: 'finished', text: text.join('') })
      t.same([...reader.ends.keys()].sort(), [...ids].sort())
      t.same(reader.faults, [])
    })

    t.test('several answers at a time don\'t meet', async (t) => {
      const { one, two } = await setup(t)
      const { stream, reader } = await open(t, two)
      const other = await open(t, two, 'other')
      const answers = await Promise.all(['a', 'b', 'c'].map((id, n) => (n % 2 === 0 ? one : two).app.chatEvents.startBotMessage('c', { id })))
      for (let n = 0; n < 20; n++) for (const botMessage of answers) botMessage.append(`${botMessage.id}${n} `)
      await Promise.all(answers.map((botMessage) => botMessage.finish()))
      for (let n = 0; n < 3; n++) await reader.end(stream)
      for (const { id } of answers) t.equal(reader.texts.get(id), Array.from({ length: 20 }, (_, n) => `${id}${n} `).join(''))
      t.same(reader.faults, [])
      await one.app.chatEvents.emitChatMessage('other', {})
      t.match(await other.stream.next(), { event: 'message' })
    })

    t.test('on a stream of several chats each chat has answers of its own, and a hop goes on with all of them', async (t) => {
      const { one, two } = await setup(t)
      const chats = ['a', 'b']
      const answers = await Promise.all(chats.map((chatId) => one.app.chatEvents.startBotMessage(chatId, { id: 'same' })))
      let text = ''
      let id: string | undefined
      for (let n = 0; n < 4; n++) {
        const readers = new Map(chats.map((chatId) => [chatId, new BotMessageReader()]))
        const stream = await EventStream.open(t, `${(n % 2 === 0 ? one : two).url}/api/chats/events?chat=a&chat=b`, id === undefined ? {} : { headers: { 'last-event-id': id } })
        const read = async (): Promise<void> => {
          while (chats.some((chatId) => readers.get(chatId)?.texts.get('same') !== `${chatId}: ${text}`)) {
            const event = await stream.next()
            t.not(event.event, 'reset')
            id = event.id ?? id
            readers.get((event.data as { chatId: string }).chatId)?.take(event)
          }
        }
        if (n > 0) await read()
        await Promise.all(answers.map((botMessage, index) => botMessage.append(n === 0 ? `${chats[index]}: 0 ` : `${n} `)))
        text += `${n} `
        if (n === 3) await Promise.all(answers.map((botMessage) => botMessage.finish()))
        await read()
        if (n < 3) t.same([...readers.values()].flatMap(({ faults }) => faults), [])
        stream.close()
      }
    })

    t.test('handlers hear of the end only, and an id is good for one answer', async (t) => {
      const { one, two } = await setup(t)
      const heard: ChatEvent[] = []
      const ended = new Promise<void>((resolve) => { two.app.chatEvents.onChatEvent('c', (event) => { heard.push(event); resolve() }) })
      await until(async () => two.app.chatEvents.stats(), ({ remoteSubscriptions }) => remoteSubscriptions > 0)
      const botMessage = await one.app.chatEvents.startBotMessage('c', { id: 'a' })
      for (const { app } of [one, two]) await t.rejects(app.chatEvents.startBotMessage('c', { id: 'a' }), { code: 'RT_BOT_MESSAGE_EXISTS', statusCode: 409 })
      await botMessage.append('abc')
      await botMessage.fail('No more today.')
      await ended
      t.same(heard, [{ type: 'bot_message', chatId: 'c', id: 'a', status: 'failed', at: 0, text: 'abc', error: 'No more today.' }])
      await t.rejects(two.app.chatEvents.startBotMessage('c', { id: 'a' }), { code: 'RT_BOT_MESSAGE_EXISTS' })
      t.same(await botMessage.finish(), { status: 'failed' }, 'it has ended once')
      await t.rejects(botMessage.append('x'), { code: 'RT_BOT_MESSAGE_ENDED', message: /failed/ })
      t.equal(botMessage.signal.aborted, false)
    })

    t.test('what a source gives is streamed and finished', async (t) => {
      const { one, two } = await setup(t)
      const { stream, reader } = await open(t, two)
      const result = await one.app.chatEvents.streamBotMessage('c', say('To be', ' or not', ' to be'), { id: 'a', extra: { tokens: 3 } })
      t.same(result, { id: 'a', status: 'finished' })
      t.match(await reader.end(stream), { text: 'To be or not to be', extra: { tokens: 3 } })
      let tokens = 0
      await one.app.chatEvents.streamBotMessage('c', async () => say('x'), { extra: () => ({ tokens: ++tokens }) })
      t.match(await reader.end(stream), { text: 'x', extra: { tokens: 1 } })
      t.same(reader.faults, [])
    })

    t.test('a source that throws fails the answer; the reader is told what the app says, and the app gets the error', async (t) => {
      const { one, two } = await setup(t)
      const { stream, reader } = await open(t, two)
      const broken = async function * (): AsyncGenerator<string> {
        yield 'Once'
        throw new Error('secret')
      }
      await t.rejects(one.app.chatEvents.streamBotMessage('c', broken()), { message: 'secret' })
      const { error, ...end } = await reader.end(stream)
      t.match(end, { status: 'failed', text: 'Once' })
      t.equal(error, undefined)
      await t.rejects(one.app.chatEvents.streamBotMessage('c', broken, { describeError: (error) => `Sorry: ${(error as Error).message.length}` }), { message: 'secret' })
      t.match(await reader.end(stream), { status: 'failed', error: 'Sorry: 6' })
      await t.rejects(one.app.chatEvents.streamBotMessage('c', () => { throw new Error('at once') }), { message: 'at once' })
      t.match(await reader.end(stream), { status: 'failed', text: '' })
      await t.rejects(one.app.chatEvents.streamBotMessage('c', (() => 5) as never), { code: 'RT_OPTION_INVALID', message: /`source\(signal\)`.*got number\. Return/ })
    })

    t.test('a source that can\'t be one is refused before anything is begun, and one that yields no text fails with what it yielded', async (t) => {
      const { one } = await setup(t)
      const { stream, reader } = await open(t, one)
      const { chatEvents } = one.app
      for (const [wrong, kind] of [[undefined, 'undefined'], [null, 'null'], ['text', 'string'], [['text'], 'an array'], [Buffer.from('text'), 'object'], [{}, 'object']]) {
        await t.rejects(chatEvents.streamBotMessage('c', wrong as never), { code: 'RT_OPTION_INVALID', message: `Expected \`source\` to be an async iterable of strings, or a function that returns one, got ${kind}. Use startBotMessage and append for text that is there already.` })
      }
      for (const [piece, kind] of [[{ choices: [] }, 'object'], [undefined, 'undefined'], [Buffer.from('text'), 'bytes'], [['text'], 'an array']]) {
        const id = `${kind}`
        const source = async function * (): AsyncGenerator<unknown> { yield piece }
        await t.rejects(chatEvents.streamBotMessage('c', source as never, { id }), { code: 'RT_PAYLOAD_INVALID', message: new RegExp(`^\`source\` must yield strings, got ${kind}\\. Yield only the text`) })
        t.match(await reader.end(stream), { id, status: 'failed', text: '' })
      }
      t.equal(reader.ends.size, 4, 'and of the others there is no trace')
    })

    t.test('any instance stops an answer: its signal aborts, and readers are told; a reader who leaves stops nothing', async (t) => {
      const { one, two } = await setup(t)
      const { stream, reader } = await open(t, two)
      const leaving = await open(t, one)
      const botMessage = await one.app.chatEvents.startBotMessage('c')
      await botMessage.append('Once ')
      await reader.text(stream, botMessage.id, 'Once ')
      leaving.stream.close()
      await botMessage.append('upon')
      await reader.text(stream, botMessage.id, 'Once upon')
      t.equal(botMessage.signal.aborted, false)
      const aborted = new Promise((resolve) => botMessage.signal.addEventListener('abort', resolve))
      await two.app.chatEvents.stopBotMessage('other', botMessage.id)
      await two.app.chatEvents.stopBotMessage('c', botMessage.id)
      await aborted
      t.match(botMessage.signal.reason, { code: 'RT_BOT_MESSAGE_ENDED', message: /stopped/ })
      await t.rejects(botMessage.append(' a time'), { code: 'RT_BOT_MESSAGE_ENDED' })
      t.same(await botMessage.finish(), { status: 'stopped' })
      t.match(await reader.end(stream), { status: 'stopped', text: 'Once upon' })
      await two.app.chatEvents.stopBotMessage('c', botMessage.id)
      t.same(reader.faults, [])
    })

    t.test('a source that is stopped ends the answer, whether it listens, throws or hangs', async (t) => {
      const { one, two } = await setup(t)
      const { stream, reader } = await open(t, two)
      const sources = {
        listens: async function * (signal: AbortSignal) { yield 'x'; await new Promise((resolve) => signal.addEventListener('abort', resolve)) },
        throws: async function * (signal: AbortSignal) { yield 'x'; await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('aborted')))) },
        hangs: async function * () { yield 'x'; await new Promise(() => {}) }
      }
      for (const [id, source] of Object.entries(sources)) {
        const streamed = one.app.chatEvents.streamBotMessage('c', source, { id, extra: () => { throw new Error('It is not complete') } })
        await reader.text(stream, id, 'x')
        await two.app.chatEvents.stopBotMessage('c', id)
        t.same(await streamed, { id, status: 'stopped' })
        t.match(await reader.end(stream), { id, status: 'stopped', text: 'x' })
      }
    })

    t.test('an app that closes interrupts its answers at once', async (t) => {
      const { one, two } = await setup(t, { botMessageLeaseMs: 60_000 })
      if (one === two) return t.pass('nobody is left to be told')
      const { stream, reader } = await open(t, two)
      const botMessage = await one.app.chatEvents.startBotMessage('c')
      await botMessage.append('Once')
      await one.app.close()
      t.match(botMessage.signal.reason, { code: 'RT_BOT_MESSAGE_ENDED' })
      t.match(await reader.end(stream), { status: 'interrupted', text: 'Once' })
    })

    t.test('pieces that come within the window are one; the first one comes at once', async (t) => {
      const { one, two } = await setup(t, { botMessageWindowMs: 100 })
      const { stream, reader } = await open(t, two)
      const botMessage = await one.app.chatEvents.startBotMessage('c')
      for (let n = 0; n < 100; n++) botMessage.append(`${n} `)
      const text = Array.from({ length: 100 }, (_, n) => `${n} `).join('')
      await reader.text(stream, botMessage.id, text)
      t.same(reader.pieces.map(({ text }) => text).filter(Boolean), ['0 ', text.slice(2)])
      await botMessage.append('never written as a piece')
      await botMessage.finish()
      await reader.end(stream)
      t.equal(reader.pieces.filter(({ text }) => text !== '').length, 2)
    })

    t.test('no piece holds half of a character', async (t) => {
      const { one, two } = await setup(t)
      const { stream, reader } = await open(t, two)
      const botMessage = await one.app.chatEvents.startBotMessage('c')
      await botMessage.append('a\ud83d')
      await reader.text(stream, botMessage.id, 'a')
      await botMessage.append('\ude00b')
      await reader.text(stream, botMessage.id, 'a😀b')
      await botMessage.append('\ud83d')
      await botMessage.finish()
      t.equal((await reader.end(stream)).text, 'a😀b\ud83d')
    })

    t.test('an answer is as long as an event may be, with all that it takes in JSON', async (t) => {
      const { one, two } = await setup(t, { maxPayloadBytes: 200 })
      const { stream, reader } = await open(t, two)
      const botMessage = await one.app.chatEvents.startBotMessage('c', { id: 'a' })
      let text = ''
      for (let tooLong = false; !tooLong;) {
        await botMessage.append('"é').then(() => { text += '"é' }, (error) => { tooLong = (error as RealtimeError).code === 'RT_PAYLOAD_TOO_LARGE' })
      }
      await t.rejects(botMessage.finish({ much: 'x'.repeat(200) }), { code: 'RT_PAYLOAD_TOO_LARGE' })
      await t.rejects(botMessage.finish({ n: 1n }), { code: 'RT_PAYLOAD_INVALID' })
      t.same(await botMessage.finish(), { status: 'finished' })
      const end = await reader.end(stream)
      t.equal(end.text, text)
      t.ok(Buffer.byteLength(JSON.stringify(end)) > 190)
    })
  })
}

/** An instance without a server. */
function instance (t: Test, pubsub: PubSubProvider, options = {}): ChatEvents {
  t.teardown(() => pubsub.close())
  return new ChatEvents(pubsub, { log: silentLogger, retryMs: 0, botMessageWindowMs: 0, botMessageLeaseMs: LEASE, ...options })
}

t.test('wrong input is refused by name', async (t) => {
  const chatEvents = instance(t, new LocalPubSub())
  for (const id of ['', 'x'.repeat(129), '\ud800', 5, null]) {
    await t.rejects(chatEvents.startBotMessage('c', { id: id as string }), { code: 'RT_BOT_MESSAGE_ID_INVALID', statusCode: 400 })
    await t.rejects(chatEvents.stopBotMessage('c', id as string), { code: 'RT_BOT_MESSAGE_ID_INVALID' })
  }
  await t.rejects(chatEvents.startBotMessage(''), { code: 'RT_CHAT_ID_INVALID' })
  await t.rejects(chatEvents.stopBotMessage('', 'a'), { code: 'RT_CHAT_ID_INVALID' })
  const botMessage = await chatEvents.startBotMessage('c')
  for (const text of [undefined, null, 5, {}]) await t.rejects(botMessage.append(text as never), { code: 'RT_PAYLOAD_INVALID' })
  botMessage.append(5 as never)
})

t.test('without history, or with a provider that keeps no state, answers can\'t be streamed', async (t) => {
  const bare: PubSubProvider = new LocalPubSub({ history: false })
  await t.rejects(instance(t, bare).startBotMessage('c'), { code: 'RT_STATE_UNAVAILABLE', statusCode: 500 })
  await t.rejects(instance(t, bare).streamBotMessage('c', say('x')), { code: 'RT_STATE_UNAVAILABLE' })
})

t.test('an answer that is found to be over twice at the same time ends once', async (t) => {
  const pubsub = new LocalPubSub()
  const chatEvents = instance(t, pubsub, { botMessageLeaseMs: 60_000 })
  const botMessage = await chatEvents.startBotMessage('c', { id: 'a' })
  const { channel } = botMessage
  const state = pubsub.state as StateStore // History is on here.
  await state.renew(channel, ['answer:a'], -1)
  await state.finalize(channel, { field: 'answer:a', event: {}, key: 'bot_message:a' })
  let aborts = 0
  botMessage.signal.addEventListener('abort', () => { aborts++ })
  await Promise.all([1, 2].map(() => botMessage.renewed('another epoch', true, 0)))
  t.equal(aborts, 1)
  t.same(await botMessage.fail(), { status: 'interrupted' })
  const other = await chatEvents.startBotMessage('c', { id: 'b' })
  await state.change(channel, { operation: 'delete', field: 'answer:b' })
  t.same(await other.finish(), { status: 'interrupted' }, 'also where whoever ended it did so too long ago to be known')
})

t.test('what is heard of the lease of an answer that is over is not told to the state', async (t) => {
  const pubsub = new LocalPubSub()
  const botMessage = await instance(t, pubsub, { botMessageLeaseMs: 60_000 }).startBotMessage('c', { id: 'a' })
  const state = pubsub.state as StateStore // History is on here.
  const change = state.change.bind(state)
  let changes = 0
  state.change = (...args) => {
    changes++
    return change(...args)
  }
  await state.renew(botMessage.channel, ['answer:a'], -1)
  await state.finalize(botMessage.channel, { field: 'answer:a', event: {}, key: 'bot_message:a' })
  await botMessage.renewed('another epoch', true, 0)
  t.equal(botMessage.signal.aborted, true)
  t.equal(changes, 1, 'it tried to go on')
  await botMessage.renewed('another epoch', true, 0)
  t.equal(changes, 1)
})

t.test('a source that can\'t be told of its end may throw then', async (t) => {
  const chatEvents = instance(t, new LocalPubSub())
  const source = {
    [Symbol.asyncIterator]: () => ({ next: () => delay(1, { done: false, value: 'x' }), return: () => { throw new Error('thrown at the end') } })
  }
  const streamed = chatEvents.streamBotMessage('c', source as AsyncIterable<string>, { id: 'a' })
  await delay(20)
  await chatEvents.stopBotMessage('c', 'a')
  t.match(await streamed, { status: 'stopped' })
  const late = chatEvents.streamBotMessage('c', async () => {
    await chatEvents.stopBotMessage('c', 'b')
    throw new Error('It is stopped')
  }, { id: 'b' })
  t.match(await late, { status: 'stopped' }, 'that is no failure')
})

t.test('an answer whose source has failed ends, whatever is said of it', async (t) => {
  const { log, text, line } = keepLog()
  const chatEvents = instance(t, new LocalPubSub({ maxPayloadBytes: 1_000 }), { log, maxPayloadBytes: 1_000 })
  const ends: ChatEvent[] = []
  chatEvents.onChatEvent('c', (event) => { ends.push(event) })
  const failing = async function * (): AsyncGenerator<string> {
    yield 'Once'
    throw new Error('broken')
  }
  const descriptions = {
    throws: () => { throw new Error('no words') },
    rejects: () => Promise.reject(new Error('no words')),
    late: async () => 'Sorry',
    long: () => 'x'.repeat(2_000),
    error: () => Object.assign(new Error(), { headers: { authorization: 'hunter2' } })
  }
  for (const [id, describeError] of Object.entries(descriptions)) {
    await t.rejects(chatEvents.streamBotMessage('c', failing, { id, describeError: describeError as () => string }), { message: 'broken' })
  }
  t.match(await line('describeError failed'), { chatId: 'c' })
  const botMessage = await chatEvents.startBotMessage('c', { id: 'by hand' })
  t.same(await botMessage.fail(Object.assign(new Error(), { secret: 'hunter2' }) as never), { status: 'failed' })
  await until(async () => ends.length, (count) => count === 6)
  t.same(ends.map((end) => end.type === 'bot_message' && [end.id, end.status, end.error]), [...Object.keys(descriptions).map((id) => [id, 'failed', id === 'late' ? 'Sorry' : undefined]), ['by hand', 'failed', undefined]])
  t.notMatch(text() + JSON.stringify(ends), 'hunter2')
})

t.test('what goes along with the end may take a while, or fail', async (t) => {
  const chatEvents = instance(t, new LocalPubSub())
  t.match(await chatEvents.streamBotMessage('c', say('x'), { extra: async () => ({}) }), { status: 'finished' })
  await t.rejects(chatEvents.streamBotMessage('c', say('x'), { extra: () => Promise.reject(new Error('no count')) }), { message: 'no count' })
})

t.test('a source that is stopped before it gives anything to read ends the answer', async (t) => {
  const chatEvents = instance(t, new LocalPubSub())
  let rejectLater: ((error: Error) => void) | undefined
  let status: string | undefined
  chatEvents.streamBotMessage('c', () => new Promise((_resolve, reject) => { rejectLater = reject }), { id: 'a' }).then((end) => { status = end.status })
  await until(async () => rejectLater, Boolean)
  await chatEvents.stopBotMessage('c', 'a')
  await until(async () => status, Boolean)
  t.equal(status, 'stopped')
  rejectLater?.(new Error('late'))
  const opening = chatEvents.streamBotMessage('c', () => { t.fail('asked for nothing'); return say() }, { id: 'b' })
  await chatEvents.stopBotMessage('c', 'b')
  t.same(await opening, { id: 'b', status: 'stopped' })
})

t.test('an answer that can\'t end with so much goes on where it was', async (t) => {
  const { one, two } = await setups['over Redis']?.(t, { botMessageWindowMs: 300 }) as { one: Side, two: Side }
  const { stream, reader } = await open(t, two)
  const botMessage = await one.app.chatEvents.startBotMessage('c')
  botMessage.append('Once')
  await reader.text(stream, botMessage.id, 'Once')
  botMessage.append(' upon a time')
  await t.rejects(botMessage.finish({ much: 'x'.repeat(100_000) } as object), { code: 'RT_PAYLOAD_TOO_LARGE' })
  await reader.text(stream, botMessage.id, 'Once upon a time')
  await botMessage.finish()
})

t.test('an answer is told how it ended, also where an attempt failed', async (t) => {
  const pubsub = new LocalPubSub()
  const chatEvents = instance(t, pubsub, { botMessageLeaseMs: 100 })
  const state = pubsub.state as StateStore // History is on here.
  const [finalize, renew] = [state.finalize.bind(state), state.renew.bind(state)]
  const known = await chatEvents.startBotMessage('c', { id: 'known' })
  state.finalize = async (...args) => {
    state.finalize = finalize
    await finalize(...args)
    throw new RealtimeError('RT_PUBLISH_UNKNOWN', 'the reply was lost')
  }
  await t.rejects(known.finish(), { code: 'RT_PUBLISH_UNKNOWN' })
  let renewals = 0
  state.renew = (...args) => renew(...args).finally(() => { renewals++ })
  await until(async () => renewals, Boolean)
  t.same(await known.finish(), { status: 'finished' })
  t.equal(known.signal.aborted, false)
  const late = await chatEvents.startBotMessage('c', { id: 'late' })
  state.renew = () => new Promise(() => {})
  state.finalize = async () => {
    state.finalize = finalize
    throw new RealtimeError('RT_PUBLISH_REJECTED', 'Redis was not connected')
  }
  await t.rejects(late.finish(), { code: 'RT_PUBLISH_REJECTED' })
  await renew(late.channel, ['answer:late'], -1)
  await finalize(late.channel, { field: 'answer:late', event: {}, key: 'bot_message:late' })
  t.same(await late.finish(), { status: 'interrupted' }, 'somebody else was quicker')
})

t.test('an answer that ends while it begins leaves no timer', async (t) => {
  const chatEvents = instance(t, new LocalPubSub())
  const { setInterval, clearInterval } = globalThis
  t.teardown(() => { Object.assign(globalThis, { setInterval, clearInterval }) })
  const running = new Set<unknown>()
  Object.assign(globalThis, {
    setInterval: (callback: () => void, ms: number) => {
      const timer = setInterval(callback, ms)
      if (ms === LEASE / 3) running.add(timer)
      return timer
    },
    clearInterval: (timer: NodeJS.Timeout) => {
      running.delete(timer)
      clearInterval(timer)
    }
  })
  const beginning = chatEvents.startBotMessage('c')
  chatEvents.interruptBotMessages()
  t.equal((await beginning).signal.aborted, true)
  t.equal(running.size, 0)
  await chatEvents.startBotMessage('c')
  t.equal(running.size, 1)
  chatEvents.interruptBotMessages()
  t.equal(running.size, 0)
})

t.test('outside Fastify', async (t) => {
  t.teardown(closePubSub)
  const botMessage = await startBotMessage('c', { id: 'a' })
  await botMessage.append('x')
  await stopBotMessage('c', 'a')
  t.equal(botMessage.signal.aborted, true)
  t.match(await streamBotMessage('c', say('x', 'y')), { status: 'finished' })
})

t.test('who publishes anything under the name of an answer harms nobody', async (t) => {
  const { one } = await setups['in one process']?.(t) as { one: Side }
  const { stream, reader } = await open(t, one)
  for (const data of [{ type: 'bot_message' }, { type: 'bot_message', id: 5 }, { type: 'bot_message', id: 'x' }]) await one.app.pubsub.publish('chat:c', data, asOwn())
  await stream.take(3)
  // A state is for more than answers.
  await (one.app.pubsub as LocalPubSub).state?.change('chat:c', { operation: 'set', field: 'other', value: '1', leaseMs: 60_000 })
  const ids = Array.from({ length: 300 }, (_, n) => `${n}`)
  for (const id of ids) await one.app.chatEvents.streamBotMessage('c', say('text'), { id })
  for (const id of ids) t.match(await reader.end(stream), { id, text: 'text' })
  t.same(reader.faults, [])
})

/** Two instances over a Redis of their own, the first one behind a proxy, and a reader on each. */
async function apart (t: Test, options: RealtimeOptions = {}, args: string[] = []): Promise<{ redis: RedisServer, proxy: LossyProxy, one: Side, two: Side, admin: Redis }> {
  const redis = await RedisServer.start({ args })
  t.teardown(() => redis.stop())
  const proxy = await LossyProxy.start(t, redis.port)
  const [one, two] = await Promise.all([proxy.port, redis.port].map((port, n) => startApp(t, { redisUrl: `redis://127.0.0.1:${port}`, instanceId: `i${n}`, botMessageWindowMs: 0, botMessageLeaseMs: LEASE, ...options })))
  // What a test does to Redis shall find them connected.
  for (const side of [one, two]) await until(async () => await side?.app.pubsub.isHealthy(), (healthy) => healthy === true)
  const admin = new Redis(redis.url)
  admin.on('error', () => {})
  t.teardown(() => { admin.disconnect() })
  return { redis, proxy, one, two, admin } as Awaited<ReturnType<typeof apart>>
}

/** Makes an answer's lease run out without its producer knowing, once all of it is written: that renews it. */
async function expire (admin: Redis, botMessage: BotMessageWriter, pieces = 1): Promise<void> {
  await until(() => admin.hget('rt:{chat:c}:f', `=answer%3A${botMessage.id}`), (record) => record?.startsWith(`t ${pieces + 1} `) === true)
  await admin.zadd('rt:{chat:c}:l', 1, `answer%3A${botMessage.id}`)
}

t.test('an answer whose lease has run out is interrupted once, by whoever finds it; its producer is told and can\'t go on', async (t) => {
  const { one, two, admin } = await apart(t, { botMessageLeaseMs: 60_000 })
  const readers = await Promise.all([one, two, one, two].map((side) => open(t, side)))
  const botMessage = await one.app.chatEvents.startBotMessage('c')
  await botMessage.append('Once')
  for (const { stream, reader } of readers) await reader.text(stream, botMessage.id, 'Once')
  await expire(admin, botMessage)
  for (const { stream, reader } of readers) t.match(await reader.end(stream), { status: 'interrupted', text: 'Once' })
  await botMessage.append(' upon')
  await until(async () => botMessage.signal.aborted, Boolean)
  t.match(botMessage.signal.reason, { code: 'RT_BOT_MESSAGE_ENDED', message: /interrupted/ })
  await t.rejects(botMessage.append('x'), { code: 'RT_BOT_MESSAGE_ENDED' })
  t.same(await botMessage.finish(), { status: 'interrupted' })
  await one.app.chatEvents.emitChatMessage('c', {})
  for (const { stream, reader } of readers) {
    t.match(await stream.next(), { event: 'message' })
    t.same(reader.faults, [])
  }
})

t.test('who finishes an answer that was interrupted is told so', async (t) => {
  const { one, two, admin } = await apart(t, { botMessageLeaseMs: 60_000 })
  const { stream, reader } = await open(t, two)
  const botMessage = await one.app.chatEvents.startBotMessage('c')
  await botMessage.append('Once')
  await expire(admin, botMessage)
  t.match(await reader.end(stream), { status: 'interrupted' })
  t.same(await botMessage.finish(), { status: 'interrupted' })
  t.ok(botMessage.signal.aborted)
})

t.test('whoever opens a chat finds an answer that was left there', async (t) => {
  const { one, two, admin } = await apart(t, { botMessageLeaseMs: 60_000 })
  const botMessage = await one.app.chatEvents.startBotMessage('c')
  await botMessage.append('Once')
  await expire(admin, botMessage)
  // It may have been interrupted before the stream begins.
  const { stream, reader } = await open(t, two, 'c', '?rewind=1')
  t.match(await reader.end(stream), { status: 'interrupted', text: 'Once' })
})

t.test('a producer without a sign of life is given up after its lease, and one that renews it is not', async (t) => {
  const { one, two } = await apart(t)
  const { stream, reader } = await open(t, two)
  const alive = await one.app.chatEvents.startBotMessage('c', { id: 'alive' })
  await one.app.chatEvents.startBotMessage('c', { id: 'alive too' })
  const { state } = one.app.pubsub as RedisPubSub & { state: StateStore }
  await state.change('chat:c', { operation: 'open', field: 'answer:dead', value: 'Once', leaseMs: LEASE, owner: 'a process that was killed', key: 'bot_message:dead' })
  const since = performance.now()
  t.match(await reader.end(stream), { id: 'dead', status: 'interrupted', text: 'Once' })
  t.ok(performance.now() - since >= LEASE * 0.9)
  await delay(2 * LEASE)
  await alive.append('still here')
  await alive.finish()
  t.match(await reader.end(stream), { id: 'alive', status: 'finished', text: 'still here' })
})

t.test('a producer that slept learns by its first append that it is over', async (t) => {
  const { one, two } = await apart(t, { botMessageLeaseMs: 100 })
  const { stream, reader } = await open(t, two)
  const { state } = one.app.pubsub as RedisPubSub & { state: StateStore }
  const renew = state.renew.bind(state)
  const botMessage = await one.app.chatEvents.startBotMessage('c')
  await botMessage.append('Once')
  state.renew = () => new Promise(() => {})
  t.match(await reader.end(stream), { status: 'interrupted' })
  await t.rejects(botMessage.append(' upon'), { code: 'RT_BOT_MESSAGE_ENDED' })
  t.ok(botMessage.signal.aborted)
  state.renew = renew
  const second = await one.app.chatEvents.startBotMessage('c')
  state.renew = () => new Promise(() => {})
  t.match(await reader.end(stream), { status: 'interrupted' })
  state.renew = renew
  await until(async () => second.signal.aborted, Boolean)
  t.pass('or by renewing its lease')
})

t.test('while Redis is away pieces pile up into one, and go on when it is back without its data', async (t) => {
  const { redis, one, two } = await apart(t)
  const { stream, reader } = await open(t, two)
  const botMessage = await one.app.chatEvents.startBotMessage('c')
  await botMessage.append('Once ')
  await reader.text(stream, botMessage.id, 'Once ')
  await redis.kill()
  for (let n = 0; n < 50; n++) botMessage.append(`${n} `)
  await delay(1_200)
  await redis.restart()
  const text = `Once ${Array.from({ length: 50 }, (_, n) => `${n} `).join('')}`
  await reader.text(stream, botMessage.id, text)
  await botMessage.append('end')
  t.same(await botMessage.finish(), { status: 'finished' })
  t.match(await reader.end(stream), { text: `${text}end` })
  t.ok(reader.pieces.length < 10, `${reader.pieces.length} pieces`)
})

t.test('an answer that is finished after Redis has lost it is in the log all the same', async (t) => {
  const { one, two, admin } = await apart(t)
  const botMessage = await one.app.chatEvents.startBotMessage('c')
  await botMessage.append('Once')
  await admin.flushall()
  const { stream, reader } = await open(t, two)
  t.same(await botMessage.finish(), { status: 'finished' })
  t.match(await reader.end(stream), { text: 'Once', status: 'finished' })
  const second = await one.app.chatEvents.startBotMessage('c')
  await admin.flushall()
  await until(() => admin.exists('rt:{chat:c}:f'), Boolean)
  t.pass('and one that goes on is put back')
  await second.finish()
})

t.test('what can\'t be ended while Redis is away is ended when it is back', async (t) => {
  const { redis, one, two } = await apart(t, { publishTimeoutMs: 500 }, ['--appendonly', 'yes', '--appendfsync', 'always'])
  const answers = await Promise.all([0, 1].map((n) => one.app.chatEvents.startBotMessage('c', { id: `${n}` }))) as [BotMessageWriter, BotMessageWriter]
  for (const botMessage of answers) await botMessage.append('Once')
  await redis.kill()
  await Promise.all([t.rejects(answers[0].finish(), { code: /RT_PUBLISH/ }), t.rejects(answers[1].stop('stopped'), { code: /RT_PUBLISH/ })])
  await t.rejects(answers[0].append('x'), { code: 'RT_BOT_MESSAGE_ENDED' })
  await redis.restart()
  const { stream, reader } = await open(t, two, 'c', '?rewind=10')
  for (let n = 0; n < 2; n++) await reader.end(stream)
  t.same([...reader.ends.values()].flat().map(({ id, status, text }) => [id, status, text]).sort(), [['0', 'finished', 'Once'], ['1', 'stopped', 'Once']])
  t.same(await answers[0].finish(), { status: 'finished' })
})

t.test('an end whose reply is lost is the end', async (t) => {
  const { proxy, one, two } = await apart(t)
  const { stream, reader } = await open(t, two)
  const botMessage = await one.app.chatEvents.startBotMessage('c')
  await botMessage.append('Once')
  const lost = proxy.loseReplyTo('the very end')
  const finished = botMessage.finish({ say: 'the very end' })
  await lost
  t.same(await finished, { status: 'finished' })
  t.match(await reader.end(stream), { status: 'finished' })
  const second = await one.app.chatEvents.startBotMessage('c')
  const pieceLost = proxy.loseReplyTo('a piece')
  const appended = second.append('a piece')
  await pieceLost
  await appended
  await second.append(' and more')
  await reader.text(stream, second.id, 'a piece and more')
  t.same(reader.faults, [])
})

t.test('a piece that Redis refuses is tried again, and logged once', async (t) => {
  const { log, lines } = keepLog()
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const admin = new Redis(redis.url)
  t.teardown(() => { admin.disconnect() })
  const pubsub = new RedisPubSub({ url: redis.url })
  const chatEvents = instance(t, pubsub, { log, botMessageLeaseMs: 60_000 })
  const botMessage = await chatEvents.startBotMessage('c')
  await admin.config('SET', 'maxmemory', '1')
  botMessage.append('x')
  await until(async () => lines, (lines) => lines.length > 0)
  botMessage.append('y')
  await delay(1_100)
  await admin.config('SET', 'maxmemory', '0')
  await until(async () => (await (pubsub.state as StateStore).read('chat:c')).fields?.get(`answer:${botMessage.id}`)?.value, (value) => value === 'xy')
  t.match(lines, [{ chatId: 'c', code: 'RT_PUBLISH_REJECTED', msg: 'A piece of a bot message could not be written, trying again' }])
  t.equal(lines.length, 1)
  botMessage.append('z')
  await pubsub.close()
  botMessage.append('!')
  await until(async () => botMessage.signal.aborted, Boolean)
})

t.test('an answer that can\'t be interrupted now is interrupted later', async (t) => {
  const { one, admin } = await apart(t, { botMessageLeaseMs: 60_000 })
  const { stream, reader } = await open(t, one)
  const botMessage = await one.app.chatEvents.startBotMessage('c')
  const { state } = one.app.pubsub as RedisPubSub & { state: StateStore }
  const finalize = state.finalize.bind(state)
  let fails = 0
  state.finalize = (...args) => fails++ === 0 ? Promise.reject(new Error('away')) : finalize(...args)
  await expire(admin, botMessage, 0)
  t.match(await reader.end(stream), { status: 'interrupted' })
  t.equal(fails, 2)
})

t.test('where Redis can not be reached from the start, a bot message is refused like any publish', async (t) => {
  const pubsub = new RedisPubSub({ url: `redis://127.0.0.1:${await freePort()}`, publishTimeoutMs: 100 })
  t.teardown(() => pubsub.close())
  const chatEvents = new ChatEvents(pubsub, { log: silentLogger, retryMs: 0 })
  t.teardown(() => chatEvents.cleanupChatSubscriptions())
  await t.rejects(chatEvents.startBotMessage('c'), { code: 'RT_PUBLISH_REJECTED' })
})
