import t, { type Test } from 'tap'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { mock } from 'node:test'
import Fastify, { type FastifyInstance, type FastifyRequest, type FastifyServerOptions } from 'fastify'
import realtimePlugin, { type AccessGrant, type RealtimeOptions, type RealtimeErrorCode } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { until } from '../../support/until.ts'

const EVENT_STREAM = { accept: 'text/event-stream' }

/** What a limit is, and streams that reach it. */
const limits: { code: RealtimeErrorCode, options: RealtimeOptions, open: [string, Record<string, string>?][], over: string, headers?: Record<string, string>, free: [string, Record<string, string>?] | undefined }[] = [
  { code: 'RT_TOO_MANY_CONNECTIONS', options: { maxConnections: 2 }, open: [['a'], ['b']], over: 'c', free: undefined },
  { code: 'RT_TOO_MANY_PER_CLIENT', options: { maxConnectionsPerClient: 2 }, open: [['a'], ['a']], over: 'a', free: undefined },
  {
    code: 'RT_TOO_MANY_PER_CLIENT',
    options: { maxConnectionsPerClient: 1, authorize: ({ headers }) => ({ userId: headers.authorization ?? 'nobody' }) },
    open: [['a', { authorization: 'ada' }], ['b', { authorization: 'bob' }]],
    over: 'b',
    headers: { authorization: 'ada' },
    free: ['a', { authorization: 'eve' }]
  },
  { code: 'RT_TOO_MANY_ROOMS', options: { maxRooms: 2 }, open: [['a'], ['b'], ['a']], over: 'c', free: ['b'] }
]

for (const { code, options, open, over, headers = {}, free } of limits) {
  t.test(`${code} with ${Object.keys(options).join(' and ')}`, async (t) => {
    const { app, url } = await startApp(t, { retryMs: 1_000, ...options })
    const chat = (chatId: string): string => `${url}/api/chats/${chatId}/events`
    const streams = []
    for (const [chatId, headers = {}] of open) {
      const stream = await EventStream.open(t, chat(chatId), { headers })
      await stream.next()
      streams.push(stream)
    }

    const refused = await fetch(chat(over), { headers })
    t.equal(refused.status, 503)
    t.match(await refused.json(), { code })
    t.match(refused.headers.get('retry-after'), /^[123]$/)
    t.match(refused.headers.get('content-type'), /json/)

    const shed = await EventStream.open(t, chat(over), { headers: { ...headers, ...EVENT_STREAM } })
    t.equal(shed.response.status, 200, 'any other status would stop an EventSource for good')
    t.same(await shed.end(), [])
    t.equal(shed.retries.length, 1)
    t.ok((shed.retries[0] as number) >= 1_000 && (shed.retries[0] as number) <= 3_000)
    if (free !== undefined) {
      const [chatId, headers = {}] = free
      await (await EventStream.open(t, chat(chatId), { headers })).next()
    }

    if (code === 'RT_TOO_MANY_ROOMS') return
    t.equal((app.chatEvents.stats()).localChats, new Set(open.map(([chatId]) => chatId)).size, 'nothing is left of who was refused')
    streams[0]?.close()
    // It is free as soon as the server has noticed.
    for (;;) {
      const response = await fetch(chat(open[0]?.[0] as string), { headers: open[0]?.[1] ?? {} })
      if (response.status === 200) break
      await response.body?.cancel()
    }
  })
}

t.test('streams of the app\'s own count, too', async (t) => {
  let returned = 0
  const { url } = await startApp(t, { maxConnections: 1 }, {
    setup: (app) => {
      app.get('/own', async (_request, reply) => { await reply.sse.send({ data: 1 }) })
      app.get('/many', async (_request, reply) => {
        await reply.sse.stream((async function * () { try { yield { data: 1 } } finally { returned++ } })())
      })
    }
  })
  await (await EventStream.open(t, `${url}/own`)).next()
  t.equal((await fetch(`${url}/own`)).status, 503)
  t.equal((await fetch(`${url}/many`)).status, 503)
  const shed = await EventStream.open(t, `${url}/many`, { headers: EVENT_STREAM })
  t.same(await shed.end(), [])
  t.equal(shed.retries.length, 1)
  t.equal(returned, 0)
})

t.test('RT_TOO_MANY_PER_SESSION', async (t) => {
  const app = Fastify({ http2: true }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(realtimePlugin, { maxStreamsPerSession: 2 })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const connect = (): http2.ClientHttp2Session => {
    const session = http2.connect(`http://127.0.0.1:${(app.server.address() as { port: number }).port}`)
    t.teardown(() => session.destroy())
    return session
  }
  const open = async (session: http2.ClientHttp2Session): Promise<{ status: number, stream: http2.ClientHttp2Stream }> => {
    const stream = session.request({ ':path': '/api/chats/c/events' })
    const [headers] = await once(stream, 'response')
    stream.resume()
    return { status: headers[':status'], stream }
  }
  const session = connect()
  const first = await open(session)
  t.equal(first.status, 200)
  t.equal((await open(session)).status, 200)
  t.equal((await open(session)).status, 503)
  t.equal((await open(connect())).status, 200)
  first.stream.close()
  // The server notices that it was closed.
  await until(() => open(session), ({ status }) => status === 200)
})

t.test('a stream ends by itself, three quarters of maxConnectionAgeMs after it opened or later', async (t) => {
  const { url } = await startApp(t, { maxConnectionAgeMs: 400 })
  const opened = performance.now()
  const stream = await EventStream.open(t, `${url}/api/chats/c/events`)
  t.match((await stream.end()).map(({ event }) => event), ['ready'])
  // A timer of Node may be a few milliseconds early.
  t.ok(performance.now() - opened >= 295)
})

t.test('streams that open together end at different times', async (t) => {
  const maxConnectionAgeMs = 400_000
  const { app, url } = await startApp(t, { maxConnectionAgeMs })
  t.teardown(() => mock.reset())
  mock.timers.enable({ apis: ['setTimeout'] })
  const open = async (draw: number): Promise<EventStream> => {
    const random = mock.method(Math, 'random', () => draw)
    const stream = await EventStream.open(t, `${url}/api/chats/c/events`)
    t.match(await stream.next(), { event: 'ready' })
    random.mock.restore()
    return stream
  }
  const [longest, shorter] = [await open(0), await open(0.8)]
  mock.timers.tick(0.8 * maxConnectionAgeMs)
  t.same(await shorter.end(), [])
  await app.chatEvents.emitChatMessage('c', { n: 1 })
  t.match(await longest.next(), { data: { message: { n: 1 } } }, 'the other one goes on')
  mock.timers.tick(0.2 * maxConnectionAgeMs)
  t.same(await longest.end(), [])
})

const turn = async (): Promise<void> => { await new Promise(setImmediate) }

const named = ({ headers }: FastifyRequest): AccessGrant => ({ userId: headers.authorization ?? 'ada' })

/** A client over HTTP/1.1 that asks for a stream and reads nothing, with more on the way to it than both sides can buffer. */
async function stall (t: Test, app: FastifyInstance): Promise<{ client: net.Socket, socket: net.Socket }> {
  const accepted = once(app.server, 'connection')
  const client = net.connect((app.server.address() as net.AddressInfo).port, '127.0.0.1').on('error', () => {})
  t.teardown(() => client.destroy())
  client.pause().write('GET /api/chats/c/events HTTP/1.1\r\nHost: x\r\n\r\n')
  const [socket] = await accepted as [net.Socket]
  while (app.chatEvents.stats().localChats === 0) await turn()
  while (socket.writableLength < 1_000_000) {
    await app.chatEvents.emitChatMessage('c', { text: 'x'.repeat(60_000) })
    await turn()
  }
  return { client, socket }
}

t.test('a stream that has ended counts until its client has received the rest', async (t) => {
  const { app, url } = await startApp(t, { maxConnectionsPerClient: 1, authorize: named, maxBufferedBytes: 100_000_000, drainTimeoutMs: 600_000 })
  const { client, socket } = await stall(t, app)
  await app.chatEvents.revoke('c', 'ada')
  t.match(await (await fetch(`${url}/api/chats/c/events`)).json(), { code: 'RT_TOO_MANY_PER_CLIENT' })
  const closed = new Promise((resolve) => { socket.once('close', resolve) })
  client.destroy()
  await closed
  t.equal((await EventStream.open(t, `${url}/api/chats/c/events`)).response.status, 200)
})

t.test('a stream that has ended is cut where its client does not receive the rest within drainTimeoutMs', async (t) => {
  const { app, url } = await startApp(t, { maxConnections: 1, authorize: named, maxBufferedBytes: 100_000_000, drainTimeoutMs: 50 })
  const { socket } = await stall(t, app)
  const closed = once(socket, 'close')
  await app.chatEvents.revoke('c', 'ada')
  await closed
  t.equal((await EventStream.open(t, `${url}/api/chats/c/events`)).response.status, 200)
})

t.test('a client whose stream has ended in full may open the next one at once, on the same connection', async (t) => {
  const { app } = await startApp(t, { maxConnections: 1, maxConnectionsPerClient: 1, authorize: named })
  const client = net.connect((app.server.address() as net.AddressInfo).port, '127.0.0.1').setEncoding('utf8')
  t.teardown(() => client.destroy())
  let received = ''
  client.on('data', (chunk) => { received += chunk })
  for (let streams = 1; streams <= 3; streams++) {
    client.write('GET /api/chats/c/events HTTP/1.1\r\nHost: x\r\n\r\n')
    while (received.split('event: ready').length <= streams) await once(client, 'data')
    await app.chatEvents.revoke('c', 'ada')
    while (received.split('\r\n0\r\n\r\n').length <= streams) await once(client, 'data')
  }
  t.notMatch(received, /RT_TOO_MANY/)
})

/** A stream over HTTP/2 that has ended while its client did not read, so that more was on the way than it may be sent. */
async function stallOverHttp2 (t: Test, drainTimeoutMs: number): Promise<{ stalled: http2.ClientHttp2Stream, status: () => Promise<number> }> {
  const app = Fastify({ http2: true }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(realtimePlugin, { maxStreamsPerSession: 1, authorize: named, maxBufferedBytes: 100_000_000, drainTimeoutMs })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = http2.connect(`http://127.0.0.1:${(app.server.address() as net.AddressInfo).port}`)
  t.teardown(() => session.destroy())
  const request = (): http2.ClientHttp2Stream => session.request({ ':path': '/api/chats/c/events' })
  const stalled = request()
  await once(stalled, 'response')
  for (let n = 0; n < 3; n++) await app.chatEvents.emitChatMessage('c', { text: 'x'.repeat(60_000) })
  await turn()
  await app.chatEvents.revoke('c', 'ada')
  return { stalled, status: async () => (await once(request().resume(), 'response'))[0][':status'] }
}

t.test('over HTTP/2, a stream that has ended counts until its client has received the rest', async (t) => {
  const { stalled, status } = await stallOverHttp2(t, 600_000)
  t.equal(await status(), 503)
  await once(stalled.resume(), 'close')
  t.equal(stalled.rstCode, http2.constants.NGHTTP2_NO_ERROR)
  t.equal(await status(), 200)
})

t.test('over HTTP/2, a stream that has ended is cut where its client does not receive the rest, and its connection stays', async (t) => {
  const { stalled, status } = await stallOverHttp2(t, 50)
  await once(stalled, 'close')
  t.equal(stalled.rstCode, http2.constants.NGHTTP2_CANCEL, 'a clean end would say that nothing is missing')
  t.equal(await status(), 200)
})

/** An app in which `authorize` waits until it is opened for all that wait, with what it shall say. */
async function gated (t: Test, options: RealtimeOptions, server: FastifyServerOptions = {}): Promise<{
  app: FastifyInstance, url: string, waiting: () => number, answer: (access: boolean | AccessGrant) => void
}> {
  let questions: ((access: boolean | AccessGrant) => void)[] = []
  const authorize = async (): Promise<boolean | AccessGrant> => await new Promise((resolve) => { questions.push(resolve) })
  const answer = (access: boolean | AccessGrant): void => {
    for (const resolve of questions) resolve(access)
    questions = []
  }
  t.teardown(() => answer(false))
  return { ...await startApp(t, { ...options, authorize }, { server }), waiting: () => questions.length, answer }
}

for (const options of [{ maxConnections: 2 }, { maxConnectionsPerClient: 2 }]) {
  t.test(`requests that wait for authorize count against ${Object.keys(options).join()}`, async (t) => {
    const { url, waiting, answer } = await gated(t, options)
    const chat = `${url}/api/chats/c/events`
    const opening = [EventStream.open(t, chat), EventStream.open(t, chat)]
    while (waiting() < 2) await turn()
    t.equal((await fetch(chat)).status, 503)
    const shed = await EventStream.open(t, chat, { headers: EVENT_STREAM })
    t.same(await shed.end(), [])
    t.equal(shed.retries.length, 1)
    t.equal(waiting(), 2, 'authorize was not called for those')
    answer(true)
    for (const stream of opening) t.match(await (await stream).next(), { event: 'ready' })
  })
}

t.test('what a request that waited took of the limits is given back, however it ends', async (t) => {
  const { app, url, waiting, answer } = await gated(t, { maxConnections: 1, maxConnectionsPerClient: 1 })
  const chat = '/api/chats/c/events'
  const waits = async (): Promise<void> => { while (waiting() === 0) await turn() }

  const refused = fetch(`${url}${chat}`)
  await waits()
  answer(false)
  t.equal((await refused).status, 403)

  const invalid = fetch(`${url}${chat}?rewind=x`)
  await waits()
  answer(true)
  t.equal((await invalid).status, 400)

  const accepted = once(app.server, 'connection')
  const leaver = net.connect((app.server.address() as net.AddressInfo).port, '127.0.0.1')
  leaver.write(`GET ${chat} HTTP/1.1\r\nHost: x\r\n\r\n`)
  const [socket] = await accepted as [net.Socket]
  await waits()
  leaver.destroy()
  await once(socket, 'close')
  t.equal(waiting(), 1, 'authorize has still not answered')

  const injected = app.inject(chat)
  while (waiting() < 2) await turn()
  answer(false)
  t.equal((await injected).statusCode, 403)

  const stream = EventStream.open(t, `${url}${chat}`)
  await waits()
  answer({ userId: 'ada' })
  t.match(await (await stream).next(), { event: 'ready' })
  const other = EventStream.open(t, `${url}${chat}`)
  t.equal((await other).response.status, 503, 'the open stream counts once, not twice')
})

t.test('a handler whose stream was refused no longer counts, and may try another one', async (t) => {
  const { url } = await startApp(t, { maxConnections: 1 }, {
    setup: (app) => app.get('/first', async (_request, reply) => {
      await reply.sse.chat('').catch(() => {})
      await reply.sse.send({ data: 1 })
    })
  })
  t.match(await (await EventStream.open(t, `${url}/first`)).next(), { data: 1 })
})

t.test('HEAD takes nothing of the limits for longer than its answer', async (t) => {
  const { url } = await startApp(t, { maxConnections: 1 }, {
    setup: (app) => app.get('/own', async (_request, reply) => { await reply.sse.send({ data: 1 }).catch(() => {}) })
  })
  t.equal((await fetch(`${url}/own`, { method: 'HEAD' })).status, 200)
  t.equal((await fetch(`${url}/own`, { method: 'HEAD' })).status, 200)
  t.match(await (await EventStream.open(t, `${url}/own`)).next(), { data: 1 })
})

t.test('users behind one address do not count as one client while they wait for authorize', async (t) => {
  const { url, waiting, answer } = await gated(t, { maxConnectionsPerClient: 1 })
  const chat = `${url}/api/chats/c/events`
  const first = EventStream.open(t, chat)
  while (waiting() === 0) await turn()
  answer({ userId: 'ada' })
  t.match(await (await first).next(), { event: 'ready' })
  const others = [EventStream.open(t, chat), EventStream.open(t, chat)]
  while (waiting() < 2) await turn()
  answer({ userId: 'bob' })
  const statuses = (await Promise.all(others)).map(({ response }) => response.status)
  t.same(statuses.sort(), [200, 503], 'each counts as its user from then on')
})

t.test('requests of one address that wait for authorize take half of maxConnections at most, also where users are named', async (t) => {
  const { url, waiting, answer } = await gated(t, { maxConnections: 5, maxConnectionsPerClient: 1 }, { trustProxy: true })
  const open = (address: string): Promise<EventStream> =>
    EventStream.open(t, `${url}/api/chats/c/events`, { headers: { 'x-forwarded-for': address } })
  const first = open('192.0.2.9')
  while (waiting() === 0) await turn()
  answer({ userId: 'ada' })
  t.match(await (await first).next(), { event: 'ready' })

  const crowd = ['2001:db8::1', '2001:db8::2', '2001:db8::3', '2001:db8::4'].map(open)
  t.equal((await Promise.race(crowd)).response.status, 503)
  const other = open('192.0.2.1')
  while (waiting() < 4) await turn()
  answer(true)
  t.equal((await other).response.status, 200)
  t.same((await Promise.all(crowd)).map(({ response: { status } }) => status).sort(), [200, 503, 503, 503], 'as its streams it may have one')
})

t.test('a client of IPv6 counts as one, whichever address of its network it uses', async (t) => {
  const { url } = await startApp(t, { maxConnectionsPerClient: 1 }, { server: { trustProxy: true } })
  const open = (address: string): Promise<EventStream> =>
    EventStream.open(t, `${url}/api/chats/c/events`, { headers: { 'x-forwarded-for': address } })
  const statuses = []
  for (const address of ['2001:db8:0:1::1', '2001:db8:0:1:ffff::1', '2001:db8:0:2::1', '192.0.2.1', '::ffff:192.0.2.1']) {
    statuses.push((await open(address)).response.status)
  }
  t.same(statuses, [200, 503, 200, 200, 503])
})

t.test('a user whose id is an address is not mistaken for that client', async (t) => {
  const { url } = await startApp(t, { maxConnectionsPerClient: 1, authorize: ({ headers }) => headers.authorization === undefined || { userId: headers.authorization } })
  const chat = `${url}/api/chats/c/events`
  t.match(await (await EventStream.open(t, chat, { headers: { authorization: '127.0.0.1' } })).next(), { event: 'ready' })
  t.match(await (await EventStream.open(t, chat)).next(), { event: 'ready' })
})

for (const trustProxy of [false, true]) {
  t.test(`over a Unix socket, clients count ${trustProxy ? 'by the address that a trusted proxy names' : 'as one, and a warning says so once'}`, async (t) => {
    const lines: string[] = []
    const app = Fastify({ trustProxy, logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } } })
    t.teardown(() => app.close())
    await app.register(realtimePlugin, { maxConnectionsPerClient: 1 })
    const dir = await mkdtemp(`${tmpdir()}/rt-`)
    t.teardown(() => rm(dir, { recursive: true }))
    await app.listen({ path: `${dir}/app.sock` })
    const status = async (address: string): Promise<number | undefined> => {
      const request = http.get({ socketPath: `${dir}/app.sock`, path: '/api/chats/c/events', headers: { 'x-forwarded-for': address } })
      t.teardown(() => request.destroy())
      request.on('error', () => {})
      const [response] = await once(request, 'response') as [http.IncomingMessage]
      response.on('error', () => {}).resume()
      return response.statusCode
    }
    t.same([await status('10.0.0.1'), await status('10.0.0.2'), await status('10.0.0.1')], [200, trustProxy ? 200 : 503, 503])
    t.equal(lines.filter((line) => line.includes('trustProxy')).length, trustProxy ? 0 : 1)
  })
}
