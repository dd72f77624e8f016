import t from 'tap'
import http2 from 'node:http2'
import net from 'node:net'
import { once } from 'node:events'
import cors from '@fastify/cors'
import Fastify from 'fastify'
import { EventSource } from 'eventsource'
import realtimePlugin from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { freePort } from '../../support/free-port.ts'

t.test('a stream starts with its headers, retry and ready', async (t) => {
  const { url } = await startApp(t, { retryMs: 1234 })
  const stream = await EventStream.open(t, `${url}/api/chats/c1/events`)
  t.equal(stream.response.status, 200)
  t.equal(stream.response.headers.get('content-type'), 'text/event-stream')
  t.equal(stream.response.headers.get('cache-control'), 'no-store, no-transform')
  t.equal(stream.response.headers.get('x-accel-buffering'), 'no')
  t.match(await stream.next(), { event: 'ready', data: { chatId: 'c1', resumed: false } })
  t.same(stream.retries, [1234])
})

t.test('a chat that is open here answers with its headers and ready in one write', async (t) => {
  const { app, url } = await startApp(t, { authorize: async () => ({ userId: 'ann' }) })
  const first = await EventStream.open(t, `${url}/api/chats/c1/events`)
  await first.next()
  const writes: number[] = []
  app.server.once('connection', (socket: net.Socket) => {
    const write = socket._writev?.bind(socket)
    socket._writev = (chunks, callback) => {
      writes.push(chunks.length)
      write?.(chunks, callback)
    }
  })
  const socket = net.connect((app.server.address() as net.AddressInfo).port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.write('GET /api/chats/c1/events HTTP/1.1\r\nhost: localhost\r\n\r\n')
  let text = ''
  for await (const part of socket.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    text += part
    if (text.includes('event: ready')) break
  }
  t.same(writes, [2], 'the headers and the first chunk')
})

t.test('every stream of a chat gets each event once and in order, and no event of another chat', async (t) => {
  const { app, url } = await startApp(t)
  const streams = await Promise.all([1, 2, 3].map(() => EventStream.open(t, `${url}/api/chats/c1/events`)))
  const other = await EventStream.open(t, `${url}/api/chats/c2/events`)
  for (const stream of [...streams, other]) await stream.next()
  for (let n = 0; n < 100; n++) app.chatEvents.emitChatMessage('c1', { n })
  await app.chatEvents.emitBotAction('c1', { actionType: 'idle' })
  await app.chatEvents.emitChatMessage('c2', { n: -1 })
  for (const stream of streams) {
    const events = await stream.take(101)
    t.same(
      events.slice(0, 100).map(({ data }) => data),
      Array.from({ length: 100 }, (_, n) => ({ type: 'message', chatId: 'c1', message: { n } }))
    )
    t.match(events[100], {
      event: 'bot_action', data: { type: 'bot_action', chatId: 'c1', action: { actionType: 'idle' } }
    })
  }
  t.match(await other.next(), { data: { message: { n: -1 } } })
})

t.test('events of one turn of the event loop arrive in one chunk', async (t) => {
  const { app, url } = await startApp(t)
  const response = await fetch(`${url}/api/chats/c1/events`)
  const reader = (response.body as ReadableStream<Uint8Array>).getReader()
  t.teardown(() => reader.cancel())
  await reader.read()
  for (let n = 0; n < 10; n++) app.chatEvents.emitChatMessage('c1', { n })
  const { value } = await reader.read()
  t.equal(Buffer.from(value ?? []).toString().split('event: message').length - 1, 10)
})

t.test('the eventsource package reads the stream as browsers do', async (t) => {
  const { app, url } = await startApp(t)
  const source = new EventSource(`${url}/api/chats/c1/events`)
  t.teardown(() => source.close())
  await once(source, 'ready')
  const message = once(source, 'message')
  await app.chatEvents.emitChatMessage('c1', { text: 'Привет\nмир\r\u2028' })
  const [event] = await message
  t.same(JSON.parse(event.data).message, { text: 'Привет\nмир\r\u2028' })
})

t.test('headers from hooks are kept, such as those of CORS', async (t) => {
  const { url } = await startApp(t, {}, {
    setup: (app) => app.register(cors, { origin: 'https://app.example', credentials: true })
  })
  const stream = await EventStream.open(t, `${url}/api/chats/c1/events`, { headers: { origin: 'https://app.example' } })
  t.equal(stream.response.headers.get('access-control-allow-origin'), 'https://app.example')
  t.equal(stream.response.headers.get('access-control-allow-credentials'), 'true')
})

t.test('a silent stream gets heartbeats, unless they are turned off', async (t) => {
  const { url } = await startApp(t, { heartbeatMs: 40 })
  const stream = await EventStream.open(t, `${url}/api/chats/c1/events`)
  await stream.next()
  await stream.comment()
  const off = await startApp(t, { heartbeatMs: 0, keyPrefix: 'off:' })
  const silent = await EventStream.open(t, `${off.url}/api/chats/c1/events`)
  await silent.next()
  await stream.comment()
  await stream.comment()
  t.same(silent.comments, [])
})

t.test('a disconnect is noticed, and the chat is released', async (t) => {
  const { app, url } = await startApp(t)
  const stays = await EventStream.open(t, `${url}/api/chats/c1/events`)
  const leaves = await EventStream.open(t, `${url}/api/chats/c2/events`)
  await stays.next()
  await leaves.next()
  t.equal(app.chatEvents.stats().localChats, 2)
  leaves.close()
  while (app.chatEvents.stats().localChats === 2) await new Promise(setImmediate)
  t.match(app.chatEvents.stats(), { localChats: 1, remoteSubscriptions: 1 })
})

t.test('a client that does not read is cut, and the others are not', async (t) => {
  const { app, url } = await startApp(t, { maxBufferedBytes: 100_000 })
  const fast = await EventStream.open(t, `${url}/api/chats/c1/events`)
  await fast.next()
  const accepted = once(app.server, 'connection')
  const slow = net.connect(Number(new URL(url).port), '127.0.0.1')
  t.teardown(() => slow.destroy())
  slow.pause().write('GET /api/chats/c1/events HTTP/1.1\r\nHost: x\r\n\r\n')
  const [socket] = await accepted as [net.Socket]
  const text = 'x'.repeat(60_000)
  let sent = 0
  for (; !socket.destroyed && sent < 1_000; sent++) {
    await app.chatEvents.emitChatMessage('c1', { text })
    await fast.next()
  }
  t.ok(socket.destroyed, `cut after ${sent} events of 60 kB`)
  await app.chatEvents.emitChatMessage('c1', { text: 'still here' })
  t.match(await fast.next(), { data: { message: { text: 'still here' } } })
})

t.test('cleaning up ends the streams, even one that is not ready yet', async (t) => {
  const { app, url } = await startApp(t)
  const stream = await EventStream.open(t, `${url}/api/chats/c1/events`)
  await stream.next()
  await app.chatEvents.emitChatMessage('c1', { n: 1 })
  app.chatEvents.cleanupChatSubscriptions()
  t.match(await stream.end(), [{ data: { message: { n: 1 } } }], 'after the earlier events')
  t.equal(app.chatEvents.stats().localChats, 0)
  const without = await startApp(t, { redisUrl: `redis://127.0.0.1:${await freePort()}` })
  const waiting = await EventStream.open(t, `${without.url}/api/chats/c1/events`)
  without.app.chatEvents.cleanupChatSubscriptions()
  t.same(await waiting.end(), [])
})

t.test('invalid chat ids are refused, and all valid ones work', async (t) => {
  const { app, url } = await startApp(t, {}, { server: { routerOptions: { maxParamLength: 5000 } } })
  for (const chatId of ['a*b?[c]{d}/\\', '\0', 'чат', '💬', 'a\nb', '__proto__', 'x'.repeat(1024)]) {
    const stream = await EventStream.open(t, `${url}/api/chats/${encodeURIComponent(chatId)}/events`)
    t.match(await stream.next(), { event: 'ready', data: { chatId } })
    await app.chatEvents.emitChatMessage(chatId, { text: chatId })
    t.match(await stream.next(), { event: 'message', data: { chatId, message: { text: chatId } } })
    stream.close()
  }
  const tooLong = await fetch(`${url}/api/chats/${'x'.repeat(1025)}/events`)
  t.equal(tooLong.status, 400)
  t.match(await tooLong.json(), { code: 'RT_CHAT_ID_INVALID' })
})

t.test('a burst above maxBufferedBytes does not cut a client that keeps up', async (t) => {
  const { app, url } = await startApp(t, { maxBufferedBytes: 10_000 })
  const stream = await EventStream.open(t, `${url}/api/chats/c1/events`)
  await stream.next()
  for (let n = 0; n < 500; n++) app.chatEvents.emitChatMessage('c1', { n, text: 'x'.repeat(1_000) })
  t.equal((await stream.take(500)).length, 500)
})

t.test('a stream can be injected', async (t) => {
  const { app } = await startApp(t)
  const response = await app.inject({ url: '/api/chats/c1/events', payloadAsStream: true })
  t.equal(response.statusCode, 200)
  const [chunk] = await once(response.stream(), 'data')
  t.match(String(chunk), 'event: ready')
  response.stream().destroy()
})

t.test('a refused stream has no headers of a stream', async (t) => {
  const { app } = await startApp(t, {}, { server: { routerOptions: { maxParamLength: 5000 } } })
  const response = await app.inject(`/api/chats/${'x'.repeat(1025)}/events`)
  t.equal(response.statusCode, 400)
  t.notOk(response.headers['x-accel-buffering'])
  t.notOk(response.headers['cache-control'])
})

t.test('there is no HEAD route, because it would never end', async (t) => {
  const { url } = await startApp(t)
  const response = await fetch(`${url}/api/chats/c1/events`, { method: 'HEAD' })
  t.equal(response.status, 404)
})

t.test('the prefix is an option', async (t) => {
  const { url } = await startApp(t, { prefix: '' })
  const stream = await EventStream.open(t, `${url}/chats/c1/events`)
  t.match(await stream.next(), { event: 'ready' })
  t.equal((await fetch(`${url}/health/pubsub`)).status, 200)
})

t.test('a request that is pipelined behind a stream opens no stream', async (t) => {
  const { app, url } = await startApp(t)
  const socket = net.connect(Number(new URL(url).port), '127.0.0.1')
  t.teardown(() => socket.destroy())
  const get = (chat: string): string => `GET /api/chats/${chat}/events HTTP/1.1\r\nHost: x\r\n\r\n`
  socket.write(get('first') + get('second') + get('third'))
  await once(socket, 'data')
  while (app.chatEvents.stats().localChats === 0) await new Promise(setImmediate)
  t.equal(app.chatEvents.stats().localChats, 1)
})

t.test('an idle stream outlives the connection timeout of the server', async (t) => {
  const { app, url } = await startApp(t, { heartbeatMs: 0 }, { server: { connectionTimeout: 1_000 } })
  const stream = await EventStream.open(t, `${url}/api/chats/c1/events`)
  await stream.next()
  // Another idle connection shows when the timeout has passed.
  const idle = net.connect(Number(new URL(url).port), '127.0.0.1')
  await once(idle, 'close')
  await app.chatEvents.emitChatMessage('c1', { still: 'here' })
  t.match(await stream.next(), { data: { message: { still: 'here' } } })
})

t.test('a stream works over HTTP/2', async (t) => {
  const app = Fastify({ http2: true })
  await app.register(realtimePlugin, {})
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = http2.connect(`http://127.0.0.1:${(app.server.address() as { port: number }).port}`)
  t.teardown(() => session.destroy())
  const request = session.request({ ':path': '/api/chats/c1/events' })
  let body = ''
  request.setEncoding('utf8').on('data', (chunk) => { body += chunk })
  const [headers] = await once(request, 'response')
  t.match(headers, { ':status': 200, 'content-type': 'text/event-stream' })
  while (!body.includes('event: ready')) await once(request, 'data')
  await app.chatEvents.emitChatMessage('c1', { n: 1 })
  while (!body.includes('"n":1')) await once(request, 'data')
  const ended = once(request, 'end')
  await app.close()
  await ended
  t.pass('the app closed and the stream ended')
})
