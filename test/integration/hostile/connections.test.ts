import t from 'tap'
import { once } from 'node:events'
import http2 from 'node:http2'
import net from 'node:net'
import { setFlagsFromString } from 'node:v8'
import vm from 'node:vm'
import Fastify, { type FastifyInstance } from 'fastify'
import { Registry } from 'prom-client'
import realtimePlugin from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { GET, connect, tick } from './connect.ts'

t.beforeEach((t) => nothingUnhandled(t))

t.test('the first of 500 GETs on one connection opens a stream, and the others are not authorized', async (t) => {
  const seen = { requests: 0, asked: 0 }
  const { app, url } = await startApp(t, { authorize: () => { seen.asked++; return true } })
  app.server.on('request', () => { seen.requests++ })
  const socket = connect(url)
  socket.write(GET.repeat(500))
  await once(socket, 'data')
  while (seen.requests < 500) await tick()
  await (await EventStream.open(t, `${url}/api/chats/d/events`)).next()
  t.match(app.chatEvents.stats(), { localChats: 2 })
  t.equal(seen.asked, 2)
  socket.destroy()
  while (app.chatEvents.stats().localChats !== 1) await tick()
})

t.test('HEAD and OPTIONS open no stream, with any headers', async (t) => {
  const { app, url } = await startApp(t)
  for (const method of ['HEAD', 'OPTIONS']) {
    const response = await fetch(`${url}/api/chats/c/events`, {
      method, headers: { accept: 'text/event-stream', 'last-event-id': 'e-1-1' }
    })
    t.equal(response.status, 404, method)
    await response.text()
  }
  t.equal(app.chatEvents.stats().localChats, 0)
})

t.test('a hundred clients that disconnect during authorize leave nothing behind', async (t) => {
  let allow = (): void => {}
  const gate = new Promise<void>((resolve) => { allow = resolve })
  const seen = { asked: 0 }
  const { app, url } = await startApp(t, {
    maxConnections: 100, authorize: async () => { seen.asked++; await gate; return { userId: 'ada' } }
  })
  const sockets = Array.from({ length: 100 }, () => connect(url))
  for (const socket of sockets) socket.write(GET)
  while (seen.asked < 100) await tick()
  for (const socket of sockets) socket.resetAndDestroy()
  while (await new Promise((resolve) => app.server.getConnections((_error, count) => resolve(count))) !== 0) {
    await tick()
  }
  allow()
  await tick()
  t.equal(app.chatEvents.stats().localChats, 0)
  t.match(
    await (await EventStream.open(t, `${url}/api/chats/c/events`)).next(), { event: 'ready' }, 'there is room again'
  )
})

t.test('HTTP/2 streams that are reset as fast as they are opened do no harm', async (t) => {
  const app = Fastify({ http2: true }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(realtimePlugin)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const url = `http://127.0.0.1:${(app.server.address() as { port: number }).port}`
  const open = (): http2.ClientHttp2Session => {
    const session = http2.connect(url).on('error', () => {})
    t.teardown(() => session.destroy())
    return session
  }
  const well = open().request({ ':path': '/api/chats/well/events' })
  let body = ''
  well.setEncoding('utf8').on('data', (chunk) => { body += chunk })
  await once(well, 'data')
  for (let round = 0; round < 20; round++) {
    const session = open()
    await once(session, 'connect')
    for (let n = 0; n < 200 && !session.closed; n++) {
      session.request({ ':path': '/api/chats/c/events' }).on('error', () => {}).close(http2.constants.NGHTTP2_CANCEL)
    }
    await new Promise((resolve) => { if (session.closed || !session.ping(resolve)) resolve(undefined) })
    session.destroy()
  }
  while (app.chatEvents.stats().localChats !== 1) await tick()
  await app.chatEvents.emitChatMessage('well', { text: 'still here' })
  while (!body.includes('still here')) await once(well, 'data')
  t.pass('another client still gets its events')
})

t.test('clients that never read and reconnect after each cut use no more memory over time', async (t) => {
  setFlagsFromString('--expose-gc')
  const gc = vm.runInNewContext('gc') as () => void
  const LIMIT = 100_000
  const CLIENTS = 20
  const text = 'x'.repeat(20_000)
  const metrics = new Registry()
  const { app, url } = await startApp(t, { maxBufferedBytes: LIMIT, history: { size: 10 }, metrics })
  const fast = await EventStream.open(t, `${url}/api/chats/c/events`)
  await fast.next()
  let cut = 0
  const stalled = new Set<net.Socket>()
  const stall = (): void => {
    const socket = connect(url).pause()
    stalled.add(socket)
    socket.write(GET)
  }
  // A client that reads nothing does not notice that it was cut. The server does.
  app.server.on('connection', (accepted: net.Socket) => {
    const { remotePort } = accepted
    accepted.once('close', () => {
      const client = [...stalled].find(({ localPort }) => localPort === remotePort)
      if (client === undefined) return
      stalled.delete(client)
      client.destroy()
      cut++
      stall()
    })
  })
  const leave = (): void => {
    const leaving = [...stalled]
    stalled.clear()
    for (const socket of leaving) socket.destroy()
  }
  t.teardown(leave)
  const connected = (): Promise<number> => new Promise((resolve) => {
    app.server.getConnections((_error, count) => resolve(count))
  })
  const buffered = async (): Promise<number> => {
    const gauge = metrics.getSingleMetric('realtime_buffered_bytes')
    const { values: [value] } = await gauge?.get() as unknown as { values: [{ value: number }] } // It has no labels.
    return value.value
  }
  let most = 0
  /** Returns the bytes in use after many clients were cut and all but the fast one have left. */
  const round = async (): Promise<number> => {
    for (let n = 0; n < CLIENTS; n++) stall()
    for (let n = 0; n < 1_000; n++) {
      await app.chatEvents.emitChatMessage('c', { text })
      await fast.next()
      most = Math.max(most, await buffered())
    }
    leave()
    while (await connected() > 1) await tick()
    gc()
    await tick()
    gc()
    return process.memoryUsage().arrayBuffers
  }
  const [before, cutBefore] = [await round(), cut]
  const after = await round()
  const cutLater = cut - cutBefore
  t.ok(cutLater > CLIENTS, `${cutLater} were cut in the second round`)
  t.ok(most > LIMIT, `at most ${most} bytes waited`)
  t.ok(most <= CLIENTS * (LIMIT + 2 * text.length), 'and never more than maxBufferedBytes and an event for each')
  const figures = `${before} bytes after the first round, ${after} after the second`
  t.ok(after - before < CLIENTS * LIMIT, `${figures}: nothing is kept of a client that was cut`)
})
