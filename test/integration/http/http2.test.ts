import t, { type Test } from 'tap'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import http2 from 'node:http2'
import https from 'node:https'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import realtimePlugin, { type AccessGrant, type RealtimeOptions } from '../../../lib/index.ts'
import { EventStream, type StreamEvent } from '../../support/event-stream.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'

const key = await readFile(new URL('../../support/tls/key.pem', import.meta.url))
const cert = await readFile(new URL('../../support/tls/cert.pem', import.meta.url))

const EVENT_STREAM = { accept: 'text/event-stream' }
const PATH = '/api/chats/c/events'

interface Server { app: FastifyInstance, port: number, connect: () => http2.ClientHttp2Session }

async function start (t: Test, kind: 'h2c' | 'TLS', options: RealtimeOptions = {}): Promise<Server> {
  const app = Fastify({
    http2: true, ...kind === 'TLS' && { https: { key, cert, allowHTTP1: true } }
  }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(realtimePlugin, options)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  const connect = (): http2.ClientHttp2Session => {
    const session = http2.connect(`${kind === 'TLS' ? 'https' : 'http'}://127.0.0.1:${port}`, { ca: cert })
    t.teardown(() => session.destroy())
    return session
  }
  return { app, port, connect }
}

/** The status and the JSON of a response that is not a stream. */
async function refused (t: Test, session: http2.ClientHttp2Session, headers?: Record<string, string>): Promise<object> {
  const { response } = await EventStream.overHttp2(t, session, PATH, headers)
  return { status: response.status, type: response.headers.get('content-type') }
}

const JSON_TYPE = 'application/json; charset=utf-8'

const byName = ({ headers: { authorization: userId } }: FastifyRequest): AccessGrant | false => {
  return userId !== undefined && { userId }
}

for (const kind of ['h2c', 'TLS'] as const) {
  t.test(`over HTTP/2 (${kind})`, async (t) => {
    nothingUnhandled(t)

    t.test('a client without access is refused, and the other streams of its connection continue', async (t) => {
      const { app, connect } = await start(t, kind, { authorize: byName })
      const session = connect()
      const stream = await EventStream.overHttp2(t, session, PATH, { authorization: 'ada' })
      t.match(await stream.next(), { event: 'ready' })
      t.same(await refused(t, session), { status: 403, type: JSON_TYPE })
      await app.chatEvents.emitChatMessage('c', { n: 1 })
      t.match(await stream.next(), { data: { message: { n: 1 } } })
      await app.chatEvents.revoke('c', 'ada')
      t.same(await stream.end(), [])
      t.equal(session.destroyed, false, 'its connection stays')
      t.match(await (await EventStream.overHttp2(t, session, PATH, { authorization: 'bob' })).next(), {
        event: 'ready'
      })
    })

    t.test('limits apply across all connections, and browsers are asked to retry', async (t) => {
      const { connect } = await start(t, kind, {
        maxConnections: 2, maxConnectionsPerClient: 1, authorize: byName, retryMs: 1_000
      })
      const [one, two] = [connect(), connect()]
      const ada = await EventStream.overHttp2(t, one, PATH, { authorization: 'ada' })
      await ada.next()
      t.same(await refused(t, two, { authorization: 'ada' }), { status: 503, type: JSON_TYPE }, 'one for each user')
      await (await EventStream.overHttp2(t, two, PATH, { authorization: 'bob' })).next()
      t.same(await refused(t, two, { authorization: 'eve' }), { status: 503, type: JSON_TYPE }, 'two in all')
      const shed = await EventStream.overHttp2(t, two, PATH, { authorization: 'eve', ...EVENT_STREAM })
      t.equal(shed.response.status, 200)
      t.same(await shed.end(), [])
      t.ok((shed.retries[0] as number) >= 1_000 && (shed.retries[0] as number) <= 3_000)
      ada.close()
      // It is free as soon as the server has noticed.
      await until(() => refused(t, one, { authorization: 'ada' }), (answer) => {
        return (answer as { status: number }).status === 200
      })
    })

    t.test('an instance is drained under load, and its clients continue at another one', async (t) => {
      const redis = await RedisServer.start()
      t.teardown(() => redis.stop())
      const options = { redisUrl: redis.url, retryMs: 1_000, history: { size: 100_000 } }
      const [one, two] = [
        await start(t, kind, { ...options, instanceId: 'one' }), await start(t, kind, { ...options, instanceId: 'two' })
      ]
      const session = one.connect()
      const streams = await Promise.all(Array.from({ length: 20 }, () => EventStream.overHttp2(t, session, PATH)))
      for (const stream of streams) await stream.next()
      let last = 0
      const closed = new AbortController()
      const publishing = (async () => {
        while (!closed.signal.aborted) await two.app.chatEvents.emitChatMessage('c', { n: ++last })
      })()
      const gone = once(session, 'close')
      const taken = await Promise.all(streams.map(async (stream) => await stream.take(3)))
      await one.app.close()
      await gone
      closed.abort()
      await publishing
      const next = two.connect()
      for (const [n, stream] of streams.entries()) {
        const rest = await stream.end()
        t.ok((stream.retries.at(-1) as number) >= 1_000 && (stream.retries.at(-1) as number) <= 3_000)
        const id = [...taken[n] as StreamEvent[], ...rest].at(-1)?.id as string
        const again = await EventStream.overHttp2(t, next, PATH, { 'last-event-id': id })
        t.match(await again.next(), { event: 'ready', id, data: { resumed: true } })
        const missed = await again.take(last - 3 - rest.length)
        t.same(
          [...rest, ...missed].map(({ data }) => (data as { message: { n: number } }).message.n),
          Array.from({ length: last - 3 }, (_, n) => n + 4)
        )
      }
    })

    t.test('a stream that opens while the app closes gets a retry time', async (t) => {
      let allow = (): void => {}
      const gate = new Promise<void>((resolve) => { allow = resolve })
      let ask = (): void => {}
      const asked = new Promise<void>((resolve) => { ask = resolve })
      const { app, connect } = await start(t, kind, {
        retryMs: 777, authorize: async () => { ask(); await gate; return true }
      })
      const opening = EventStream.overHttp2(t, connect(), PATH)
      await asked
      const closed = app.close()
      await new Promise(setImmediate)
      allow()
      const stream = await opening
      t.equal(stream.response.status, 200)
      t.same(await stream.end(), [])
      t.ok((stream.retries[0] as number) >= 777)
      await closed
    })
  })
}

t.test('an HTTP/2 server that allows HTTP/1.1 serves streams over it, too, and closes', async (t) => {
  const { app, port } = await start(t, 'TLS')
  const agent = new https.Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  const get = async (path: string): Promise<{ statusCode?: number, httpVersion: string } & AsyncIterable<Buffer>> => {
    const [response] = await once(https.get({ port, host: '127.0.0.1', ca: cert, path, agent }), 'response')
    return response
  }
  for await (const chunk of await get('/api/health/pubsub')) t.match(String(chunk), '"status":"ok"')
  const stream = await get(PATH)
  t.match(stream, { statusCode: 200, httpVersion: '1.1' })
  // One more, idle from here on.
  for await (const chunk of await get('/api/health/pubsub')) t.match(String(chunk), '"status":"ok"')
  const started = performance.now()
  const closed = app.close()
  let received = ''
  for await (const chunk of stream) received += String(chunk)
  t.match(received, /event: ready[^]*retry: \d+\n\n$/)
  await closed
  t.ok(performance.now() - started < 4_000, 'at once')
})

t.test('a session still closes when idle, after its last stream has ended', async (t) => {
  const app = Fastify({ http2: true, http2SessionTimeout: 200 }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(realtimePlugin)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = http2.connect(`http://127.0.0.1:${(app.server.address() as { port: number }).port}`)
  t.teardown(() => session.destroy())
  const away = once(session, 'close')
  const streams = [await EventStream.overHttp2(t, session, PATH), await EventStream.overHttp2(t, session, PATH)]
  for (const stream of streams) t.match(await stream.next(), { event: 'ready' })
  for (const stream of streams) stream.close()
  await away
})
