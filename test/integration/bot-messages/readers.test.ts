import t from 'tap'
import { LocalPubSub, type ChatEvent, type StateStore } from '../../../lib/index.ts'
import { asOwn } from '../../../lib/pubsub/publisher.ts'
import { startApp } from '../../support/app.ts'
import { BotMessageReader } from '../../support/bot-message-reader.ts'
import { EventStream } from '../../support/event-stream.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import { setups } from './setups.ts'
import { type Side, open, say } from './sides.ts'

t.beforeEach(nothingUnhandled)

for (const [name, setup] of Object.entries(setups)) {
  t.test(name, async (t) => {
    t.beforeEach(nothingUnhandled)

    t.test('an early reader gets each piece and the end, a late one the text so far and then the rest', async (t) => {
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
      const end = {
        type: 'bot_message',
        chatId: 'c',
        id: 'a',
        status: 'finished',
        at: 0,
        text: 'Once upon a time',
        extra: { tokens: 3 }
      }
      for (const { stream, reader } of [early, late]) {
        t.same(await reader.end(stream), end)
        t.same(reader.faults, [])
      }
      t.same(early.reader.pieces.map(({ at, text }) => [at, text]).filter(([, text]) => text !== ''), [
        [0, 'Once '], [5, 'upon '], [10, 'a time']
      ])
      const after = await open(t, one)
      await one.app.chatEvents.emitChatMessage('c', { n: 1 })
      t.match(await after.stream.next(), { event: /^message$/ }, 'a later reader sees nothing of it')
      const rewound = await open(t, one, 'c', '?rewind=10')
      t.match(await rewound.stream.next(), { event: 'bot_message', data: end }, 'but in the log')
      t.match(await rewound.stream.next(), { event: /^message$/ })
    })

    t.test('a reloaded page and a client that changes instances continue with the bot message', async (t) => {
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
      t.equal(reader.pieces.length, 0, 'a reader that missed the end gets only the end')
    })

    t.test('an idempotency key of a client neither prevents the start of a bot message nor ends it', async (t) => {
      const { one, two } = await setup(t)
      const { stream, reader } = await open(t, two)
      for (const idempotencyKey of [
        'bot_message:a', 'bot_message:b', 'finalization bot_message:a', 'c:bot_message:a'
      ]) {
        t.match(await two.app.chatEvents.emitChatMessage('c', { n: 1 }, { idempotencyKey }), { duplicate: false })
      }
      const botMessage = await one.app.chatEvents.startBotMessage('c', { id: 'a' })
      await botMessage.append('Once')
      await two.app.chatEvents.emitChatMessage('c', { n: 2 }, { idempotencyKey: 'bot_message:a' })
      t.same(await botMessage.finish(), { status: 'finished' })
      t.match(await reader.end(stream), { id: 'a', status: 'finished', text: 'Once' })
      t.match(await two.app.chatEvents.emitChatMessage('c', { n: 3 }, { idempotencyKey: 'answer:a' }), {
        duplicate: false
      })
    })

    t.test('bot message ids and texts of any kind arrive unchanged', async (t) => {
      const { one, two } = await setup(t)
      const { stream, reader } = await open(t, two)
      const text = ['', '\r\n\r\nid: 1\ndata: x\n\n', '\0', '\u2028', '', ' = + ', '\udc00', '{"id":']
      const ids = ['__proto__', 'a\r\nb', '\0', ' ', '%41', 'A', '=a', '0=a', '😀'.repeat(64)]
      await Promise.all(ids.map((id) => one.app.chatEvents.streamBotMessage('c', say(...text), { id })))
      for (let n = 0; n < ids.length; n++) {
        t.match(await reader.end(stream), { status: 'finished', text: text.join('') })
      }
      t.same([...reader.ends.keys()].sort(), [...ids].sort())
      t.same(reader.faults, [])
    })

    t.test('several bot messages at a time are independent', async (t) => {
      const { one, two } = await setup(t)
      const { stream, reader } = await open(t, two)
      const other = await open(t, two, 'other')
      const answers = await Promise.all(['a', 'b', 'c'].map((id, n) => {
        return (n % 2 === 0 ? one : two).app.chatEvents.startBotMessage('c', { id })
      }))
      for (let n = 0; n < 20; n++) for (const botMessage of answers) botMessage.append(`${botMessage.id}${n} `)
      await Promise.all(answers.map((botMessage) => botMessage.finish()))
      for (let n = 0; n < 3; n++) await reader.end(stream)
      for (const { id } of answers) {
        t.equal(reader.texts.get(id), Array.from({ length: 20 }, (_, n) => `${id}${n} `).join(''))
      }
      t.same(reader.faults, [])
      await one.app.chatEvents.emitChatMessage('other', {})
      t.match(await other.stream.next(), { event: /^message$/ })
    })

    t.test('on a stream of several chats each has its own bot messages; all continue after a reconnect', async (t) => {
      const { one, two } = await setup(t)
      const chats = ['a', 'b']
      const answers = await Promise.all(chats.map((chatId) => {
        return one.app.chatEvents.startBotMessage(chatId, { id: 'same' })
      }))
      let text = ''
      let id: string | undefined
      for (let n = 0; n < 4; n++) {
        const readers = new Map(chats.map((chatId) => [chatId, new BotMessageReader()]))
        const stream = await EventStream.open(
          t,
          `${(n % 2 === 0 ? one : two).url}/api/chats/events?chat=a&chat=b`,
          id === undefined ? {} : { headers: { 'last-event-id': id } }
        )
        const read = async (): Promise<void> => {
          while (chats.some((chatId) => readers.get(chatId)?.texts.get('same') !== `${chatId}: ${text}`)) {
            const event = await stream.next()
            t.not(event.event, 'reset')
            id = event.id ?? id
            readers.get((event.data as { chatId: string }).chatId)?.take(event)
          }
        }
        if (n > 0) await read()
        await Promise.all(answers.map((botMessage, index) => {
          return botMessage.append(n === 0 ? `${chats[index]}: 0 ` : `${n} `)
        }))
        text += `${n} `
        if (n === 3) await Promise.all(answers.map((botMessage) => botMessage.finish()))
        await read()
        if (n < 3) t.same([...readers.values()].flatMap(({ faults }) => faults), [])
        stream.close()
      }
    })

    t.test('handlers receive only the final message, and an id can be used once', async (t) => {
      const { one, two } = await setup(t)
      const heard: ChatEvent[] = []
      const ended = new Promise<void>((resolve) => {
        two.app.chatEvents.onChatEvent('c', (event) => { heard.push(event); resolve() })
      })
      await until(async () => two.app.chatEvents.stats(), ({ remoteSubscriptions }) => remoteSubscriptions > 0)
      const botMessage = await one.app.chatEvents.startBotMessage('c', { id: 'a' })
      for (const { app } of [one, two]) {
        await t.rejects(app.chatEvents.startBotMessage('c', { id: 'a' }), {
          code: 'RT_BOT_MESSAGE_EXISTS', statusCode: 409
        })
      }
      await botMessage.append('abc')
      await botMessage.fail('No more today.')
      await ended
      t.same(heard, [
        { type: 'bot_message', chatId: 'c', id: 'a', status: 'failed', at: 0, text: 'abc', error: 'No more today.' }
      ])
      await t.rejects(two.app.chatEvents.startBotMessage('c', { id: 'a' }), { code: 'RT_BOT_MESSAGE_EXISTS' })
      t.same(await botMessage.finish(), { status: 'failed' }, 'it ended once')
      await t.rejects(botMessage.append('x'), { code: 'RT_BOT_MESSAGE_ENDED', message: /failed/ })
      t.equal(botMessage.signal.aborted, false)
    })
  })
}

t.test('an app event with the name of a bot message does no harm', async (t) => {
  const { one } = await setups['in one process']?.(t) as { one: Side }
  const { stream, reader } = await open(t, one)
  for (const data of [{ type: 'bot_message' }, { type: 'bot_message', id: 5 }, { type: 'bot_message', id: 'x' }]) {
    await one.app.pubsub.publish('chat:c', data, asOwn())
  }
  await stream.take(3)
  // A state also holds fields that are not bot messages.
  await (one.app.pubsub as LocalPubSub).state?.change('chat:c', {
    operation: 'set', field: 'other', value: '1', leaseMs: 60_000
  })
  const ids = Array.from({ length: 300 }, (_, n) => `${n}`)
  for (const id of ids) await one.app.chatEvents.streamBotMessage('c', say('text'), { id })
  for (const id of ids) t.match(await reader.end(stream), { id, text: 'text' })
  t.same(reader.faults, [])
})

t.test('a bot message that has ended in the log is not sent again, even while the state still has it', async (t) => {
  const pubsub = new LocalPubSub()
  t.teardown(() => pubsub.close())
  const state = pubsub.state as StateStore // It keeps one.
  const watch = state.watch.bind(state)
  let deleted = 0
  state.watch = (channel, listener) => watch(channel, (change) => {
    if (change.operation !== 'delete') return listener(change)
    deleted++
    state.read = () => new Promise(() => {})
  })
  const { app, url } = await startApp(t, { pubsub })
  const early = await open(t, { app, url })
  await app.chatEvents.streamBotMessage('c', say('text'), { id: 'a' })
  await early.reader.end(early.stream)
  t.equal(deleted, 1, 'a change that the room does not learn of')
  const late = await open(t, { app, url })
  await app.chatEvents.emitChatMessage('c', { n: 1 })
  t.equal((await late.stream.next()).event, 'message')
})
