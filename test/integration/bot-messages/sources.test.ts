import t from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { LocalPubSub, type ChatEvent } from '../../../lib/index.ts'
import { inTime } from '../../support/in-time.ts'
import { keepLog } from '../../support/log.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import { setups } from './setups.ts'
import { open, say, instance } from './sides.ts'

t.beforeEach(nothingUnhandled)

for (const [name, setup] of Object.entries(setups)) {
  t.test(name, async (t) => {
    t.beforeEach(nothingUnhandled)

    t.test('the text of a source is streamed and finished', async (t) => {
      const { one, two } = await setup(t)
      const { stream, reader } = await open(t, two)
      const result = await one.app.chatEvents.streamBotMessage('c', say('To be', ' or not', ' to be'), {
        id: 'a', extra: { tokens: 3 }
      })
      t.same(result, { id: 'a', status: 'finished' })
      t.match(await reader.end(stream), { text: 'To be or not to be', extra: { tokens: 3 } })
      let tokens = 0
      await one.app.chatEvents.streamBotMessage('c', async () => say('x'), { extra: () => ({ tokens: ++tokens }) })
      t.match(await reader.end(stream), { text: 'x', extra: { tokens: 1 } })
      t.same(reader.faults, [])
    })

    t.test('a ReadableStream is a source, also one that a function returns', async (t) => {
      const { one, two } = await setup(t)
      const { stream, reader } = await open(t, two)
      const streamed = (): ReadableStream<string> => ReadableStream.from(['To be', ' or not'])
      t.match(await one.app.chatEvents.streamBotMessage('c', streamed(), { id: 'a' }), { status: 'finished' })
      t.match(await reader.end(stream), { id: 'a', text: 'To be or not' })
      t.match(await one.app.chatEvents.streamBotMessage('c', streamed, { id: 'b' }), { status: 'finished' })
      t.match(await reader.end(stream), { id: 'b', text: 'To be or not' })
    })

    t.test('if a source throws, the bot message fails with the app\'s text, and the app gets the error', async (t) => {
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
      await t.rejects(
        one.app.chatEvents.streamBotMessage('c', broken, {
          describeError: (error) => `Sorry: ${(error as Error).message.length}`
        }),
        { message: 'secret' }
      )
      t.match(await reader.end(stream), { status: 'failed', error: 'Sorry: 6' })
      await t.rejects(one.app.chatEvents.streamBotMessage('c', () => { throw new Error('at once') }), {
        message: 'at once'
      })
      t.match(await reader.end(stream), { status: 'failed', text: '' })
      await t.rejects(one.app.chatEvents.streamBotMessage('c', (() => 5) as never), {
        code: 'RT_OPTION_INVALID', message: /`source\(signal\)`.*got number\. Return/
      })
    })

    t.test('an invalid source is refused, and one that yields no text fails with what it yielded', async (t) => {
      const { one } = await setup(t)
      const { stream, reader } = await open(t, one)
      const { chatEvents } = one.app
      for (const [wrong, kind] of [
        [undefined, 'undefined'],
        [null, 'null'],
        ['text', 'string'],
        [['text'], 'an array'],
        [Buffer.from('text'), 'object'],
        [{}, 'object']
      ]) {
        await t.rejects(chatEvents.streamBotMessage('c', wrong as never), {
          code: 'RT_OPTION_INVALID',
          message: 'Expected `source` to be an async iterable of strings, or a function that returns one, ' +
            `got ${kind}. Use startBotMessage and append for text that is there already.`
        })
      }
      for (const [piece, kind] of [
        [{ choices: [] }, 'object'], [undefined, 'undefined'], [Buffer.from('text'), 'bytes'], [['text'], 'an array']
      ]) {
        const id = `${kind}`
        const source = async function * (): AsyncGenerator<unknown> { yield piece }
        await t.rejects(chatEvents.streamBotMessage('c', source as never, { id }), {
          code: 'RT_PAYLOAD_INVALID',
          message: new RegExp(`^\`source\` must yield strings, got ${kind}\\. Yield only the text`)
        })
        t.match(await reader.end(stream), { id, status: 'failed', text: '' })
      }
      t.equal(reader.ends.size, 4, 'and of the others there is no trace')
    })

    t.test('any instance can stop a bot message by its signal; a reader that disconnects stops nothing', async (t) => {
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

    t.test('stopping ends a bot message, even if its source ignores the signal, throws or hangs', async (t) => {
      const { one, two } = await setup(t)
      const { stream, reader } = await open(t, two)
      const sources = {
        listens: async function * (signal: AbortSignal) {
          yield 'x'
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
        },
        throws: async function * (signal: AbortSignal) {
          yield 'x'
          await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))))
        },
        hangs: async function * () { yield 'x'; await new Promise(() => {}) }
      }
      for (const [id, source] of Object.entries(sources)) {
        const streamed = one.app.chatEvents.streamBotMessage('c', source, {
          id, extra: () => { throw new Error('It is not complete') }
        })
        await reader.text(stream, id, 'x')
        await two.app.chatEvents.stopBotMessage('c', id)
        t.same(await streamed, { id, status: 'stopped' })
        t.match(await reader.end(stream), { id, status: 'stopped', text: 'x' })
      }
    })

    t.test('an app that closes interrupts its bot messages at once', async (t) => {
      const { one, two } = await setup(t, { botMessageLeaseMs: 60_000 })
      if (one === two) return t.pass('no reader is left')
      const { stream, reader } = await open(t, two)
      const botMessage = await one.app.chatEvents.startBotMessage('c')
      await botMessage.append('Once')
      await one.app.close()
      t.match(botMessage.signal.reason, { code: 'RT_BOT_MESSAGE_ENDED' })
      t.match(await reader.end(stream), { status: 'interrupted', text: 'Once' })
    })
  })
}

t.test('a source may throw when it is asked to return', async (t) => {
  const chatEvents = instance(t, new LocalPubSub())
  const source = {
    [Symbol.asyncIterator]: () => ({
      next: () => delay(1, { done: false, value: 'x' }), return: () => { throw new Error('thrown at the end') }
    })
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

t.test('a bot message ends if its source fails, even if the failure callback fails, too', async (t) => {
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
    await t.rejects(chatEvents.streamBotMessage('c', failing, { id, describeError: describeError as () => string }), {
      message: 'broken'
    })
  }
  t.match(await line('describeError failed'), { chatId: 'c' })
  const botMessage = await chatEvents.startBotMessage('c', { id: 'by hand' })
  t.same(await botMessage.fail(Object.assign(new Error(), { secret: 'hunter2' }) as never), { status: 'failed' })
  await until(async () => ends.length, (count) => count === 6)
  t.same(ends.map((end) => end.type === 'bot_message' && [end.id, end.status, end.error]), [
    ...Object.keys(descriptions).map((id) => [id, 'failed', id === 'late' ? 'Sorry' : undefined]),
    ['by hand', 'failed', undefined]
  ])
  t.notMatch(text() + JSON.stringify(ends), 'hunter2')
})

t.test('a source that is stopped before its first text ends the bot message', async (t) => {
  const chatEvents = instance(t, new LocalPubSub())
  let rejectLater: ((error: Error) => void) | undefined
  let status: string | undefined
  chatEvents.streamBotMessage('c', () => new Promise((_resolve, reject) => { rejectLater = reject }), {
    id: 'a'
  }).then((end) => { status = end.status })
  await until(async () => rejectLater, Boolean)
  await chatEvents.stopBotMessage('c', 'a')
  await until(async () => status, Boolean)
  t.equal(status, 'stopped')
  rejectLater?.(new Error('late'))
  const opening = chatEvents.streamBotMessage('c', () => { t.fail('asked for nothing'); return say() }, { id: 'b' })
  await chatEvents.stopBotMessage('c', 'b')
  t.same(await opening, { id: 'b', status: 'stopped' })
})

t.test('what a source returns after its bot message was stopped is released', async (t) => {
  const chatEvents = instance(t, new LocalPubSub())
  let answer = (_stream: ReadableStream<string>): void => {}
  const asked = new Promise<void>((resolve) => {
    const source = (): Promise<ReadableStream<string>> => {
      resolve()
      return new Promise((resolve) => { answer = resolve })
    }
    chatEvents.streamBotMessage('c', source, { id: 'a' })
  })
  await asked
  await chatEvents.stopBotMessage('c', 'a')
  await until(() => chatEvents.getBotMessage('c', 'a'), (message) => message?.status === 'stopped')
  const cancelled = new Promise<void>((resolve) => {
    answer(new ReadableStream({ cancel: () => { resolve() } }))
  })
  await inTime(cancelled, 'The cancel')
})

t.test('a ReadableStream that hangs is cancelled when its bot message is stopped', async (t) => {
  const chatEvents = instance(t, new LocalPubSub())
  let pulled = (): void => {}
  const begun = new Promise<void>((resolve) => { pulled = resolve })
  const cancelled = new Promise<void>((resolve) => {
    const hanging = new ReadableStream<string>({
      pull: () => { pulled(); return new Promise(() => {}) }, cancel: () => { resolve() }
    })
    chatEvents.streamBotMessage('c', hanging, { id: 'a' })
  })
  await begun
  await chatEvents.stopBotMessage('c', 'a')
  await inTime(cancelled, 'The cancel')
})
