import t, { type Test } from 'tap'
import { once, EventEmitter } from 'node:events'
import type { FastifyInstance } from 'fastify'
import type { SseEvent } from '../../lib/index.ts'
import { startApp } from '../support/app.ts'
import { EventStream } from '../support/event-stream.ts'

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
