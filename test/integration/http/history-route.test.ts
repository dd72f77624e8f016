import t, { type Test } from 'tap'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { AccessGrant, EventLog, HistoryPage, LocalPubSub, RealtimeOptions } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { HeldAuthorize } from '../../support/held-authorize.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'

t.beforeEach(nothingUnhandled)

const server = await RedisServer.start()
t.teardown(() => server.stop())
let count = 0

type Open = (t: Test, options?: RealtimeOptions) => Promise<{ app: FastifyInstance, url: string }[]>

/** Two instances; one and the same without Redis. */
const setups: Record<string, Open> = {
  'in one process': async (t, options) => {
    const one = await startApp(t, options)
    return [one, one]
  },
  'over Redis': async (t, options) => {
    const shared = { redisUrl: server.url, keyPrefix: `route${count++}:`, ...options }
    return [await startApp(t, shared), await startApp(t, { ...shared, instanceId: 'two' })]
  }
}
const inOneProcess = setups['in one process'] as Open

async function fill ({ chatEvents }: FastifyInstance, most: number): Promise<string[]> {
  const ids = [await chatEvents.lastEventId('c')]
  for (let n = 1; n <= most; n++) ids.push((await chatEvents.emitChatMessage('c', { n })).id as string)
  return ids
}

async function get (url: string, query = '', headers: Record<string, string> = {}): Promise<Response> {
  return await fetch(`${url}/api/chats/c/history${query}`, { headers })
}

for (const [name, setup] of Object.entries(setups)) {
  t.test(`${name}, the route answers with what the method returns, and is never cached`, async (t) => {
    const [one, two] = await setup(t) as [{ app: FastifyInstance, url: string }, { app: FastifyInstance, url: string }]
    const ids = await fill(one.app, 9)
    for (const query of [
      {}, { limit: 2 }, { after: ids[3] }, { before: ids[3] }, { after: ids[3], before: ids[7], limit: 2 },
      { after: 'another-1-1' }
    ]) {
      const response = await get(two.url, `?${new URLSearchParams(query as Record<string, string>)}`)
      t.equal(response.status, 200)
      t.equal(response.headers.get('cache-control'), 'no-store')
      t.match(response.headers.get('content-type'), /^application\/json/)
      t.same(await response.json(), await one.app.chatEvents.history('c', query))
    }
  })

  t.test(`${name}, a stream continues from the end of the history, and nothing falls between them`, async (t) => {
    const [one, two] = await setup(t) as [{ app: FastifyInstance, url: string }, { app: FastifyInstance, url: string }]
    await fill(one.app, 3)
    const { events, lastEventId } = await (await get(two.url)).json() as HistoryPage
    const between = await one.app.chatEvents.emitChatMessage('c', { n: 4 })
    const stream = await EventStream.open(t, `${two.url}/api/chats/c/events?lastEventId=${lastEventId}`)
    t.match(await stream.next(), { event: 'ready', data: { chatId: 'c', resumed: true } })
    t.match(await stream.next(), { event: 'message', id: between.id })
    t.equal(events.length, 3)
  })
}

t.test('a query that is wrong is refused, after access was granted', async (t) => {
  const [one] = await inOneProcess(t, { authorize: ({ headers }) => headers['x-user'] === 'ada' })
  const { url } = one as { url: string }
  for (const [query, place] of [
    ['?after=nonsense', '`after`'], ['?after=', '`after`'], ['?before=e-1', '`before`'], ['?limit=0', '`limit`'],
    ['?limit=1001', '`limit`'], ['?limit=', '`limit`'], ['?limit=1.5', '`limit`'], ['?limit=1&limit=2', '`limit`'],
    ['?after=e-1-1&after=e-1-1', '`after`'], ['?limit=x', '`limit`']
  ] as const) {
    t.equal((await get(url, query)).status, 403)
    const response = await get(url, query, { 'x-user': 'ada' })
    t.equal(response.status, 400)
    const { code, message } = await response.json() as { code: string, message: string }
    t.equal(code, 'RT_HISTORY_INVALID')
    t.ok(message.startsWith(`${place} must be`), message)
  }
  t.match(await (await fetch(`${url}/api/chats//history`)).json(), { code: 'RT_CHAT_ID_INVALID' })
})

t.test('a query whose limit was made a number by a schema is understood', async (t) => {
  const properties = { limit: { type: 'integer' } }
  const [one] = await inOneProcess(t, { routeOptions: { schema: { querystring: { type: 'object', properties } } } })
  const { app, url } = one as { app: FastifyInstance, url: string }
  await fill(app, 3)
  t.equal((await (await get(url, '?limit=2')).json() as HistoryPage).events.length, 2)
})

t.test('without history the route has one error', async (t) => {
  const [one] = await inOneProcess(t, { history: false })
  const response = await get((one as { url: string }).url)
  t.equal(response.status, 501)
  t.match(await response.json(), { code: 'RT_HISTORY_UNAVAILABLE' })
})

t.test('a response whose access is revoked before it is sent is cut, and that of no other user', async (t) => {
  const authorize = ({ headers }: FastifyRequest): AccessGrant => ({ userId: String(headers['x-user']) })
  const [one] = await inOneProcess(t, { authorize })
  const { app, url } = one as { app: FastifyInstance, url: string }
  await fill(app, 3)
  const { eventLog } = app.pubsub as LocalPubSub & { eventLog: EventLog } // It has history.
  const read = eventLog.read.bind(eventLog)
  eventLog.read = async (...args) => {
    await app.chatEvents.revoke('c', 'ada')
    return await read(...args)
  }
  await t.rejects(get(url, '', { 'x-user': 'ada' }), TypeError)
  t.equal((await get(url, '', { 'x-user': 'bob' })).status, 200)
})

for (const [code, limit] of Object.entries({
  RT_TOO_MANY_CONNECTIONS: { maxConnections: 1 }, RT_TOO_MANY_PER_CLIENT: { maxConnectionsPerClient: 1 }
})) {
  t.test(`${code}: responses with history are limited like streams, but apart from them`, async (t) => {
    const held = new HeldAuthorize()
    const [one] = await inOneProcess(t, { authorize: held.authorize, ...limit })
    const { url } = one as { url: string }
    const called = held.nextCall()
    const waiting = get(url)
    await called
    const refused = await get(url)
    t.equal(refused.status, 503)
    t.match(refused.headers.get('retry-after'), /^\d+$/)
    t.match(await refused.json(), { code })
    held.resolve(true)
    t.equal((await waiting).status, 200)
  })
}
