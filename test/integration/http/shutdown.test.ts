import t, { type Test } from 'tap'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import net from 'node:net'
import tls from 'node:tls'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { Worker } from 'node:worker_threads'
import Fastify, { type FastifyInstance } from 'fastify'
import realtimePlugin, { type RealtimeOptions } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'

const key = await readFile(new URL('../../support/tls/key.pem', import.meta.url))
const cert = await readFile(new URL('../../support/tls/cert.pem', import.meta.url))

const port = (app: FastifyInstance): number => (app.server.address() as { port: number }).port

/** An app whose requests wait at a gate, as behind a slow access check. */
async function gated (t: Test, options: RealtimeOptions = {}): Promise<{
  app: FastifyInstance
  url: string
  arrived: Promise<void>
  draining: Promise<void>
  open: () => void
}> {
  const app = Fastify()
  t.teardown(() => app.close())
  let open = (): void => {}
  const gate = new Promise<void>((resolve) => { open = resolve })
  const arrived = new Promise<void>((resolve) => { app.addHook('preHandler', async () => { resolve(); await gate }) })
  await app.register(realtimePlugin, options)
  // Runs after the plugin's own.
  const draining = new Promise<void>((resolve) => { app.addHook('preClose', (done) => { resolve(); done() }) })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, url: `http://127.0.0.1:${port(app)}`, arrived, draining, open }
}

t.test('closing delivers earlier events, then ends the streams', async (t) => {
  const { app, url } = await startApp(t)
  const stream = await EventStream.open(t, `${url}/api/chats/c/events`)
  await stream.next()
  for (let n = 0; n < 100; n++) app.chatEvents.emitChatMessage('c', { n })
  await app.close()
  t.equal((await stream.end()).length, 100)
})

t.test('closing disconnects a thousand clients in time, and spreads their reconnects over seconds', async (t) => {
  const { app } = await startApp(t, { retryMs: 1_000 })
  const clients = await Promise.all(Array.from({ length: 1_000 }, async () => {
    const socket = net.connect(port(app), '127.0.0.1')
    t.teardown(() => socket.destroy())
    let received = ''
    socket.setEncoding('utf8').on('data', (chunk) => { received += chunk })
    socket.write('GET /api/chats/c/events HTTP/1.1\r\nHost: x\r\n\r\n')
    while (!received.includes('event: ready')) await once(socket, 'data')
    return { ended: once(socket, 'end'), received: () => received }
  }))
  await app.close()
  await Promise.all(clients.map(({ ended }) => ended))
  const bodies = clients.map(({ received }) => received())
  t.equal(bodies.filter((body) => body.endsWith('\r\n0\r\n\r\n')).length, 1_000, 'none was cut at drainTimeoutMs')
  const waits = bodies.map((body) => Number([...body.matchAll(/^retry: (\d+)$/gm)].at(-1)?.[1]))
  t.ok(waits.every((ms) => ms >= 1_000 && ms <= 3_000))
  const tenths = new Map<number, number>()
  for (const ms of waits) tenths.set(Math.floor(ms / 100), (tenths.get(Math.floor(ms / 100)) ?? 0) + 1)
  t.ok(tenths.size >= 20, 'in each tenth of a second some')
  t.ok(Math.max(...tenths.values()) < 100, `at most ${Math.max(...tenths.values())} at once`)
})

t.test('a stream that opens while the app closes gets a retry time, and ends', async (t) => {
  const { app, url, arrived, draining, open } = await gated(t, { retryMs: 777 })
  const opening = EventStream.open(t, `${url}/api/chats/c/events`)
  await arrived
  const closed = app.close()
  await draining
  open()
  const stream = await opening
  t.equal(stream.response.status, 200, 'any other status would stop a browser for good')
  t.same(await stream.end(), [])
  t.equal(stream.retries.length, 1)
  t.ok((stream.retries[0] as number) >= 777)
  await closed
})

t.test('a client that disconnects before its stream opens leaves nothing behind', async (t) => {
  const { app, url, arrived, open } = await gated(t)
  const accepted = once(app.server, 'connection')
  const abort = new AbortController()
  const opening = fetch(`${url}/api/chats/c/events`, { signal: abort.signal }).catch(() => {})
  const [socket] = await accepted as [net.Socket]
  await arrived
  const left = once(socket, 'close')
  abort.abort()
  await Promise.all([opening, left])
  open()
  await new Promise(setImmediate)
  t.equal(app.chatEvents.stats().localChats, 0)
})

t.test('a client that does not read delays closing no longer than drainTimeoutMs', async (t) => {
  const { app } = await startApp(t, { maxBufferedBytes: 100_000_000 })
  const accepted = once(app.server, 'connection')
  const stalled = net.connect(port(app), '127.0.0.1')
  t.teardown(() => stalled.destroy())
  stalled.pause().write('GET /api/chats/c/events HTTP/1.1\r\nHost: x\r\n\r\n')
  const [socket] = await accepted as [net.Socket]
  while (app.chatEvents.stats().localChats === 0) await new Promise(setImmediate)
  // More than the buffers of both sides can hold.
  for (let n = 0; n < 500; n++) await app.chatEvents.emitChatMessage('c', { text: 'x'.repeat(60_000) })
  const ownPort = port(app)
  const closed = app.close()
  // While streams are drained, connections are refused, so that they are tried elsewhere.
  await new Promise(setImmediate)
  const late = net.connect(ownPort, '127.0.0.1').on('error', () => {})
  await once(late, 'close')
  t.equal(socket.destroyed, false, 'it still has time')
  await closed
  t.equal(socket.destroyed, true)
})

t.test('connections without a request do not delay closing, over TLS either', async (t) => {
  const app = Fastify({ https: { key, cert } }) as unknown as FastifyInstance
  await app.register(realtimePlugin)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const unused = tls.connect({ port: port(app), host: '127.0.0.1', ca: cert })
  await once(unused, 'secureConnect')
  const request = https.get({ port: port(app), host: '127.0.0.1', ca: cert, path: '/api/chats/c/events' })
  const [response] = await once(request, 'response')
  t.equal(response.statusCode, 200)
  response.resume()
  const ended = Promise.all([once(response, 'end'), once(unused, 'close')])
  await app.close()
  await ended
  t.pass('the stream ended in full, the unused connection was closed')
})

t.test('a connection whose last response is sent while the app closes does not delay closing', async (t) => {
  const { app, url, arrived, draining, open } = await gated(t)
  app.server.keepAliveTimeout = 600_000
  const agent = new http.Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  const request = http.get(`${url}/api/health/pubsub`, { agent })
  await arrived
  const closed = app.close()
  await draining
  open()
  const [response] = await once(request, 'response')
  response.resume()
  t.equal(response.statusCode, 200)
  await closed
})

t.test('closing ends idle connections and those of streams: a 503 would stop an EventSource for good', async (t) => {
  const { app } = await startApp(t)
  const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`
  const [streaming, idle] = [net.connect(port(app), '127.0.0.1'), net.connect(port(app), '127.0.0.1')]
  streaming.write(get('/api/chats/c/events'))
  idle.write(get('/api/health/pubsub'))
  let received = ''
  streaming.setEncoding('utf8').on('data', (chunk) => { received += chunk })
  await Promise.all([once(streaming, 'data'), once(idle, 'data')])
  idle.resume()
  const ended = Promise.all([once(streaming, 'end'), once(idle, 'close')])
  const closed = app.close()
  await ended
  t.match(received, /\r\n0\r\n\r\n$/, 'the stream was ended in full')
  await closed
})

t.test('a TLS connection in its handshake does not delay closing', async (t) => {
  const app = Fastify({ https: { key, cert } }) as unknown as FastifyInstance
  await app.register(realtimePlugin)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const accepted = once(app.server, 'connection')
  const silent = net.connect(port(app), '127.0.0.1')
  silent.on('error', () => {})
  await accepted
  await app.close()
  t.pass('closed')
})

t.test('an HTTP/2 client that stops responding does not delay closing', async (t) => {
  const app = Fastify({ http2: true }) as unknown as FastifyInstance
  await app.register(realtimePlugin, { drainTimeoutMs: 100 })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = new Worker(`
    const { connect } = require('node:http2')
    const { parentPort, workerData } = require('node:worker_threads')
    const request = connect(workerData).request({ ':path': '/api/chats/c/events' })
    request.once('response', () => {
      parentPort.postMessage('open')
      // Deaf and dumb from here on, with its connection open.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
    })
  `, { eval: true, workerData: `http://127.0.0.1:${port(app)}` })
  t.teardown(() => client.terminate())
  await once(client, 'message')
  await app.close()
  t.pass('closed')
})

t.test('HTTP/2 sessions do not delay closing', async (t) => {
  const app = Fastify({ http2: true }) as unknown as FastifyInstance
  let open = (): void => {}
  const gate = new Promise<void>((resolve) => { open = resolve })
  app.get('/held', async () => { await gate; return 'held' })
  await app.register(realtimePlugin)
  const draining = new Promise<void>((resolve) => { app.addHook('preClose', (done) => { resolve(); done() }) })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const connect = (): http2.ClientHttp2Session => http2.connect(`http://127.0.0.1:${port(app)}`).on('error', () => {})
  const idle = connect()
  const session = connect()
  const stream = session.request({ ':path': '/api/chats/c/events' })
  const held = session.request({ ':path': '/held' })
  await Promise.all([once(idle, 'connect'), once(stream, 'response')])
  const ended = Promise.all([once(stream.resume(), 'end'), once(idle, 'close')])
  const closed = app.close()
  await draining
  await ended
  open()
  const [headers] = await once(held, 'response')
  t.equal(headers[':status'], 200, 'earlier requests get their responses')
  held.resume()
  await closed
})
