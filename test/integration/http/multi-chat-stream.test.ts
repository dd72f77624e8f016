import t from 'tap'
import { once } from 'node:events'
import net from 'node:net'
import type { FastifyInstance } from 'fastify'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { until } from '../../support/until.ts'
import { query, open, dataOf, byChat, publish } from './multi-chat.ts'

t.setTimeout(120_000)

const localChats = (app: FastifyInstance, count: number): Promise<void> => {
  return until(async () => app.chatEvents.stats().localChats, (chats) => chats === count)
}

t.test('several chats share one stream, each with its own ready and in its own order', async (t) => {
  const { app, url } = await startApp(t)
  const stream = await open(t, url, ['a', 'b', 'c'])
  const ready = await stream.take(3)
  t.match(
    ready.map(({ event, data }) => [event, data]),
    ['a', 'b', 'c'].map((chatId) => ['ready', { chatId, resumed: false }])
  )
  for (let n = 1; n <= 20; n++) {
    for (const chatId of ['a', 'b', 'other', 'c']) app.chatEvents.emitChatMessage(chatId, { n })
  }
  const events = await stream.take(60)
  const numbers = Array.from({ length: 20 }, (_, index) => index + 1)
  t.same(byChat(events), { a: numbers, b: numbers, c: numbers })
  for (const { id } of [...ready, ...events]) t.equal(id?.split('.').length, 3)
})

t.test('events of one turn of the event loop are sent in one chunk, for all chats together', async (t) => {
  const { app, url } = await startApp(t)
  const response = await fetch(`${url}/api/chats/events?${query(['a', 'b'])}`)
  const reader = (response.body as ReadableStream<Uint8Array>).getReader()
  t.teardown(() => reader.cancel())
  let greeted = ''
  while (greeted.split('event: ready').length < 3) greeted += Buffer.from((await reader.read()).value ?? []).toString()
  for (let n = 0; n < 10; n++) app.chatEvents.emitChatMessage(n % 2 === 0 ? 'a' : 'b', { n })
  t.equal(Buffer.from((await reader.read()).value ?? []).toString().split('event: message').length - 1, 10)
})

t.test('without history there are no ids', async (t) => {
  const { app, url } = await startApp(t, { history: false })
  const stream = await open(t, url, ['a', 'b'], { id: 'e-1-1.e-2-2' })
  const ready = await stream.take(2)
  await publish(app, 'a', 1)
  t.same([...ready, await stream.next()].map(({ event, id }) => [event, id]), [
    ['ready', undefined], ['ready', undefined], ['message', undefined]
  ])
})

t.test('ephemeral events have no id', async (t) => {
  const { app, url } = await startApp(t)
  const stream = await open(t, url, ['a', 'b'])
  await stream.take(2)
  app.chatEvents.emit('b', { type: 'bot_action', action: { here: 1 } })
  t.match(await stream.next(), { event: 'bot_action', id: undefined, data: { chatId: 'b' } })
})

t.test('a client with much to catch up on is not cut, and no chat delays another', async (t) => {
  const { app, url } = await startApp(t, { maxBufferedBytes: 100_000 })
  const chats = Array.from({ length: 20 }, (_, index) => `chat-${index}`)
  const text = 'x'.repeat(10_000)
  for (const chatId of chats) for (let n = 1; n <= 20; n++) await app.chatEvents.emitChatMessage(chatId, { n, text })
  const stream = await open(t, url, chats, { more: '&rewind=20' })
  const events = await stream.take(20 * 21)
  const numbers = Array.from({ length: 20 }, (_, index) => index + 1)
  t.same(byChat(events), Object.fromEntries(chats.map((chatId) => [chatId, [false, ...numbers]])))
  const ends = chats.map((chatId) => events.findLastIndex((event) => dataOf(event).chatId === chatId))
  const starts = chats.map((chatId) => {
    return events.findIndex((event) => dataOf(event).message?.n === 1 && dataOf(event).chatId === chatId)
  })
  t.ok(Math.max(...starts) < Math.max(...ends) - 20, 'the last to begin did not wait for all others to end')
})

t.test('a client that disconnects while it catches up leaves nothing behind', async (t) => {
  const { app, url } = await startApp(t)
  const chats = ['a', 'b', 'c']
  for (const chatId of chats) {
    for (let n = 1; n <= 100; n++) await app.chatEvents.emitChatMessage(chatId, { n, text: 'x'.repeat(60_000) })
  }
  const socket = net.connect(Number(new URL(url).port), '127.0.0.1')
  socket.pause().write(`GET /api/chats/events?${query(chats, '&rewind=100')} HTTP/1.1\r\nHost: x\r\n\r\n`)
  await localChats(app, 3)
  socket.destroy()
  await localChats(app, 0)
})

t.test('a client that does not read is cut', async (t) => {
  const { app, url } = await startApp(t, { maxBufferedBytes: 100_000 })
  const accepted = once(app.server, 'connection')
  const slow = net.connect(Number(new URL(url).port), '127.0.0.1')
  t.teardown(() => slow.destroy())
  slow.pause().write(`GET /api/chats/events?${query(['a', 'b'])} HTTP/1.1\r\nHost: x\r\n\r\n`)
  const [socket] = await accepted as [net.Socket]
  await localChats(app, 2)
  for (let sent = 0; !socket.destroyed && sent < 1_000; sent++) {
    await app.chatEvents.emitChatMessage(sent % 2 === 0 ? 'a' : 'b', { text: 'x'.repeat(60_000) })
    await new Promise(setImmediate)
  }
  t.ok(socket.destroyed)
  await localChats(app, 0)
})

t.test('a stream has at least one chat, each once, and at most maxChatsPerStream', async (t) => {
  const { app, url } = await startApp(t, { maxChatsPerStream: 2, maxConnectionsPerClient: 1 })
  const status = async (search: string): Promise<unknown> => {
    const response = await fetch(`${url}/api/chats/events${search}`)
    return [response.status, (await response.json() as { code: string }).code]
  }
  t.same(await status(''), [400, 'RT_CHAT_ID_INVALID'])
  t.same(await status('?chat='), [400, 'RT_CHAT_ID_INVALID'])
  t.same(await status(`?chat=&chat=${'x'.repeat(1_025)}`), [400, 'RT_CHAT_ID_INVALID'])
  t.same(await status('?chat=a&chat=b&chat=c'), [400, 'RT_TOO_MANY_CHATS'])
  const stream = await open(t, url, ['a', 'b', 'a'])
  const events = await stream.take(2)
  t.same(byChat(events), { a: [false], b: [false] })
  t.equal(events[1]?.id?.split('.').length, 2)
  t.equal(app.chatEvents.stats().localChats, 2)
  t.same(await status('?chat=a'), [503, 'RT_TOO_MANY_PER_CLIENT'], 'it counts as one connection')
})

t.test('if one chat exceeds the limit of the instance, none is kept', async (t) => {
  const { app, url } = await startApp(t, { maxRooms: 2 })
  const refused = await fetch(`${url}/api/chats/events?${query(['a', 'b', 'c'])}`)
  t.equal(refused.status, 503)
  t.match(await refused.json(), { code: 'RT_TOO_MANY_ROOMS' })
  const shed = await open(t, url, ['a', 'b', 'c'], { headers: { accept: 'text/event-stream' } })
  t.same(await shed.end(), [])
  t.equal(shed.retries.length, 1)
  // Chats that were entered are released after the grace period.
  await until(
    () => fetch(`${url}/api/chats/d/events`).then(async ({ status, body }) => { await body?.cancel(); return status }),
    (status) => status === 200
  )
  await localChats(app, 0)
})

t.test('a disconnect is noticed in each of the client\'s chats', async (t) => {
  const { app, url } = await startApp(t)
  const stream = await open(t, url, ['a', 'b', 'c'])
  await stream.take(3)
  t.match(app.chatEvents.stats(), { localChats: 3, remoteSubscriptions: 3 })
  stream.close()
  await localChats(app, 0)
})

t.test('closing one chat ends the stream, after its earlier events were sent', async (t) => {
  const { app, url } = await startApp(t)
  const stream = await open(t, url, ['a', 'b'])
  await stream.take(2)
  await publish(app, 'a', 1)
  app.chatEvents.cleanupChatSubscriptions()
  t.match(await stream.end(), [{ data: { message: { n: 1 } } }])
})

t.test('any route can stream the chats of its choice', async (t) => {
  const { app, url } = await startApp(t, {}, {
    setup: (app) => app.get('/mine', (_request, reply) => reply.sse.chats(['a', 'b']))
  })
  const stream = await EventStream.open(t, `${url}/mine`)
  await stream.take(2)
  await publish(app, 'b', 1)
  t.same(dataOf(await stream.next()).message, { n: 1 })
  t.equal((await fetch(`${url}/mine`, { method: 'HEAD' })).status, 200, 'HEAD, which Fastify answers by it, ends')
})
