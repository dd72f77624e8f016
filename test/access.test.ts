import t, { type Test } from 'tap'
import { once } from 'node:events'
import http from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { EventSource } from 'eventsource'
import Fastify, { type FastifyBaseLogger, type FastifyRequest } from 'fastify'
import realtimePlugin, { type AccessGrant, type RealtimeOptions } from '../lib/index.ts'
import { startApp } from './support/app.ts'
import { EventStream } from './support/event-stream.ts'
import { keepLines, keepLog } from './support/log.ts'
import { RedisServer } from './support/redis-server.ts'

const open = (url: string, chatId = 'c', headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${url}/api/chats/${chatId}/events`, { headers })

t.test('only who may open a chat gets its stream, and nothing is subscribed to for anybody else', async (t) => {
  const asked: string[] = []
  const { app, url } = await startApp(t, {
    authorize: (request, chatId) => {
      asked.push(`${request.headers.authorization} ${chatId}`)
      return request.headers.authorization === 'Bearer ada' && chatId === 'c'
    }
  })
  const stream = await EventStream.open(t, `${url}/api/chats/c/events`, { headers: { authorization: 'Bearer ada' } })
  await stream.next()
  for (const response of [await open(url), await open(url, 'd', { authorization: 'Bearer ada' })]) {
    t.equal(response.status, 403)
    t.match(response.headers.get('content-type'), /json/)
    t.match(await response.json(), { code: 'RT_FORBIDDEN' })
  }
  t.same(asked, ['Bearer ada c', 'undefined c', 'Bearer ada d'])
  t.equal(app.chatEvents.stats().localChats, 1)
  t.equal((await open(url, encodeURIComponent('\0'.repeat(90)))).status, 403, 'any string may be the id of a chat')
})

t.test('what authorize throws is answered like any error of a route', async (t) => {
  const { url } = await startApp(t, {
    authorize: (_request, chatId) => {
      if (chatId === 'sync') throw Object.assign(new Error('Sign in first'), { statusCode: 401 })
      return Promise.reject(new Error('The database is away'))
    }
  })
  const unauthorized = await open(url, 'sync')
  t.equal(unauthorized.status, 401)
  t.match(await unauthorized.json(), { message: 'Sign in first' })
  t.equal((await open(url)).status, 500)
})

t.test('what is no grant opens nothing', async (t) => {
  const answers: Record<string, unknown> = {
    yes: true,
    user: { userId: 'ada' },
    later: { expiresAt: Date.now() + 60_000 },
    date: { expiresAt: new Date(Date.now() + 60_000) },
    never: { expiresAt: Infinity },
    no: false,
    nothing: undefined,
    null: null,
    past: { expiresAt: Date.now() - 1 },
    text: 'yes',
    number: 1,
    empty: { userId: '' },
    long: { userId: 'x'.repeat(257) },
    nan: { expiresAt: NaN },
    words: { expiresAt: 'tomorrow' },
    object: { userId: {} }
  }
  const { url } = await startApp(t, { authorize: (_request, chatId) => answers[chatId] as boolean })
  const statuses: Record<string, number> = {}
  for (const chatId of Object.keys(answers)) {
    const response = await open(url, chatId)
    statuses[chatId] = response.status
    await response.body?.cancel()
  }
  t.same(statuses, {
    yes: 200, user: 200, later: 200, date: 200, never: 200, no: 403, nothing: 403, null: 403, past: 403, text: 500, number: 500, empty: 500, long: 500, nan: 500, words: 500, object: 500
  })
})

t.test('a grant ends, and the client comes back, is asked again, and has missed nothing', async (t) => {
  const asked: (string | undefined)[] = []
  const { app, url } = await startApp(t, {
    retryMs: 10,
    authorize: (request) => {
      asked.push(request.headers['last-event-id'] as string | undefined)
      return { userId: 'ada', expiresAt: Date.now() + 150 }
    }
  })
  const source = new EventSource(`${url}/api/chats/c/events`)
  t.teardown(() => source.close())
  const seen: unknown[] = []
  let resets = 0
  source.addEventListener('message', ({ data }) => seen.push(JSON.parse(data).message.n))
  source.addEventListener('reset', () => { resets++ })
  for (let n = 0; asked.length < 4; n++) {
    await app.chatEvents.emitChatMessage('c', { n })
    await delay(10)
  }
  source.close()
  t.same(seen, Array.from({ length: seen.length }, (_, n) => n + (seen[0] as number)))
  t.ok(seen.length > 5)
  t.equal(resets, 0)
  t.ok(asked.slice(1).every((id) => id !== undefined))
})

t.test('a client that leaves while it is asked about leaves nothing behind', async (t) => {
  let answer = (_grant: boolean): void => {}
  let arrived = (): void => {}
  const asked = new Promise<void>((resolve) => { arrived = resolve })
  const { app, url } = await startApp(t, { authorize: () => new Promise<boolean>((resolve) => { answer = resolve; arrived() }) })
  const abort = new AbortController()
  const opening = fetch(`${url}/api/chats/c/events`, { signal: abort.signal }).catch(() => {})
  await asked
  abort.abort()
  await opening
  while (await new Promise((resolve) => { app.server.getConnections((_error, count) => resolve(count)) }) !== 0) await delay(5)
  answer(true)
  await new Promise(setImmediate)
  t.equal(app.chatEvents.stats().localChats, 0)
})

t.test('a reply that was sent while authorize thought about it is no stream', async (t) => {
  const errors: unknown[] = []
  const { url } = await startApp(t, { authorize: () => delay(20, true) }, {
    setup: (app) => {
      app.get('/hasty', (_request, reply) => {
        reply.sse.chat('c').catch((error) => { errors.push(error.code) })
        reply.sse.chat('c').catch((error) => { errors.push(error.code) })
        reply.send('done')
      })
    }
  })
  t.equal(await (await fetch(`${url}/hasty`)).text(), 'done')
  await delay(40)
  t.same(errors, ['RT_STREAM_STARTED', 'RT_STREAM_STARTED'])
})

async function twoInstances (t: Test, options: RealtimeOptions): Promise<{ url: string, app: Awaited<ReturnType<typeof startApp>>['app'] }[]> {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  return [await startApp(t, { ...options, redisUrl: redis.url }), await startApp(t, { ...options, redisUrl: redis.url, instanceId: 'other' })]
}

t.test('a user whose access is revoked loses the streams of that chat on every instance, and nobody else does', async (t) => {
  const allowed = new Set(['ada', 'bob'])
  const authorize = ({ headers: { authorization: userId = '' } }: FastifyRequest): AccessGrant | false => allowed.has(userId) && { userId }
  const instances = await twoInstances(t, { authorize })
  const streams = await Promise.all(instances.flatMap(({ url }) => ['ada', 'bob'].map(async (user) => {
    const stream = await EventStream.open(t, `${url}/api/chats/c/events`, { headers: { authorization: user } })
    const elsewhere = await EventStream.open(t, `${url}/api/chats/d/events`, { headers: { authorization: user } })
    await stream.next()
    await elsewhere.next()
    return { user, url, stream, elsewhere }
  })))
  allowed.delete('ada')
  const [first] = instances as [typeof instances[number]]
  await first.app.chatEvents.revoke('c', 'ada')
  await first.app.chatEvents.emitChatMessage('c', { n: 1 })
  await first.app.chatEvents.emitChatMessage('d', { n: 2 })
  for (const { user, url, stream, elsewhere } of streams) {
    t.match(await elsewhere.next(), { data: { message: { n: 2 } } })
    if (user === 'bob') t.match(await stream.next(), { data: { message: { n: 1 } } })
    else t.same((await stream.end()).filter(({ event }) => event === 'reset'), [])
    if (user === 'ada') t.equal((await open(url, 'c', { authorization: user })).status, 403)
  }
  await t.rejects(first.app.chatEvents.revoke('c', ''), { code: 'RT_GRANT_INVALID' })
  await t.rejects(first.app.chatEvents.revoke('', 'ada'), { code: 'RT_CHAT_ID_INVALID' })
})

t.test('the connection of a stream that is ended serves its client on, who may be sending the next request already', async (t) => {
  const authorize = ({ query }: FastifyRequest): AccessGrant => {
    const { userId, until } = query as { userId?: string, until?: string }
    return { userId, expiresAt: until === undefined ? undefined : Number(until) }
  }
  const started = await startApp(t, { authorize, maxConnections: 2, maxConnectionAgeMs: 10_000, retryMs: 1 })
  const { app } = started
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const get = async (path: string): Promise<{ reused: boolean, response: http.IncomingMessage }> => {
    const request = http.get(`${started.url}${path}`, { agent, headers: { accept: 'text/event-stream' } })
    const [response] = await once(request, 'response') as [http.IncomingMessage]
    return { reused: request.reusedSocket, response: response.setEncoding('utf8') }
  }
  const { response: revoked } = await get('/api/chats/c/events?userId=ada')
  await once(revoked, 'data')
  const ended = once(revoked.resume(), 'end')
  await app.chatEvents.revoke('c', 'ada')
  await ended
  const expiring = await get(`/api/chats/c/events?userId=ada&until=${Date.now() + 300}`)
  t.ok(expiring.reused, 'after its access was revoked')
  await once(expiring.response.resume(), 'end')
  for (let n = 0; n < 2; n++) await (await EventStream.open(t, `${started.url}/api/chats/c/events`)).next()
  const shed = await get('/api/chats/c/events')
  t.ok(shed.reused, 'after it has expired')
  t.equal(shed.response.statusCode, 200)
  await once(shed.response.resume(), 'end')
  const last = await get('/api/health/pubsub')
  t.ok(last.reused, 'after there were too many')
  last.response.resume()
})

t.test('what is revoked while it is being granted is not granted', async (t) => {
  let answer = (_grant: AccessGrant): void => {}
  let arrived = (): void => {}
  const asked = new Promise<void>((resolve) => { arrived = resolve })
  const { app, url } = await startApp(t, { authorize: () => new Promise<AccessGrant>((resolve) => { answer = resolve; arrived() }) })
  const opening = open(url)
  await asked
  await app.chatEvents.revoke('other', 'ada')
  await app.chatEvents.revoke('c', 'ada')
  answer({ userId: 'ada' })
  t.equal((await opening).status, 403)
})

t.test('what stands in the query of a stream is not logged', async (t) => {
  for (const serializers of [{}, { req: () => ({ line: 'of its own' }) }, { req: ({ url }: { url: string }) => ({ url, by: 'the app' }) }]) {
    const { lines, write } = keepLines()
    const app = Fastify({ logger: { level: 'trace', stream: { write }, serializers } })
    t.teardown(() => app.close())
    await app.register(realtimePlugin, { authorize: () => false })
    await app.inject('/api/chats/c/events?ticket=s3cret&lastEventId=x')
    t.match(lines.join(''), 'incoming request')
    t.notMatch(lines.join(''), 's3cret')
    t.equal(lines.join('').includes('/api/chats/c/events?…'), !('req' in serializers) || lines.join('').includes('the app'))
  }
})

t.test('in production, an app without authorize is told that anyone can open any chat', async (t) => {
  const before = process.env.NODE_ENV
  t.teardown(() => {
    if (before === undefined) delete process.env.NODE_ENV
    else process.env.NODE_ENV = before
  })
  const warnings = async (env: string, options: RealtimeOptions): Promise<number> => {
    process.env.NODE_ENV = env
    const { log, lines } = keepLog()
    const app = Fastify({ loggerInstance: log as FastifyBaseLogger })
    await app.register(realtimePlugin, options)
    await app.close()
    return lines.filter((line) => /authorize/.test(JSON.stringify(line))).length
  }
  t.equal(await warnings('production', {}), 1)
  t.equal(await warnings('production', { authorize: () => true }), 0)
  t.equal(await warnings('test', {}), 0)
})
