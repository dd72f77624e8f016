import t from 'tap'
import { once } from 'node:events'
import http2 from 'node:http2'
import net from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import realtimePlugin, { type SseEvent } from '../../../lib/index.ts'
import { EventStream } from '../../support/event-stream.ts'
import { start } from './own-route.ts'

t.test('an app sends its own events', async (t) => {
  const { url } = await start(t, (app) => app.get('/own', async (_request, reply) => {
    await reply.sse.send({ event: 'one', id: '1', data: { n: 1 }, retry: 10 })
    await reply.sse.send({ data: 'two\nlines' })
    await reply.sse.close()
  }))
  const stream = await EventStream.open(t, `${url}/own`)
  t.equal(stream.response.headers.get('content-type'), 'text/event-stream')
  t.same(await stream.end(), [
    { event: 'one', id: '1', data: { n: 1 } }, { event: 'message', id: undefined, data: 'two\nlines' }
  ])
  t.same(stream.retries, [10])
})

t.test('any route becomes a chat stream', async (t) => {
  const { app, url } = await start(t, (app) => {
    return app.get('/mine', async (_request, reply) => { await reply.sse.chat('mine') })
  })
  const stream = await EventStream.open(t, `${url}/mine`)
  t.match(await stream.next(), { event: 'ready', data: { chatId: 'mine' } })
  await app.chatEvents.emitChatMessage('mine', { text: 'hi' })
  t.match(await stream.next(), { data: { message: { text: 'hi' } } })
})

t.test('lastEventId is the header, else the query, else undefined', async (t) => {
  const { url } = await start(t, (app) => {
    return app.get('/last', async (_request, reply) => ({ last: reply.sse.lastEventId ?? null }))
  })
  const last = async (query: string, headers: Record<string, string> = {}): Promise<unknown> =>
    (await (await fetch(`${url}/last${query}`, { headers })).json() as { last: unknown }).last
  t.equal(await last('?lastEventId=q', { 'last-event-id': 'h' }), 'h')
  t.equal(await last('?lastEventId=q'), 'q')
  t.equal(await last('?lastEventId=a&lastEventId=b'), null)
  t.equal(await last('?lastEventId='), null)
  t.equal(await last(''), null)
})

t.test('a wrong event is reported by an error, and the stream continues', async (t) => {
  const codes: unknown[] = []
  const { url } = await start(t, (app) => app.get('/own', async (_request, reply) => {
    const wrong = [
      { data: undefined }, { data: 1n }, { data: 1, event: 'a b' }, { data: 1, id: 'a\nb' }, null, 'text'
    ] as SseEvent[]
    for (const event of wrong) codes.push(await reply.sse.send(event).then(() => 'sent', (error) => error.code))
    await reply.sse.send({ data: 'fine' })
    await reply.sse.close()
    codes.push(await reply.sse.send({ data: 'late' }).catch((error) => error.code))
  }))
  const stream = await EventStream.open(t, `${url}/own`)
  t.same((await stream.end()).map(({ data }) => data), ['fine'])
  t.same(codes, [
    'RT_PAYLOAD_INVALID',
    'RT_PAYLOAD_INVALID',
    'RT_SSE_FIELD_INVALID',
    'RT_SSE_FIELD_INVALID',
    'RT_SSE_FIELD_INVALID',
    'RT_SSE_FIELD_INVALID',
    'RT_STREAM_CLOSED'
  ])
})

t.test('an error before the stream opens is an ordinary response', async (t) => {
  const { url } = await start(t, (app) => {
    app.get('/wrong-event', async (_request, reply) => { await reply.sse.send({ data: undefined }) })
    app.get('/array', async (_request, reply) => { await reply.sse.stream(['text'] as never) })
    app.get('/nothing', async (_request, reply) => { await reply.sse.stream(undefined as never) })
    app.get('/wrong-chat', async (_request, reply) => { await reply.sse.chat('') })
    app.get('/wrong-header', async (_request, reply) => { await reply.header('x-bad', 'a\nb').sse.chat('c') })
    app.get('/sent', async (_request, reply) => {
      await reply.send('sent')
      await t.rejects(reply.sse.chat('c'), { code: 'RT_STREAM_STARTED' })
    })
  })
  t.match(await (await fetch(`${url}/wrong-event`)).json(), { statusCode: 400, code: 'RT_PAYLOAD_INVALID' })
  t.match(await (await fetch(`${url}/wrong-chat`)).json(), { statusCode: 400, code: 'RT_CHAT_ID_INVALID' })
  t.equal((await fetch(`${url}/wrong-header`)).status, 500)
  t.equal(await (await fetch(`${url}/sent`)).text(), 'sent')
  for (const path of ['/array', '/nothing']) {
    t.match(await (await fetch(url + path)).json(), { statusCode: 500, code: 'RT_SSE_FIELD_INVALID' })
  }
})

t.test('a reply that the app has started through reply.raw becomes no stream, and stays the app\'s', async (t) => {
  const { url } = await start(t, (app) => {
    app.get('/begun', async (_request, reply) => {
      reply.raw.writeHead(200)
      await t.rejects(reply.sse.chat('c'), { code: 'RT_STREAM_STARTED' })
      await t.rejects(reply.sse.send({ data: 1 }), { code: 'RT_STREAM_STARTED' })
      reply.hijack()
      reply.raw.end('its own')
    })
    app.get('/meanwhile', async (_request, reply) => {
      const chat = reply.sse.chat('c')
      reply.raw.writeHead(200)
      await t.rejects(chat, { code: 'RT_STREAM_STARTED' })
      reply.hijack()
      reply.raw.end('its own')
    })
  })
  for (const path of ['/begun', '/meanwhile']) t.equal(await (await fetch(url + path)).text(), 'its own')
})

t.test('a reply streams one thing only', async (t) => {
  const codes: unknown[] = []
  const { url } = await start(t, (app) => app.get('/twice', async (_request, reply) => {
    await reply.sse.send({ data: 1 })
    codes.push(await reply.sse.chat('c').catch((error) => error.code))
    codes.push(await reply.sse.stream((async function * () {})()).catch((error) => error.code))
    await reply.sse.close()
  }))
  await (await EventStream.open(t, `${url}/twice`)).end()
  t.same(codes, ['RT_STREAM_STARTED', 'RT_STREAM_STARTED'])
})

t.test('while a reply is opening a stream, a second one is refused at once', async (t) => {
  const outcomes: unknown[] = []
  const { url } = await start(t, (app) => app.get('/both', async (_request, reply) => {
    const first = reply.sse.chat('c').then(() => outcomes.push('opened'))
    const second = reply.sse.chat('d').catch((error) => outcomes.push(error.code))
    await Promise.all([first, second])
    await reply.sse.close()
  }))
  await (await EventStream.open(t, `${url}/both`)).end()
  t.same(outcomes, ['RT_STREAM_STARTED', 'opened'], 'it is refused before the first has opened')
})

t.test('a HEAD request to the app\'s own route gets only the headers', async (t) => {
  const { app, url } = await start(t, (app) => {
    return app.get('/mine', async (_request, reply) => { await reply.sse.chat('mine') })
  })
  const socket = net.connect(Number(new URL(url).port), '127.0.0.1')
  t.teardown(() => socket.destroy())
  let received = ''
  socket.setEncoding('utf8').on('data', (chunk) => { received += chunk })
  socket.write('HEAD /mine HTTP/1.1\r\nHost: x\r\n\r\nGET /api/health/pubsub HTTP/1.1\r\nHost: x\r\n\r\n')
  while (!received.includes('"provider":"local"')) await once(socket, 'data')
  t.match(received, 'content-type: text/event-stream')
  t.equal(app.chatEvents.stats().localChats, 0)
})

t.test('headers that would frame a stream wrongly are dropped', async (t) => {
  const { url } = await start(t, (app) => app.get('/framed', async (_request, reply) => {
    reply.raw.setHeader('content-length', 3)
    await reply.header('content-length', 4).sse.send({ data: 'more than four bytes' })
    await reply.sse.close()
  }))
  t.match(await (await EventStream.open(t, `${url}/framed`)).end(), [{ data: 'more than four bytes' }])
})

t.test('a stream can be injected and ends', async (t) => {
  const { app } = await start(t, (app) => app.get('/stream', async (_request, reply) => {
    await reply.sse.stream((async function * () { yield { data: 1 } })())
  }))
  t.equal((await app.inject('/stream')).body, 'data: 1\n\n')
})

t.test('over HTTP/2, connection headers from hooks are left out', async (t) => {
  const app = Fastify({ http2: true }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  const unfit = ['connection', 'http2-settings', 'keep-alive', 'proxy-connection', 'te', 'transfer-encoding', 'upgrade']
  app.addHook('onRequest', async (_request, reply) => {
    for (const name of unfit) reply.header(name, 'x')
    reply.header('x-app', 'kept')
  })
  await app.register(realtimePlugin)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = http2.connect(`http://127.0.0.1:${(app.server.address() as { port: number }).port}`)
  t.teardown(() => session.destroy())
  const [headers] = await once(session.request({ ':path': '/api/chats/c/events' }), 'response')
  t.match(headers, { ':status': 200, 'x-app': 'kept' })
  for (const name of unfit) t.notOk(Object.hasOwn(headers, name), name)
})
