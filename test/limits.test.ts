import t from 'tap'
import http2 from 'node:http2'
import { once } from 'node:events'
import Fastify, { type FastifyInstance } from 'fastify'
import realtimePlugin, { type RealtimeOptions, type RealtimeErrorCode } from '../lib/index.ts'
import { startApp } from './support/app.ts'
import { EventStream } from './support/event-stream.ts'

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
  while ((await open(session)).status !== 200) { /* until the server has noticed */ }
})

t.test('a stream ends at about maxConnectionAgeMs, each at its own time', async (t) => {
  const { url } = await startApp(t, { maxConnectionAgeMs: 400 })
  const opened = performance.now()
  const ages = await Promise.all(Array.from({ length: 20 }, async () => {
    const stream = await EventStream.open(t, `${url}/api/chats/c/events`)
    t.match((await stream.end()).map(({ event }) => event), ['ready'])
    return performance.now() - opened
  }))
  t.ok(Math.min(...ages) >= 295)
  t.ok(Math.max(...ages) - Math.min(...ages) > 20, 'not all at once')
})
