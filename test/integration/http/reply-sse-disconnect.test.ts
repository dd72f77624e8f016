import t from 'tap'
import { once, EventEmitter } from 'node:events'
import http2 from 'node:http2'
import Fastify, { type FastifyInstance } from 'fastify'
import realtimePlugin from '../../../lib/index.ts'
import { EventStream } from '../../support/event-stream.ts'
import { start } from './own-route.ts'

t.test('a client that disconnects before its stream opens makes the source produce nothing', async (t) => {
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

t.test('the signal aborts if the client disconnects before its stream opens', async (t) => {
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

t.test('an HTTP/2 stream that is reset before it opens leaves nothing behind', async (t) => {
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
    // The reset reaches the server before this response leaves it.
    await new Promise<void>((resolve) => { session.ping(() => resolve()) })
  }
  open()
  t.same(await answered, ['RT_STREAM_CLOSED', true])
  await new Promise(setImmediate)
  t.equal(app.chatEvents.stats().localChats, 0)
})

t.test('a signal that is first read while the stream is open aborts when the client disconnects', async (t) => {
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

t.test('a signal that is first read after the stream was closed is aborted', async (t) => {
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
