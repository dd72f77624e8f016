import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { createRealtimeClient } from '../../lib/client/index.ts'
import realtimePlugin, { type RealtimeOptions } from '../../lib/index.ts'
import { injectFetch, openStream } from '../../lib/testing/index.ts'
import { nothingUnhandled } from '../support/unhandled.ts'
import { until } from '../support/until.ts'

t.beforeEach(nothingUnhandled)

const PATH = '/api/chats/c/events'

async function open (t: Test, options: RealtimeOptions = {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(realtimePlugin, options)
  app.all('/echo', async (request, reply) => {
    reply.header('set-cookie', ['a=1', 'b=2'])
    return { method: request.method, url: request.url, body: request.body, app: request.headers['x-app'] }
  })
  app.get('/empty', async (_request, reply) => await reply.code(204).send())
  return app
}

t.test('a stream is read event by event, without a port and over one', async (t) => {
  const app = await open(t)
  for (const target of [app, await app.listen({ port: 0, host: '127.0.0.1' })]) {
    const stream = await openStream(target, PATH)
    t.match(await stream.next(), { event: 'ready', data: { chatId: 'c', resumed: false } })
    const { id } = await app.chatEvents.emitChatMessage('c', { text: 'one' })
    t.match(await stream.next('message'), { id, data: { message: { text: 'one' } } })
    await app.chatEvents.emitBotAction('c', { actionType: 'thinking' })
    await app.chatEvents.emitChatMessage('c', { text: 'two' })
    t.match(await stream.next('message'), { data: { message: { text: 'two' } } }, 'others are skipped')
    await stream.close()
    await until(async () => app.chatEvents.stats(), ({ localChats }) => localChats === 0)
    const later = await openStream(target, PATH, { headers: { 'last-event-id': id as string } })
    t.match(await later.next(), { event: 'ready', data: { resumed: true } })
    t.match(await Promise.all([later.next(), later.next()]), [{ event: 'bot_action' }, { event: /^message$/ }])
    await later.close()
  }
})

t.test('an event that does not arrive is an error that says what came instead', async (t) => {
  const app = await open(t)
  const stream = await openStream(app, PATH, { timeoutMs: 30 })
  await t.rejects(stream.next('message'), { message: 'Expected an event `message` within 30 ms, got ready' })
  await stream.next()
  await t.rejects(stream.next(), { message: 'Expected another event within 30 ms, got none' })
  app.chatEvents.cleanupChatSubscriptions()
  await t.rejects(stream.next(), { message: 'Expected another event before the stream ended, got none' })
})

t.test('a stream that is cut has ended', async (t) => {
  const app = await open(t)
  app.get('/cut', (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n', () => reply.raw.destroy())
  })
  const stream = await openStream(await app.listen({ port: 0, host: '127.0.0.1' }), '/cut')
  t.same(await stream.next(), { event: 'message', id: undefined, data: 1 })
  await t.rejects(stream.next(), { message: /before the stream ended/ })
})

t.test('a response that is not a stream is an error with its status and body', async (t) => {
  const app = await open(t, { authorize: () => false })
  await t.rejects(openStream(app, PATH), { message: /got the status 403: .*RT_FORBIDDEN/ })
  await t.rejects(openStream(app, '/empty'), { message: /got the status 204: / })
})

t.test('the fetch of an app sends requests as fetch does', async (t) => {
  const fetch = injectFetch(await open(t))
  const init = { method: 'POST', body: '{"a":1}', headers: { 'content-type': 'application/json', 'x-app': 'mine' } }
  const expected = { method: 'POST', url: '/echo?a=b', body: { a: 1 }, app: 'mine' }
  for (const url of ['/echo?a=b', new URL('http://any.host/echo?a=b')]) {
    const response = await fetch(url, init)
    t.same(await response.json(), expected)
    t.same(response.headers.getSetCookie(), ['a=1', 'b=2'])
  }
  t.same(await (await fetch(new Request('http://any.host/echo?a=b', init))).json(), expected)
  t.match(await (await fetch('/echo')).json(), { method: 'GET' })
  const empty = await fetch('/empty')
  t.equal(empty.status, 204)
  t.equal(empty.body, null)
})

t.test('an aborted request disconnects', async (t) => {
  const app = await open(t)
  const fetch = injectFetch(app)
  const reason = new Error('enough')
  await t.rejects(fetch(PATH, { signal: AbortSignal.abort(reason) }), reason)
  const abort = new AbortController()
  const { body } = await fetch(PATH, { signal: abort.signal })
  const reader = (body as ReadableStream).getReader()
  await reader.read()
  t.equal(app.chatEvents.stats().localChats, 1)
  abort.abort(reason)
  await t.rejects(reader.read(), reason)
  await until(async () => app.chatEvents.stats(), ({ localChats }) => localChats === 0)
  const early = new AbortController()
  const opening = fetch(PATH, { signal: early.signal })
  early.abort(reason)
  await t.rejects(opening, reason)
  await until(async () => app.chatEvents.stats(), ({ localChats }) => localChats === 0)
})

t.test('the client of this package works over inject, and closes its stream', async (t) => {
  const app = await open(t)
  const client = createRealtimeClient({ fetch: injectFetch(app) })
  const chat = client.chat('c')
  const got = new Promise((resolve) => { chat.on('message', ({ message }) => resolve(message)) })
  await chat.ready
  await app.chatEvents.emitChatMessage('c', { text: 'hello' })
  t.same(await got, { text: 'hello' })
  client.close()
  await until(async () => app.chatEvents.stats(), ({ localChats }) => localChats === 0)
})
