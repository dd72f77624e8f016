import t, { type Test } from 'tap'
import { once, EventEmitter } from 'node:events'
import { hasSubscribers } from 'node:diagnostics_channel'
import http2 from 'node:http2'
import net from 'node:net'
import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import realtimePlugin, { type SseEvent } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { keepLog } from '../../support/log.ts'

const start = (t: Test, setup: (app: FastifyInstance) => unknown, options = {}): ReturnType<typeof startApp> => startApp(t, options, { setup })

t.test('an app sends events of its own', async (t) => {
  const { url } = await start(t, (app) => app.get('/own', async (_request, reply) => {
    await reply.sse.send({ event: 'one', id: '1', data: { n: 1 }, retry: 10 })
    await reply.sse.send({ data: 'two\nlines' })
    await reply.sse.close()
  }))
  const stream = await EventStream.open(t, `${url}/own`)
  t.equal(stream.response.headers.get('content-type'), 'text/event-stream')
  t.same(await stream.end(), [{ event: 'one', id: '1', data: { n: 1 } }, { event: 'message', id: undefined, data: 'two\nlines' }])
  t.same(stream.retries, [10])
})

t.test('any route becomes a chat stream', async (t) => {
  const { app, url } = await start(t, (app) => app.get('/mine', async (_request, reply) => { await reply.sse.chat('mine') }))
  const stream = await EventStream.open(t, `${url}/mine`)
  t.match(await stream.next(), { event: 'ready', data: { chatId: 'mine' } })
  await app.chatEvents.emitChatMessage('mine', { text: 'hi' })
  t.match(await stream.next(), { data: { message: { text: 'hi' } } })
})

t.test('lastEventId is the header, else the query, else nothing', async (t) => {
  const { url } = await start(t, (app) => app.get('/last', async (_request, reply) => ({ last: reply.sse.lastEventId ?? null })))
  const last = async (query: string, headers: Record<string, string> = {}): Promise<unknown> =>
    (await (await fetch(`${url}/last${query}`, { headers })).json() as { last: unknown }).last
  t.equal(await last('?lastEventId=q', { 'last-event-id': 'h' }), 'h')
  t.equal(await last('?lastEventId=q'), 'q')
  t.equal(await last('?lastEventId=a&lastEventId=b'), null)
  t.equal(await last('?lastEventId='), null)
  t.equal(await last(''), null)
})

t.test('what is wrong with an event is told and the stream goes on', async (t) => {
  const codes: unknown[] = []
  const { url } = await start(t, (app) => app.get('/own', async (_request, reply) => {
    const wrong = [{ data: undefined }, { data: 1n }, { data: 1, event: 'a b' }, { data: 1, id: 'a\nb' }, null, 'text'] as SseEvent[]
    for (const event of wrong) codes.push(await reply.sse.send(event).then(() => 'sent', (error) => error.code))
    await reply.sse.send({ data: 'fine' })
    await reply.sse.close()
    codes.push(await reply.sse.send({ data: 'late' }).catch((error) => error.code))
  }))
  const stream = await EventStream.open(t, `${url}/own`)
  t.same((await stream.end()).map(({ data }) => data), ['fine'])
  t.same(codes, ['RT_PAYLOAD_INVALID', 'RT_PAYLOAD_INVALID', 'RT_SSE_FIELD_INVALID', 'RT_SSE_FIELD_INVALID', 'RT_SSE_FIELD_INVALID', 'RT_SSE_FIELD_INVALID', 'RT_STREAM_CLOSED'])
})

t.test('an error before the stream opens is an ordinary answer', async (t) => {
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
  for (const path of ['/array', '/nothing']) t.match(await (await fetch(url + path)).json(), { statusCode: 500, code: 'RT_SSE_FIELD_INVALID' })
})

t.test('a reply that the app has begun through reply.raw becomes no stream, and stays the app\'s', async (t) => {
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

t.test('an async iterable is streamed to its end', async (t) => {
  const { url } = await start(t, (app) => app.get('/stream', async (_request, reply) => {
    await reply.sse.stream((async function * () {
      for (let n = 0; n < 3; n++) yield { event: 'token', data: n }
    })())
  }))
  const stream = await EventStream.open(t, `${url}/stream`)
  t.same((await stream.end()).map(({ data }) => data), [0, 1, 2])
})

t.test('a generator is told to return and its signal aborts when the client leaves, even while it hangs', async (t) => {
  const seen = new EventEmitter()
  const { url } = await start(t, (app) => app.get('/stream', async (_request, reply) => {
    const { signal } = reply.sse
    await reply.sse.stream((async function * () {
      try {
        yield { data: 'first' }
        await once(signal, 'abort')
        yield { data: 'never' }
      } finally {
        seen.emit('returned', signal.aborted)
      }
    })())
    seen.emit('resolved')
  }))
  const returned = once(seen, 'returned')
  const resolved = once(seen, 'resolved')
  const stream = await EventStream.open(t, `${url}/stream`)
  await stream.next()
  stream.close()
  t.same(await returned, [true])
  await resolved
})

t.test('a generator that never settles does not keep a stream whose client left', async (t) => {
  const seen = new EventEmitter()
  const { url } = await start(t, (app) => app.get('/stream', async (_request, reply) => {
    const hanging: AsyncIterable<SseEvent> = {
      [Symbol.asyncIterator]: () => ({ next: () => { seen.emit('asked'); return new Promise(() => {}) } })
    }
    await reply.sse.stream(hanging)
    seen.emit('resolved')
  }))
  const asked = once(seen, 'asked')
  const resolved = once(seen, 'resolved')
  const stream = await EventStream.open(t, `${url}/stream`)
  await asked
  stream.close()
  await resolved
  t.pass('the stream was given up')
})

t.test('a generator that throws ends its stream, is logged, and harms nobody else', async (t) => {
  const lines: string[] = []
  const { app, url } = await startApp(t, {}, {
    server: { logger: { level: 'error', stream: { write: (line: string) => { lines.push(line) } } } },
    setup: (app) => app.get('/stream', async (_request, reply) => {
      await reply.sse.stream((async function * () {
        yield { data: 1 }
        throw new Error('out of tokens')
      })())
    })
  })
  const stream = await EventStream.open(t, `${url}/stream`)
  t.same((await stream.end()).map(({ data }) => data), [1])
  while (lines.length === 0) await new Promise(setImmediate)
  t.match(lines.join(), 'out of tokens')
  t.equal((await app.inject('/api/health/pubsub')).statusCode, 200)
})

t.test('a handler that throws after its first event ends its stream and is logged once', async (t) => {
  const log = keepLog('warn')
  const { app, url } = await startApp(t, {}, {
    server: { loggerInstance: log.log as FastifyBaseLogger },
    setup: (app) => {
      app.get('/async', async (_request, reply) => {
        await reply.sse.send({ data: 1 })
        throw new Error('failed later')
      })
      app.get('/sync', (_request, reply) => {
        reply.sse.send({ data: 1 })
        throw new Error('failed at once')
      })
      app.get('/chat', async (_request, reply) => {
        await reply.sse.chat('c')
        throw new Error('failed in a chat')
      })
      app.get('/two', async (_request, reply) => {
        await reply.sse.send({ data: 1 })
        await reply.sse.chat('c')
      })
      app.get('/unopened', async () => { throw new Error('failed before') })
    }
  })
  const chat = await EventStream.open(t, `${url}/api/chats/c/events`)
  await chat.next()
  const errors = (): unknown[] => log.lines.flatMap(({ err }) => (err as Error).message ?? [])
  for (const [path, message] of [['/async', 'failed later'], ['/sync', 'failed at once'], ['/two', 'streams already'], ['/chat', 'failed in a chat']]) {
    const stream = await EventStream.open(t, url + path)
    await stream.end()
    t.equal(errors().filter((error) => String(error).includes(message as string)).length, 1, `${path} is logged once`)
  }
  t.equal((await fetch(`${url}/unopened`)).status, 500, 'before that, an error is answered')
  await app.chatEvents.emitChatMessage('c', { n: 1 })
  t.match(await chat.next(), { data: { message: { n: 1 } } }, 'other streams go on')
})

t.test('a stream outlives a handler that returns', async (t) => {
  let sendMore = (): Promise<void> => Promise.resolve()
  const { url } = await start(t, (app) => app.get('/own', async (_request, reply) => {
    await reply.sse.send({ data: 1 })
    sendMore = async () => {
      await reply.sse.send({ data: 2 })
      await reply.sse.close()
    }
  }))
  const stream = await EventStream.open(t, `${url}/own`)
  await stream.next()
  await new Promise(setImmediate)
  await sendMore()
  t.match(await stream.end(), [{ data: 2 }])
})

t.test('a handler that throws harms no app whose logger throws', async (t) => {
  const { url } = await start(t, (app) => app.get('/sync', (_request, reply) => {
    reply.log = { ...reply.log, warn () {}, error () { throw new Error('the disk is full') } }
    reply.sse.send({ data: 1 })
    throw new Error('failed at once')
  }))
  t.match(await (await EventStream.open(t, `${url}/sync`)).end(), [{ data: 1 }])
})

t.test('handlers that throw are watched for as long as an app is open', async (t) => {
  const watched = (): boolean => hasSubscribers('tracing:fastify.request.handler:error')
  const [one, two] = [await start(t, () => {}), await start(t, () => {})]
  await one.app.close()
  t.equal(watched(), true)
  await two.app.close()
  t.equal(watched(), false)
})

t.test('a source is asked for more only as fast as the client takes it', async (t) => {
  const chunk = 'x'.repeat(100_000)
  let made = 0
  const { url } = await start(t, (app) => app.get('/stream', async (_request, reply) => {
    await reply.sse.stream((async function * () {
      for (; made < 1000; made++) yield { data: chunk }
    })())
  }))
  const response = await fetch(`${url}/stream`)
  const reader = (response.body as ReadableStream<Uint8Array>).getReader()
  await reader.read()
  let before
  // Quiet once a whole turn of the loop, with its I/O, makes nothing new: the buffers of both sides are full.
  do {
    before = made
    for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate)
  } while (made > before)
  t.ok(made < 500, `${made} of 1000 chunks were made for a client that stalls`)
  let bytes = 0
  for (let read = await reader.read(); !read.done; read = await reader.read()) bytes += read.value.length
  t.ok(bytes > 900 * 100_000, 'then it got all of them')
})

t.test('a client that leaves before its stream opens is asked for nothing', async (t) => {
  let open = (): void => {}
  const gate = new Promise<void>((resolve) => { open = resolve })
  const seen = new EventEmitter()
  const { app, url } = await start(t, (app) => app.get('/stream', async (_request, reply) => {
    seen.emit('arrived')
    await gate
    let asked = false
    await reply.sse.stream((async function * () { asked = true; yield { data: 1 } })())
    seen.emit('resolved', asked, reply.sse.signal.aborted)
  }))
  const arrived = once(seen, 'arrived')
  const resolved = once(seen, 'resolved')
  const accepted = once(app.server, 'connection')
  const abort = new AbortController()
  const fetched = fetch(`${url}/stream`, { signal: abort.signal }).catch(() => {})
  const [socket] = await accepted
  await arrived
  const left = once(socket, 'close')
  abort.abort()
  await Promise.all([fetched, left])
  open()
  t.same(await resolved, [false, true])
})

t.test('the signal aborts when the client leaves before its stream opens', async (t) => {
  const seen = new EventEmitter()
  const { app, url } = await start(t, (app) => app.get('/slow', async (_request, reply) => {
    const { signal } = reply.sse
    seen.emit('arrived', signal.aborted)
    await once(signal, 'abort')
    seen.emit('aborted', reply.sse.signal === signal)
  }))
  const arrived = once(seen, 'arrived')
  const aborted = once(seen, 'aborted')
  const abort = new AbortController()
  fetch(`${url}/slow`, { signal: abort.signal }).catch(() => {})
  t.same(await arrived, [false])
  abort.abort()
  t.same(await aborted, [true])
  t.equal(app.chatEvents.stats().localChats, 0)
})

t.test('who does not wait for a stalled client gets it cut', async (t) => {
  const seen = new EventEmitter()
  const { url } = await start(t, (app) => app.get('/flood', async (_request, reply) => {
    const data = 'x'.repeat(100_000)
    let sent = 0
    while (!reply.sse.signal.aborted && sent < 10_000) {
      reply.sse.send({ data })
      sent++
      await new Promise(setImmediate)
    }
    seen.emit('cut', sent, await reply.sse.send({ data }).catch((error) => error.code))
  }), { maxBufferedBytes: 1_000_000 })
  const cut = once(seen, 'cut')
  const response = await fetch(`${url}/flood`)
  const [sent, code] = await cut
  t.ok(sent < 500, `cut after ${sent} events of 100 kB`)
  t.equal(code, 'RT_STREAM_CLOSED')
  await response.body?.cancel().catch(() => {})
})

t.test('a HEAD request to a route of one\'s own gets the headers and nothing else', async (t) => {
  const { app, url } = await start(t, (app) => app.get('/mine', async (_request, reply) => { await reply.sse.chat('mine') }))
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

t.test('a stream over HTTP/2 that is reset before it opens leaves nothing behind', async (t) => {
  const app = Fastify({ http2: true }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  let open = (): void => {}
  const gate = new Promise<void>((resolve) => { open = resolve })
  const seen = new EventEmitter()
  app.addHook('preHandler', async () => { seen.emit('arrived'); await gate })
  app.get('/send', async (_request, reply) => {
    const code = await reply.sse.send({ data: 1 }).catch((error) => error.code)
    seen.emit('answered', code, reply.sse.signal.aborted)
  })
  await app.register(realtimePlugin)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = http2.connect(`http://127.0.0.1:${(app.server.address() as { port: number }).port}`)
  t.teardown(() => session.destroy())
  const answered = once(seen, 'answered')
  for (const path of ['/send', '/api/chats/c/events']) {
    const arrived = once(seen, 'arrived')
    const request = session.request({ ':path': path }).on('error', () => {})
    await arrived
    request.close(http2.constants.NGHTTP2_CANCEL)
    await once(request, 'close')
    // The reset reaches the server before this answer leaves it.
    await new Promise<void>((resolve) => { session.ping(() => resolve()) })
  }
  open()
  t.same(await answered, ['RT_STREAM_CLOSED', true])
  await new Promise(setImmediate)
  t.equal(app.chatEvents.stats().localChats, 0)
})

t.test('a signal that is first looked at while the stream is open aborts when the client leaves', async (t) => {
  let abort = (): void => {}
  const aborted = new Promise<void>((resolve) => { abort = resolve })
  const { url } = await start(t, (app) => app.get('/own', async (_request, reply) => {
    await reply.sse.send({ data: 1 })
    reply.sse.signal.addEventListener('abort', () => abort())
  }))
  const stream = await EventStream.open(t, `${url}/own`)
  await stream.next()
  stream.close()
  await aborted
})

t.test('a signal that is first looked at when the stream was closed has aborted', async (t) => {
  let aborted: boolean | undefined
  const { url } = await start(t, (app) => app.get('/own', async (_request, reply) => {
    await reply.sse.send({ data: 1 })
    const closing = reply.sse.close()
    aborted = reply.sse.signal.aborted
    await closing
  }))
  await (await EventStream.open(t, `${url}/own`)).end()
  t.equal(aborted, true)
})

t.test('over HTTP/2, headers of a connection that hooks have set are left out', async (t) => {
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

t.test('many events that nobody waits for make no warning of a leak', async (t) => {
  const warnings: Error[] = []
  const onWarning = (warning: Error): void => { warnings.push(warning) }
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const { url } = await start(t, (app) => app.get('/own', async (_request, reply) => {
    await Promise.all(Array.from({ length: 40 }, (_, n) => reply.sse.send({ data: `${n}${'x'.repeat(20_000)}` })))
    await reply.sse.close()
  }), { maxBufferedBytes: 10_000_000 })
  t.equal((await (await EventStream.open(t, `${url}/own`)).end()).length, 40)
  await new Promise(setImmediate)
  t.same(warnings, [])
})
