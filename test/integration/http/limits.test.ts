import t from 'tap'
import http from 'node:http'
import http2 from 'node:http2'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { mock } from 'node:test'
import Fastify, { type FastifyInstance } from 'fastify'
import realtimePlugin, { type RealtimeOptions, type RealtimeErrorCode } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { until } from '../../support/until.ts'

/** A limit, and streams that reach it. */
const limits: {
  code: RealtimeErrorCode
  options: RealtimeOptions
  open: [string, Record<string, string>?][]
  over: string
  headers?: Record<string, string>
  free: [string, Record<string, string>?] | undefined
}[] = [
  { code: 'RT_TOO_MANY_CONNECTIONS', options: { maxConnections: 2 }, open: [['a'], ['b']], over: 'c', free: undefined },
  {
    code: 'RT_TOO_MANY_PER_CLIENT',
    options: { maxConnectionsPerClient: 2 },
    open: [['a'], ['a']],
    over: 'a',
    free: undefined
  },
  {
    code: 'RT_TOO_MANY_PER_CLIENT',
    options: {
      maxConnectionsPerClient: 1, authorize: ({ headers }) => ({ userId: headers.authorization ?? 'nobody' })
    },
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

    const shed = await EventStream.open(t, chat(over), { headers: { ...headers, accept: 'text/event-stream' } })
    t.equal(shed.response.status, 200, 'any other status would stop an EventSource for good')
    t.same(await shed.end(), [])
    t.equal(shed.retries.length, 1)
    t.ok((shed.retries[0] as number) >= 1_000 && (shed.retries[0] as number) <= 3_000)
    if (free !== undefined) {
      const [chatId, headers = {}] = free
      await (await EventStream.open(t, chat(chatId), { headers })).next()
    }

    if (code === 'RT_TOO_MANY_ROOMS') return
    t.equal(
      (app.chatEvents.stats()).localChats,
      new Set(open.map(([chatId]) => chatId)).size,
      'refused clients leave nothing behind'
    )
    streams[0]?.close()
    // It is free as soon as the server has noticed.
    for (;;) {
      const response = await fetch(chat(open[0]?.[0] as string), { headers: open[0]?.[1] ?? {} })
      if (response.status === 200) break
      await response.body?.cancel()
    }
  })
}

t.test('streams of the app\'s own routes count, too', async (t) => {
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
  const shed = await EventStream.open(t, `${url}/many`, { headers: { accept: 'text/event-stream' } })
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
  const open = async (session: http2.ClientHttp2Session): Promise<{
    status: number, stream: http2.ClientHttp2Stream
  }> => {
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
  t.match(await longest.next(), { data: { message: { n: 1 } } }, 'the other one continues')
  mock.timers.tick(0.2 * maxConnectionAgeMs)
  t.same(await longest.end(), [])
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

t.test('an IPv6 client counts as one, with any address of its network', async (t) => {
  const { url } = await startApp(t, { maxConnectionsPerClient: 1 }, { server: { trustProxy: true } })
  const open = (address: string): Promise<EventStream> =>
    EventStream.open(t, `${url}/api/chats/c/events`, { headers: { 'x-forwarded-for': address } })
  const statuses = []
  for (const address of [
    '2001:db8:0:1::1', '2001:db8:0:1:ffff::1', '2001:db8:0:2::1', '192.0.2.1', '::ffff:192.0.2.1'
  ]) {
    statuses.push((await open(address)).response.status)
  }
  t.same(statuses, [200, 503, 200, 200, 503])
})

t.test('a user whose id is an address is not confused with that client', async (t) => {
  const { url } = await startApp(t, {
    maxConnectionsPerClient: 1,
    authorize: ({ headers }) => headers.authorization === undefined || { userId: headers.authorization }
  })
  const chat = `${url}/api/chats/c/events`
  t.match(await (await EventStream.open(t, chat, { headers: { authorization: '127.0.0.1' } })).next(), {
    event: 'ready'
  })
  t.match(await (await EventStream.open(t, chat)).next(), { event: 'ready' })
})

for (const trustProxy of [false, true]) {
  const how = trustProxy ? 'by the address from a trusted proxy' : 'as one, and one warning is logged'
  t.test(`over a Unix socket, clients count ${how}`, async (t) => {
    const lines: string[] = []
    const app = Fastify({
      trustProxy, logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } }
    })
    t.teardown(() => app.close())
    await app.register(realtimePlugin, { maxConnectionsPerClient: 1 })
    const dir = await mkdtemp(`${tmpdir()}/rt-`)
    t.teardown(() => rm(dir, { recursive: true }))
    await app.listen({ path: `${dir}/app.sock` })
    const status = async (address: string): Promise<number | undefined> => {
      const request = http.get({
        socketPath: `${dir}/app.sock`, path: '/api/chats/c/events', headers: { 'x-forwarded-for': address }
      })
      t.teardown(() => request.destroy())
      request.on('error', () => {})
      const [response] = await once(request, 'response') as [http.IncomingMessage]
      response.on('error', () => {}).resume()
      return response.statusCode
    }
    t.same([await status('10.0.0.1'), await status('10.0.0.2'), await status('10.0.0.1')], [
      200, trustProxy ? 200 : 503, 503
    ])
    t.equal(lines.filter((line) => line.includes('trustProxy')).length, trustProxy ? 0 : 1)
  })
}
