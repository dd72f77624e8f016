import t from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import { streamUIMessage, type UIChunk, type UIMessageSource } from '../../../lib/ai/index.ts'
import { closingChunk } from '../../../lib/ui-message.ts'
import { startApp } from '../../support/app.ts'
import { LossyProxy } from '../../support/lossy-proxy.ts'
import { startRedis } from '../../support/redis.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import { apart } from '../bot-messages/apart.ts'
import { setups } from '../bot-messages/setups.ts'
import { active, answerWith, hanging, streaming, text, UIStream } from './ui-stream.ts'

t.beforeEach(nothingUnhandled)

async function * yielding (...chunks: UIChunk[]): AsyncGenerator<UIChunk> {
  yield * chunks
}

for (const [name, setup] of Object.entries(setups)) {
  t.test(name, async (t) => {
    t.beforeEach(nothingUnhandled)

    t.test('a reader gets the chunks so far and then the rest, and nothing is in progress after the end', async (t) => {
      const { one, two } = await setup(t)
      t.equal((await active(t, two)).response.status, 204)
      let finish = (): void => {}
      const ended = streamUIMessage(one.app.chatEvents, 'c', async function * () {
        yield { type: 'start' }
        yield text('a')
        await new Promise<void>((resolve) => { finish = resolve })
        yield text('b')
        yield { type: 'finish' }
      }, { id: 'm', meta: { bot: 'x' } as object })
      const stream = await streaming(t, two)
      t.equal(stream.response.headers.get('x-vercel-ai-ui-message-stream'), 'v1')
      t.equal(stream.response.headers.get('content-type'), 'text/event-stream')
      t.same(await stream.chunk(), { type: 'start', messageId: 'm' })
      t.same(await stream.chunk(), text('a'))
      finish()
      t.same(await stream.rest(), [text('b'), { type: 'finish' }])
      t.same(await ended, { id: 'm', status: 'finished' })
      t.equal((await active(t, two)).response.status, 204)
    })

    for (const [end, { source, status, last }] of Object.entries({
      'an error chunk': {
        source: yielding(text('a'), { type: 'error', errorText: 'Too busy' }),
        status: 'failed',
        last: { type: 'error', errorText: 'Too busy' }
      },
      'an error chunk before others': {
        source: yielding(text('a'), { type: 'error', errorText: 'Too busy' }, { type: 'abort' }, { type: 'finish' }),
        status: 'failed',
        last: { type: 'finish' }
      },
      'an abort chunk before others': {
        source: yielding(text('a'), { type: 'abort' }, { type: 'error', errorText: 'Late' }, { type: 'finish' }),
        status: 'stopped',
        last: { type: 'finish' }
      },
      'an abort chunk': { source: yielding(text('a'), { type: 'abort' }), status: 'stopped', last: { type: 'abort' } },
      'no closing chunk': { source: yielding(text('a')), status: 'finished', last: text('a') },
      'a stream of the platform': {
        source: ReadableStream.from([{ type: 'start', messageId: 'own' }, { type: 'finish' }]),
        status: 'finished',
        last: { type: 'finish' }
      }
    })) {
      t.test(`${end} ends the bot message as ${status}`, async (t) => {
        const { one, two } = await setup(t, {}, { setup: answerWith })
        const { id, status: ended } = await streamUIMessage(one.app.chatEvents, 'c', source)
        t.equal(ended, status)
        const stream = await UIStream.open(t, `${two.url}/api/ask?id=${id}`)
        t.same((await stream.rest()).at(-1), last)
      })
    }

    t.test('a source that throws ends it as failed, and readers get the description', async (t) => {
      const { one, two } = await setup(t, {}, { setup: answerWith })
      const error = new Error('secret')
      const describeErrors = [() => 'Try again', undefined, () => { throw new Error('broken') }]
      for (const [n, describeError] of describeErrors.entries()) {
        await t.rejects(streamUIMessage(one.app.chatEvents, 'c', async function * () {
          yield text('a')
          throw error
        }, { id: `m${n}`, ...describeError !== undefined && { describeError } }), error)
        const errorText = n === 0 ? 'Try again' : 'The bot message failed.'
        const stream = await UIStream.open(t, `${two.url}/api/ask?id=m${n}`)
        t.same(await stream.rest(), [text('a'), { type: 'error', errorText }])
      }
      await t.rejects(streamUIMessage(one.app.chatEvents, 'c', () => { throw error }, { id: 'unopened' }), error)
      const unopened = await UIStream.open(t, `${two.url}/api/ask?id=unopened`)
      t.match(await unopened.rest(), [{ type: 'error' }])
      await t.rejects(streamUIMessage(one.app.chatEvents, 'c', async function * () {
        yield { type: 'error', errorText: 'Known' }
        throw error
      }, { id: 'once' }), error)
      const once = await UIStream.open(t, `${two.url}/api/ask?id=once`)
      t.same(await once.rest(), [{ type: 'error', errorText: 'Known' }], 'there is one error chunk')
    })

    t.test('stopped from another instance, its signal aborts and readers get an abort chunk', async (t) => {
      const { one, two } = await setup(t)
      const ended = streamUIMessage(one.app.chatEvents, 'c', hanging(text('a')), { id: 'm' })
      const stream = await streaming(t, two)
      t.same(await stream.chunk(), text('a'))
      await two.app.chatEvents.stopBotMessage('c')
      t.same(await stream.rest(), [{ type: 'abort' }])
      t.same(await ended, { id: 'm', status: 'stopped' })
    })

    t.test('stopped before its source is there, or while a stream or an iterator hangs', async (t) => {
      const { one } = await setup(t)
      const never = new Promise<never>(() => {})
      let cancelled = 0
      const sources: UIMessageSource[] = [
        () => never,
        new ReadableStream({ pull: () => never, cancel: () => { cancelled++ } }),
        { [Symbol.asyncIterator]: () => ({ next: () => never }) },
        async (signal) => {
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
          throw new Error('aborted')
        }
      ]
      for (const source of sources) {
        const ended = streamUIMessage(one.app.chatEvents, 'c', source)
        await until(() => one.app.chatEvents.activeBotMessage('c', 'ui-message'), (id) => id !== undefined)
        await one.app.chatEvents.stopBotMessage('c')
        t.match(await ended, { status: 'stopped' })
      }
      await until(async () => cancelled, (count) => count === 1)
    })

    t.test('only UI messages are served, to who may read the chat', async (t) => {
      const authorize = ({ headers }: { headers: Record<string, unknown> }): boolean => headers['x-user'] === 'a'
      const { one, two } = await setup(t, { authorize }, { setup: answerWith })
      const headers = { 'x-user': 'a' }
      const ask = async (id: string, init?: RequestInit): Promise<[number, string]> => {
        const response = await fetch(`${two.url}/api/ask?id=${id}`, init)
        return [response.status, await response.text()]
      }
      const writers = await Promise.all(['text', 'chunks'].map((format) =>
        one.app.chatEvents.startBotMessage('c', { id: format, format: format as 'text' })))
      t.match(await ask('text', { headers }), [404, /RT_BOT_MESSAGE_NOT_FOUND/])
      t.match(await ask('chunks', { headers }), [404, /RT_BOT_MESSAGE_NOT_FOUND/])
      t.match(await ask('none', { headers }), [404, /RT_BOT_MESSAGE_NOT_FOUND/])
      t.match(await ask('none'), [403, /RT_FORBIDDEN/])
      t.equal((await active(t, two, { headers })).response.status, 204)
      t.equal((await active(t, two)).response.status, 403)
      await Promise.all(writers.map((writer) => writer.finish()))
      const ended = streamUIMessage(one.app.chatEvents, 'c', hanging(text('a')), { id: 'm' })
      await until(() => one.app.chatEvents.activeBotMessage('c', 'ui-message'), (id) => id !== undefined)
      t.same(await ask('m', { headers, method: 'HEAD' }), [200, ''])
      await one.app.chatEvents.stopBotMessage('c', 'm')
      await ended
    })

    t.test('a stream that ends early is cut, so that no client takes it for complete', async (t) => {
      const { one, two } = await setup(t, { authorize: () => ({ userId: 'u' }) })
      const ended = streamUIMessage(one.app.chatEvents, 'c', hanging(text('a')), { id: 'm' })
      const stream = await streaming(t, two)
      t.same(await stream.chunk(), text('a'))
      const cut = t.rejects(stream.next())
      await two.app.chatEvents.revoke('c', 'u')
      await cut
      const other = await active(t, two)
      t.same(await other.chunk(), text('a'))
      const drained = t.rejects(other.rest())
      await two.app.close()
      await drained
      if (two.app !== one.app) await one.app.chatEvents.stopBotMessage('c', 'm')
      await ended
    })
  })
}

t.test('over a limit, the answer is 503 and no stream', async (t) => {
  const { one } = await (setups['in one process'] as NonNullable<typeof setups[string]>)(t, { maxConnections: 1 })
  const ended = streamUIMessage(one.app.chatEvents, 'c', hanging(text('a')))
  await streaming(t, one)
  const { response } = await active(t, one, { headers: { accept: 'text/event-stream' } })
  t.equal(response.status, 503)
  await one.app.chatEvents.stopBotMessage('c')
  await ended
})

t.test('without history there is a clear error', async (t) => {
  const { one } = await (setups['in one process'] as NonNullable<typeof setups[string]>)(t, { history: false })
  await t.rejects(streamUIMessage(one.app.chatEvents, 'c', yielding(text('a'))), { code: 'RT_STATE_UNAVAILABLE' })
  t.match(await (await fetch(`${one.url}/api/chats/c/stream`)).json(), { code: 'RT_STATE_UNAVAILABLE' })
})

t.test('the first UI message of an instance is found, although it waits until it can be stopped', async (t) => {
  const redis = await startRedis(t)
  const { app: { chatEvents } } = await startApp(t, { redisUrl: redis.url })
  const ended = streamUIMessage(chatEvents, 'c', hanging(text('a')), { id: 'm' })
  const known = [chatEvents.activeBotMessage('c', 'ui-message'), chatEvents.hasBotMessage('c', 'm', 'ui-message')]
  t.same(await Promise.all(known), ['m', true])
  await chatEvents.stopBotMessage('c')
  await ended
})

t.test('the first UI message of an instance can be stopped before it is open', async (t) => {
  const redis = await startRedis(t)
  for (const id of [undefined, 'm']) {
    const proxy = await LossyProxy.start(t, redis.port)
    const held = proxy.holdBack('subscribe')
    const { app: { chatEvents } } = await startApp(t, { redisUrl: `redis://127.0.0.1:${proxy.port}` })
    const ended = streamUIMessage(chatEvents, `${id}`, hanging(text('a')), { id: 'm' })
    const { deliver } = await held
    const stopped = chatEvents.stopBotMessage(`${id}`, id)
    // Whatever was sent to Redis before has arrived then.
    await chatEvents.emitChatMessage('other', {})
    await deliver()
    await stopped
    t.match(await ended, { status: 'stopped' })
  }
})

t.test('a reader survives what Redis does: frozen, cut off, and all data lost', async (t) => {
  const { one, two, redis, admin } = await apart(t)
  const { readable, writable } = new TransformStream<UIChunk, UIChunk>()
  const source = writable.getWriter()
  const say = (chunk: UIChunk): void => { source.write(chunk) }
  const ended = streamUIMessage(one.app.chatEvents, 'c', readable, { id: 'm' })
  const stream = await streaming(t, two)
  say(text('a'))
  t.same(await stream.chunk(), text('a'))
  await admin.flushall()
  await until(() => two.app.chatEvents.getBotMessage('c', 'm'), (message) => message?.chunks?.length === 1)
  say(text('b'))
  t.same(await stream.chunk(), text('b'), 'the producer has opened it again')
  await redis.freeze()
  say(text('c'))
  await turn()
  await redis.thaw()
  t.same(await stream.chunk(), text('c'))
  source.close()
  t.same(await stream.rest(), [])
  t.match(await ended, { status: 'finished' })
})

t.test('the closing chunk says how a bot message ended, unless a chunk has said so', (t) => {
  const abort = { type: 'abort' }
  const error = { type: 'error', errorText: 'x' }
  t.equal(closingChunk(abort, { status: 'stopped' }), undefined)
  t.same(closingChunk(undefined, { status: 'stopped' }), abort)
  t.equal(closingChunk(error, { status: 'failed' }), undefined)
  t.same(closingChunk(undefined, { status: 'failed', error: 'y' }), { type: 'error', errorText: 'y' })
  t.match(closingChunk(undefined, { status: 'failed' }), { type: 'error', errorText: String })
  t.match(closingChunk(undefined, { status: 'interrupted' }), { type: 'error', errorText: /interrupted/ })
  t.equal(closingChunk(error, { status: 'interrupted' }), undefined, 'one error is enough')
  t.equal(closingChunk(undefined, { status: 'finished' }), undefined)
  t.end()
})
