import t from 'tap'
import { once, EventEmitter } from 'node:events'
import { hasSubscribers } from 'node:diagnostics_channel'
import type { FastifyBaseLogger } from 'fastify'
import type { SseEvent } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { keepLog } from '../../support/log.ts'
import { start } from './own-route.ts'

t.test('an async iterable is streamed to its end', async (t) => {
  const { url } = await start(t, (app) => app.get('/stream', async (_request, reply) => {
    await reply.sse.stream((async function * () {
      for (let n = 0; n < 3; n++) yield { event: 'token', data: n }
    })())
  }))
  const stream = await EventStream.open(t, `${url}/stream`)
  t.same((await stream.end()).map(({ data }) => data), [0, 1, 2])
})

t.test('when the client disconnects, a generator returns and its signal aborts, even if it hangs', async (t) => {
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

t.test('a generator that never settles does not keep a stream whose client has disconnected', async (t) => {
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

t.test('a generator that throws ends its stream, is logged, and does no other harm', async (t) => {
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
  for (const [path, message] of [
    ['/async', 'failed later'],
    ['/sync', 'failed at once'],
    ['/two', 'is already a stream'],
    ['/chat', 'failed in a chat']
  ]) {
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

t.test('a handler that throws does not harm an app whose logger throws', async (t) => {
  const { url } = await start(t, (app) => app.get('/sync', (_request, reply) => {
    reply.log = { ...reply.log, warn () {}, error () { throw new Error('the disk is full') } }
    reply.sse.send({ data: 1 })
    throw new Error('failed at once')
  }))
  t.match(await (await EventStream.open(t, `${url}/sync`)).end(), [{ data: 1 }])
})

t.test('handlers that throw are observed for as long as an app is open', async (t) => {
  const watched = (): boolean => hasSubscribers('tracing:fastify.request.handler:error')
  const [one, two] = [await start(t, () => {}), await start(t, () => {})]
  await one.app.close()
  t.equal(watched(), true)
  await two.app.close()
  t.equal(watched(), false)
})

t.test('a source is read only as fast as the client reads', async (t) => {
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

t.test('a handler that does not wait for a stalled client gets it cut', async (t) => {
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

t.test('many writes that are not awaited cause no warning about a leak', async (t) => {
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
