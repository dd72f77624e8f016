import t, { type Test } from 'tap'
import { once } from 'node:events'
import http2 from 'node:http2'
import fastifyCors, { type FastifyCorsOptions } from '@fastify/cors'
import type { FastifyServerOptions } from 'fastify'
import { streamUIMessage, type UIChunk } from '../../../lib/ai/index.ts'
import type { RealtimeOptions } from '../../../lib/index.ts'
import { inTime } from '../../support/in-time.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import { setups, type Setup } from '../bot-messages/setups.ts'
import type { Side } from '../bot-messages/sides.ts'
import { active, answerWith, hanging, streaming, text, UIStream } from './ui-stream.ts'

t.beforeEach(nothingUnhandled)

const inOneProcess = setups['in one process'] as Setup

/** A message in progress, which ends with the test. */
async function begin (t: Test, { app }: Side): Promise<void> {
  const ended = streamUIMessage(app.chatEvents, 'c', hanging(text('a')), { id: 'm' })
  t.teardown(async () => {
    await app.chatEvents.stopBotMessage('c', 'm')
    await ended
  })
  await until(() => app.chatEvents.getBotMessage('c', 'm'), (message) => message?.chunks?.length === 1)
}

/** What ends a stream before its message, each a while after the stream was opened. */
const limits: Record<string, () => RealtimeOptions> = {
  'its age': () => ({ maxConnectionAgeMs: 800 }),
  'the expiry of access': () => ({ authorize: () => ({ expiresAt: Date.now() + 800 }) })
}

for (const [name, options] of Object.entries(limits)) {
  for (const [setupName, setup] of Object.entries(setups)) {
    t.test(`${setupName}, ${name} cuts a stream, and the message goes on`, async (t) => {
      const { one, two } = await setup(t, options())
      await begin(t, one)
      const stream = await streaming(t, two)
      t.same(await stream.chunk(), text('a'))
      await t.rejects(stream.next(), 'no clean end, and no [DONE]')
      const next = await active(t, two)
      t.same(await next.chunk(), text('a'), 'the next one begins with the first chunk again')
    })
  }

  t.test(`over HTTP/2, ${name} cuts a stream`, async (t) => {
    // The types of Fastify have one server for each protocol.
    const server = { http2: true } as FastifyServerOptions
    const { one } = await inOneProcess(t, options(), { server })
    await begin(t, one)
    const session = http2.connect(one.url)
    t.teardown(() => session.destroy())
    const request = session.request({ ':path': '/api/chats/c/stream' }).setEncoding('utf8')
    let received = ''
    request.on('data', (data: string) => { received += data })
    // A clean end would have no code.
    await inTime(once(request, 'close'), 'The cut')
    t.equal(request.rstCode, http2.constants.NGHTTP2_CANCEL)
    t.equal(received, `data: ${JSON.stringify(text('a'))}\n\n`)
  })
}

t.test('while the producer is silent there are heartbeats, and the chunks after them arrive whole', async (t) => {
  for (const setup of Object.values(setups)) {
    const { one, two } = await setup(t, { heartbeatMs: 10 })
    let say: ReadableStreamDefaultController<UIChunk> | undefined
    const source = new ReadableStream<UIChunk>({ start (controller) { say = controller } })
    const ended = streamUIMessage(one.app.chatEvents, 'c', source, { id: 'm' })
    const stream = await streaming(t, two)
    await stream.heartbeats(2)
    say?.enqueue(text('a'))
    t.same(await stream.chunk(), text('a'))
    await stream.heartbeats(4)
    say?.enqueue(text('b'))
    say?.close()
    t.same(await stream.rest(), [text('b')])
    await ended
  }
})

t.test('a response says which bot message it is, also to a page of another origin', async (t) => {
  const cors: Record<string, FastifyCorsOptions | undefined> = {
    'x-bot-message-id': undefined, 'x-mine, x-bot-message-id': { exposedHeaders: 'x-mine' }
  }
  for (const [exposed, options] of Object.entries(cors)) {
    const id = `100 % "ä", 漢 ${exposed}`
    const { one } = await inOneProcess(t, {}, {
      setup: (app) => {
        if (options !== undefined) app.register(fastifyCors, options)
        answerWith(app)
      }
    })
    const message = await one.app.chatEvents.startBotMessage('c', { id, format: 'chunks', protocol: 'ui-message' })
    for (const stream of [
      await active(t, one), await UIStream.open(t, `${one.url}/api/ask?id=${encodeURIComponent(id)}`)
    ]) {
      const { headers } = stream.response
      t.equal(decodeURIComponent(headers.get('x-bot-message-id') as string), id)
      t.equal(headers.get('access-control-expose-headers'), exposed)
    }
    await message.finish()
  }
})

t.test('a reader that has disconnected, or gets no body, does not keep the chat open', async (t) => {
  const { one } = await inOneProcess(t, {}, { setup: answerWith })
  await begin(t, one)
  const chats = async (): Promise<number> => one.app.chatEvents.stats().localChats
  const aborting = new AbortController()
  const leaving = await streaming(t, one, { signal: aborting.signal })
  t.same(await leaving.chunk(), text('a'))
  t.equal(await chats(), 1)
  aborting.abort()
  await until(chats, (count) => count === 0)
  // No write to the stream of a message without chunks reveals that its reader has disconnected.
  const silent = await one.app.chatEvents.startBotMessage('c', { id: 'n', format: 'chunks', protocol: 'ui-message' })
  t.equal((await UIStream.open(t, `${one.url}/api/ask?id=n`, { method: 'HEAD' })).response.status, 200)
  await until(chats, (count) => count === 0)
  await silent.finish()
})
