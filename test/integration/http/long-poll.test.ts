import t, { type Test } from 'tap'
import { connect } from 'node:http2'
import { text } from 'node:stream/consumers'
import fastifyCors from '@fastify/cors'
import { Registry } from 'prom-client'
import { timing } from '../../../lib/core/timing.ts'
import type { RealtimeOptions } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { until } from '../../support/until.ts'

interface Answer {
  events: { id?: string, event: string, data: Record<string, unknown> }[]
  lastEventId: string | null
  retryMs?: number
}

const JSON_ONLY = { accept: 'application/json' }

async function poll (url: string, lastEventId?: string | null, init: RequestInit = {}): Promise<Answer> {
  const headers = { ...JSON_ONLY, ...lastEventId && { 'last-event-id': lastEventId } }
  const response = await fetch(url, { ...init, headers })
  return await response.json() as Answer
}

const names = ({ events }: Answer): string[] => events.map(({ event }) => event)
const messages = ({ events }: Answer): unknown[] => events.flatMap(({ data }) => data.message ?? [])

/** An app with a chat. `joined` waits until so many polls and streams are open. */
async function start (t: Test, options: RealtimeOptions = {}) {
  const metrics = new Registry()
  const { app, url } = await startApp(t, { metrics, ...options })
  const open = async (): Promise<number> =>
    (await metrics.getSingleMetric('realtime_streams_open')?.get())?.values[0]?.value as number
  const joined = (count: number): Promise<void> => until(open, (open) => open === count)
  return { app, url: `${url}/api/chats/c/events`, base: `${url}/api`, joined }
}

t.test('a client without a position gets one at once', async (t) => {
  const { app, url } = await start(t)
  const { id } = await app.chatEvents.emitChatMessage('c', { n: 1 })
  const response = await fetch(url, { headers: JSON_ONLY })
  t.equal(response.status, 200)
  t.match(response.headers.get('content-type'), /^application\/json/)
  t.match(response.headers.get('cache-control'), /no-store/)
  t.equal(response.headers.get('vary'), 'accept')
  const ready = { id, event: 'ready', data: { chatId: 'c', resumed: false } }
  t.same(await response.json(), { events: [ready], lastEventId: id })
})

t.test('it is answered at once with the events that the client has missed', async (t) => {
  const { app, url } = await start(t)
  const { lastEventId } = await poll(url)
  await app.chatEvents.emitChatMessage('c', { text: 'one\ntwo' })
  const { id } = await app.chatEvents.emitChatMessage('c', { n: 2 })
  const answer = await poll(url, lastEventId)
  t.same(messages(answer), [{ text: 'one\ntwo' }, { n: 2 }])
  t.equal(answer.lastEventId, id)
  t.same(messages(await poll(`${url}?rewind=1`)), [{ n: 2 }])
})

t.test('it waits for the next event, also for one that is not in the log', async (t) => {
  const { app, url, joined } = await start(t)
  const { lastEventId } = await poll(url)
  const waiting = poll(url, lastEventId)
  await joined(1)
  const { id } = await app.chatEvents.emitChatMessage('c', { n: 1 })
  const answer = await waiting
  t.same(messages(answer), [{ n: 1 }])
  t.equal(answer.lastEventId, id)
  const ephemeral = poll(url, id)
  await joined(1)
  await app.chatEvents.publish('c', { type: 'reaction', user: 'ann' }, { ephemeral: true })
  const { events, lastEventId: same } = await ephemeral
  t.match(events.at(-1), { event: 'reaction', data: { user: 'ann' } })
  t.equal(same, id, 'the position has not moved')
})

t.test('it is answered after a while without an event', async (t) => {
  const { longPoll } = timing
  Object.assign(timing, { longPoll: 50 })
  t.teardown(() => { Object.assign(timing, { longPoll }) })
  const { url } = await start(t, { heartbeatMs: 10 })
  const { lastEventId } = await poll(url)
  const answer = await poll(url, lastEventId)
  t.same(names(answer), ['ready'])
  t.equal(answer.lastEventId, lastEventId)
})

t.test('without a history there is no position, and a poll waits as well', async (t) => {
  const { app, url, joined } = await start(t, { history: false })
  const waiting = poll(url)
  await joined(1)
  await app.chatEvents.emitChatMessage('c', { n: 1 })
  const answer = await waiting
  t.same(names(answer), ['ready', 'message'])
  t.equal(answer.lastEventId, null)
})

t.test('presence and a bot message in progress come with an answer and do not cause one', async (t) => {
  const { app, url, joined } = await start(t, { presence: true, authorize: () => ({ userId: 'ann' }) })
  const { lastEventId } = await poll(url)
  const writer = await app.chatEvents.startBotMessage('c', { id: 'b' })
  await writer.append('Hello')
  const pieces = await EventStream.open(t, url)
  for (let event = await pieces.next(); event.event !== 'bot_message'; event = await pieces.next());
  const waiting = poll(url, lastEventId)
  await joined(2)
  await app.chatEvents.emitChatMessage('c', { n: 1 })
  const { events } = await waiting
  t.same(events.map(({ event }) => event), ['ready', 'bot_message', 'presence', 'message'])
  t.match(events.find(({ event }) => event === 'bot_message')?.data, { id: 'b', at: 0, text: 'Hello' })
  t.match(events.find(({ event }) => event === 'presence')?.data, { users: ['ann'] })
})

t.test('a position that cannot be continued gets a reset', async (t) => {
  const { url } = await start(t)
  const { lastEventId } = await poll(url)
  for (const [id, reason] of [['old-7-1', 'epoch'], ['!', 'invalid']] as const) {
    const answer = await poll(url, id)
    t.same(names(answer), ['ready', 'reset'])
    t.match(answer.events[1], { id: lastEventId, data: { reason } })
    t.equal(answer.lastEventId, lastEventId)
  }
})

t.test('several chats share a poll', async (t) => {
  const { app, base, joined } = await start(t, {
    authorize: (_request, chatId) => chatId === 'forbidden' ? false : { userId: 'ann' }
  })
  const url = `${base}/chats/events?chat=a&chat=b`
  const first = await poll(url)
  t.same(first.events.filter(({ event }) => event === 'ready').map(({ data }) => data.chatId), ['a', 'b'])
  const waiting = poll(url, first.lastEventId)
  await joined(1)
  await app.chatEvents.emitChatMessage('b', { n: 1 })
  const second = await waiting
  t.same(messages(second), [{ n: 1 }])
  await app.chatEvents.emitChatMessage('a', { n: 2 })
  t.same(messages(await poll(url, second.lastEventId)), [{ n: 2 }])
  const partly = await poll(`${base}/chats/events?chat=a&chat=forbidden`, `${second.lastEventId}`)
  t.match(partly.events[0], { event: 'refused', data: { chatId: 'forbidden', code: 'RT_FORBIDDEN' } })
  t.equal(partly.lastEventId, second.lastEventId, 'the client keeps its position')
})

t.test('a refusal and a limit are answers in JSON, as for a stream', async (t) => {
  const { url } = await start(t, { authorize: () => false })
  const refused = await fetch(url, { headers: JSON_ONLY })
  t.equal(refused.status, 403)
  t.match(await refused.json(), { code: 'RT_FORBIDDEN' })
  const { url: full, joined } = await start(t, { maxConnections: 1 })
  const { lastEventId } = await poll(full)
  const abort = new AbortController()
  const waiting = poll(full, lastEventId, { signal: abort.signal })
  await joined(1)
  const second = await fetch(full, { headers: JSON_ONLY })
  t.equal(second.status, 503)
  t.ok(Number(second.headers.get('retry-after')) > 0)
  abort.abort()
  await t.rejects(waiting)
  await joined(0)
  t.same(names(await poll(full)), ['ready'], 'an aborted poll leaves nothing behind')
})

t.test('a revoked user gets an answer, and no further one', async (t) => {
  const allowed = new Set(['ann'])
  const { app, url, joined } = await start(t, { authorize: () => allowed.has('ann') && { userId: 'ann' } })
  const { lastEventId } = await poll(url)
  const waiting = poll(url, lastEventId)
  await joined(1)
  allowed.clear()
  await app.chatEvents.revoke('c', 'ann')
  t.equal((await waiting).lastEventId, lastEventId)
  t.equal((await fetch(url, { headers: JSON_ONLY })).status, 403)
})

t.test('an instance that closes answers and asks the client to poll again later', async (t) => {
  const { app, url, joined } = await start(t)
  const { lastEventId } = await poll(url)
  const waiting = poll(url, lastEventId)
  await joined(1)
  await app.close()
  const answer = await waiting
  t.equal(answer.lastEventId, lastEventId)
  t.ok(answer.retryMs as number >= 2_000)
})

t.test('a HEAD request has no body', async (t) => {
  const { url } = await start(t)
  const response = await fetch(url, { method: 'HEAD', headers: JSON_ONLY })
  t.match(response.headers.get('content-type'), /^application\/json/)
  t.equal(await response.text(), '')
})

t.test('it works over HTTP/2', async (t) => {
  const { app, url } = await startApp(t, {}, { server: { http2: true } as object })
  const session = connect(url)
  t.teardown(() => session.destroy())
  const { id } = await app.chatEvents.emitChatMessage('c', { n: 1 })
  const request = session.request({ ':path': '/api/chats/c/events?rewind=1', ...JSON_ONLY })
  t.same(JSON.parse(await text(request)).lastEventId, id)
})

t.test('a handler that goes on after a refusal opens another stream', async (t) => {
  const { url } = await startApp(t, { authorize: () => false }, {
    setup: (app) => {
      app.get('/notice', async (_request, reply) => {
        await reply.sse.chat('c').catch(() => {})
        await reply.sse.send({ data: 1 })
        await reply.sse.send({ data: 2 })
        await reply.sse.close()
      })
    }
  })
  const response = await fetch(`${url}/notice`, { headers: JSON_ONLY })
  t.match(response.headers.get('content-type'), 'text/event-stream')
  t.equal(await response.text(), 'data: 1\n\ndata: 2\n\n')
})

t.test('the header vary keeps what the app has set', async (t) => {
  const { url } = await startApp(t, {}, {
    setup: async (app) => { await app.register(fastifyCors, { origin: ['http://a'] }) }
  })
  const response = await fetch(`${url}/api/chats/c/events`, { headers: { ...JSON_ONLY, origin: 'http://a' } })
  t.match(response.headers.get('vary'), /^origin, accept$/i)
  t.equal(response.headers.get('access-control-allow-origin'), 'http://a')
})
