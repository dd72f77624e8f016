import t, { type Test } from 'tap'
import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { EventSource } from 'eventsource'
import type { AccessGrant } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { EventStream, type StreamEvent } from '../../support/event-stream.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { until } from '../../support/until.ts'

t.setTimeout(120_000)

const query = (chats: string[], more = ''): string => `${chats.map((chat) => `chat=${chat}`).join('&')}${more}`

const open = (t: Test, url: string, chats: string[], { more = '', id, headers = {} }: { more?: string, id?: string | undefined, headers?: Record<string, string> } = {}): Promise<EventStream> =>
  EventStream.open(t, `${url}/api/chats/events?${query(chats, more)}`, { headers: { ...headers, ...id !== undefined && { 'last-event-id': id } } })

type Data = { chatId: string, resumed?: boolean, reason?: string, message?: { n: number } }
const dataOf = ({ data }: StreamEvent): Data => data as Data

/** What a stream says of its chats, each by itself. */
function byChat (events: StreamEvent[]): Record<string, unknown[]> {
  const chats: Record<string, unknown[]> = {}
  for (const event of events) {
    const { chatId, resumed, reason, message } = dataOf(event)
    ;(chats[chatId] ??= []).push(message?.n ?? reason ?? resumed)
  }
  return chats
}

async function publish (app: FastifyInstance, chatId: string, ...numbers: number[]): Promise<string> {
  const receipts = await Promise.all(numbers.map((n) => app.chatEvents.emitChatMessage(chatId, { n })))
  return receipts.at(-1)?.id as string
}

const localChats = (app: FastifyInstance, count: number): Promise<void> => until(async () => app.chatEvents.stats().localChats, (chats) => chats === count)

t.test('several chats come on one stream, each with its own ready and in its own order', async (t) => {
  const { app, url } = await startApp(t)
  const stream = await open(t, url, ['a', 'b', 'c'])
  const ready = await stream.take(3)
  t.match(ready.map(({ event, data }) => [event, data]), ['a', 'b', 'c'].map((chatId) => ['ready', { chatId, resumed: false }]))
  for (let n = 1; n <= 20; n++) for (const chatId of ['a', 'b', 'other', 'c']) app.chatEvents.emitChatMessage(chatId, { n })
  const events = await stream.take(60)
  const numbers = Array.from({ length: 20 }, (_, index) => index + 1)
  t.same(byChat(events), { a: numbers, b: numbers, c: numbers })
  for (const { id } of [...ready, ...events]) t.equal(id?.split('.').length, 3)
})

t.test('what comes in one turn of the event loop goes out in one chunk, whichever chat it is of', async (t) => {
  const { app, url } = await startApp(t)
  const response = await fetch(`${url}/api/chats/events?${query(['a', 'b'])}`)
  const reader = (response.body as ReadableStream<Uint8Array>).getReader()
  t.teardown(() => reader.cancel())
  let greeted = ''
  while (greeted.split('event: ready').length < 3) greeted += Buffer.from((await reader.read()).value ?? []).toString()
  for (let n = 0; n < 10; n++) app.chatEvents.emitChatMessage(n % 2 === 0 ? 'a' : 'b', { n })
  t.equal(Buffer.from((await reader.read()).value ?? []).toString().split('event: message').length - 1, 10)
})

t.test('a drop after any event is made up for, in each chat', async (t) => {
  const { app, url } = await startApp(t)
  await publish(app, 'a', 1)
  const first = await open(t, url, ['a', 'b'])
  const got = await first.take(2)
  await publish(app, 'a', 2, 3)
  await publish(app, 'b', 1, 2)
  got.push(...await first.take(4))
  first.close()
  for (const [index, { id }] of got.entries()) {
    // After the very first event the other chat has no place yet, and can't have missed anything.
    if (index === 0) continue
    const before = byChat(got.slice(2, index + 1))
    const missed = { a: [2, 3].filter((n) => !before.a?.includes(n)), b: [1, 2].filter((n) => !before.b?.includes(n)) }
    const stream = await open(t, url, ['a', 'b'], { id })
    t.same(byChat(await stream.take(2 + missed.a.length + missed.b.length)), { a: [true, ...missed.a], b: [true, ...missed.b] }, `after ${index + 1}`)
    stream.close()
  }
})

t.test('a client that changes its chats takes the places along', async (t) => {
  const { app, url } = await startApp(t)
  const single = await publish(app, 'b', 1)
  const first = await open(t, url, ['a', 'b'])
  const [a = '', b = ''] = (await first.take(2)).at(-1)?.id?.split('.') ?? []
  first.close()
  for (const chatId of ['a', 'b', 'c']) await publish(app, chatId, 2)
  const reordered = await open(t, url, ['c', 'b', 'a'], { id: ['', b, a].join('.') })
  t.same(byChat(await reordered.take(5)), { c: [false], b: [true, 2], a: [true, 2] })
  const alone = await open(t, url, ['b'], { id: b })
  t.same(byChat(await alone.take(2)), { b: [true, 2] })
  const fromSingle = await open(t, url, ['a', 'b'], { more: `&lastEventId=${a}.${single}` })
  t.same(byChat(await fromSingle.take(4)), { a: [true, 2], b: [true, 2] })
})

t.test('who asks for the last events gets them of each chat that it has no place in', async (t) => {
  const { app, url } = await startApp(t)
  const id = await publish(app, 'a', 1, 2, 3)
  await publish(app, 'b', 1, 2, 3)
  const stream = await open(t, url, ['a', 'b', 'c'], { id: `${id}..`, more: '&rewind=2' })
  t.same(byChat(await stream.take(5)), { a: [true], b: [false, 2, 3], c: [false] })
  const each = await open(t, url, ['a', 'b'], { more: '&rewind=1&rewind=2' })
  t.same(byChat(await each.take(5)), { a: [false, 3], b: [false, 2, 3] })
  for (const rewind of ['x', '1&rewind=2', '&chat=b&rewind=1&rewind=x']) t.equal((await fetch(`${url}/api/chats/events?chat=a&rewind=${rewind}`)).status, 400, rewind)
})

t.test('what is no place is told for its chat, and what are not as many places as chats for all', async (t) => {
  const { app, url } = await startApp(t)
  const id = await publish(app, 'a', 1)
  const cases = {
    [`${id}.x`]: { a: [true], b: [false, 'invalid'] },
    '.!': { a: [false], b: [false, 'invalid'] },
    [id]: { a: [false, 'invalid'], b: [false, 'invalid'] },
    [`${id}..`]: { a: [false, 'invalid'], b: [false, 'invalid'] },
    'e-1-1.': { a: [false, 'epoch'], b: [false] },
    ['.'.repeat(5_000)]: { a: [false, 'invalid'], b: [false, 'invalid'] }
  }
  for (const [id, expected] of Object.entries(cases)) {
    const stream = await open(t, url, ['a', 'b'], { id })
    t.same(byChat(await stream.take(Object.values(expected).flat().length)), expected, id.slice(0, 60))
  }
  const evil = await open(t, url, ['a', 'b'], { more: `&lastEventId=${encodeURIComponent('x\n\nevent: forged\ndata: 1\n\n.')}` })
  t.same(byChat(await evil.take(3)), { a: [false, 'invalid'], b: [false] })
})

t.test('a place that is none stays so until its chat has told it', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const { app, url } = await startApp(t, { redisUrl: redis.url })
  const kept = await publish(app, 'a', 1)
  const source = await open(t, url, ['a', 'b'], { id: `${kept}.garbage` })
  const events = await source.take(3)
  // Whichever chat is quicker: never is there an id that says of b that it had no place.
  for (const { id } of events) t.notOk(id?.endsWith('.'))
})

t.test('without history there are no ids', async (t) => {
  const { app, url } = await startApp(t, { history: false })
  const stream = await open(t, url, ['a', 'b'], { id: 'e-1-1.e-2-2' })
  const ready = await stream.take(2)
  await publish(app, 'a', 1)
  t.same([...ready, await stream.next()].map(({ event, id }) => [event, id]), [['ready', undefined], ['ready', undefined], ['message', undefined]])
})

t.test('ephemeral events have no id', async (t) => {
  const { app, url } = await startApp(t)
  const stream = await open(t, url, ['a', 'b'])
  await stream.take(2)
  app.chatEvents.emit('b', { type: 'bot_action', action: { here: 1 } })
  t.match(await stream.next(), { event: 'bot_action', id: undefined, data: { chatId: 'b' } })
})

t.test('the eventsource package resumes all chats by itself', async (t) => {
  const { app, url } = await startApp(t, { retryMs: 0 })
  const sockets = new Set<Socket>()
  app.server.on('connection', (socket: Socket) => { sockets.add(socket) })
  const source = new EventSource(`${url}/api/chats/events?${query(['a', 'b', 'c'])}`)
  t.teardown(() => source.close())
  const seen: Record<string, number[]> = { a: [], b: [], c: [] }
  let readies = 0
  let changed = (): void => {}
  source.addEventListener('ready', () => { readies++; changed() })
  source.addEventListener('reset', () => t.fail('nothing is lost'))
  source.addEventListener('message', ({ data }) => { seen[JSON.parse(data).chatId]?.push(JSON.parse(data).message.n); changed() })
  const wait = async (fulfilled: () => boolean): Promise<void> => { while (!fulfilled()) await new Promise<void>((resolve) => { changed = resolve }) }
  await wait(() => readies === 3)
  let n = 0
  for (let cut = 0; cut < 4; cut++) {
    for (const half of [0, 1]) {
      for (let more = 0; more < 5; more++) {
        n++
        for (const chatId of ['a', 'b', 'c']) await publish(app, chatId, n)
      }
      if (half === 1) break
      for (const socket of sockets) socket.destroy()
      sockets.clear()
    }
    await wait(() => Object.values(seen).every((numbers) => numbers.length === n))
  }
  const all = Array.from({ length: n }, (_, index) => index + 1)
  t.same(seen, { a: all, b: all, c: all })
})

t.test('a client hops between two instances while others publish, and has each event of each chat once and in order', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const instances = await Promise.all(['one', 'two'].map((instanceId) => startApp(t, { redisUrl: redis.url, instanceId })))
  const chats = ['a', 'b', 'c', 'd']
  const seen: Record<string, number[]> = {}
  const resets: StreamEvent[] = []
  let id: string | undefined
  const hopped = new AbortController()
  let last = 0
  const published = (async () => {
    for (let n = 1; !hopped.signal.aborted; n++) {
      await Promise.all(chats.map((chatId) => publish((instances[n % 2] as typeof instances[number]).app, chatId, n)))
      last = n
    }
  })()
  const take = async (stream: EventStream, done: () => boolean): Promise<void> => {
    while (!done()) {
      const event = await stream.next()
      id = event.id
      if (event.event === 'reset') resets.push(event)
      if (event.event === 'message') (seen[dataOf(event).chatId] ??= []).push(dataOf(event).message?.n as number)
    }
  }
  for (let hop = 0; hop < 12; hop++) {
    const stream = await open(t, (instances[hop % 2] as typeof instances[number]).url, chats, { id })
    let more = 4 + hop * 7
    await take(stream, () => more-- === 0)
    stream.close()
  }
  hopped.abort()
  await published
  const stream = await open(t, (instances[0] as typeof instances[number]).url, chats, { id })
  await take(stream, () => chats.every((chatId) => seen[chatId]?.at(-1) === last))
  for (const chatId of chats) {
    const [first = 0] = seen[chatId] ?? []
    t.same(seen[chatId], Array.from({ length: last - first + 1 }, (_, index) => first + index), chatId)
  }
  t.same(resets, [])
  t.ok(last > 10, `${last} events a chat`)
})

t.test('who comes back with much to catch up on is not cut, and one chat holds up no other', async (t) => {
  const { app, url } = await startApp(t, { maxBufferedBytes: 100_000 })
  const chats = Array.from({ length: 20 }, (_, index) => `chat-${index}`)
  const text = 'x'.repeat(10_000)
  for (const chatId of chats) for (let n = 1; n <= 20; n++) await app.chatEvents.emitChatMessage(chatId, { n, text })
  const stream = await open(t, url, chats, { more: '&rewind=20' })
  const events = await stream.take(20 * 21)
  const numbers = Array.from({ length: 20 }, (_, index) => index + 1)
  t.same(byChat(events), Object.fromEntries(chats.map((chatId) => [chatId, [false, ...numbers]])))
  const ends = chats.map((chatId) => events.findLastIndex((event) => dataOf(event).chatId === chatId))
  const starts = chats.map((chatId) => events.findIndex((event) => dataOf(event).message?.n === 1 && dataOf(event).chatId === chatId))
  t.ok(Math.max(...starts) < Math.max(...ends) - 20, 'the last to begin did not wait for all others to end')
})

t.test('a client that leaves while it catches up leaves nothing behind', async (t) => {
  const { app, url } = await startApp(t)
  const chats = ['a', 'b', 'c']
  for (const chatId of chats) for (let n = 1; n <= 100; n++) await app.chatEvents.emitChatMessage(chatId, { n, text: 'x'.repeat(60_000) })
  const socket = net.connect(Number(new URL(url).port), '127.0.0.1')
  socket.pause().write(`GET /api/chats/events?${query(chats, '&rewind=100')} HTTP/1.1\r\nHost: x\r\n\r\n`)
  await localChats(app, 3)
  socket.destroy()
  await localChats(app, 0)
})

t.test('a client that takes nothing is cut', async (t) => {
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

t.test('a chat that is refused is left out, and the client hears which one and why', async (t) => {
  const asked: string[] = []
  const { app, url } = await startApp(t, {
    authorize: async (_request, chatId) => {
      asked.push(chatId)
      if (chatId === 'missing') throw Object.assign(new Error('There is no such chat'), { statusCode: 404 })
      if (chatId === 'gone') throw Object.assign(new Error('There is no such chat'), { status: 410 })
      return chatId !== 'secret'
    }
  })
  const tooLong = 'x'.repeat(1_025)
  const stream = await open(t, url, ['a', 'secret', 'missing', 'gone', tooLong, 'b'], { more: '&rewind=0&rewind=9&rewind=9&rewind=9&rewind=9&rewind=1' })
  t.match(await stream.take(6), [
    ...['secret', 'missing', 'gone'].map((chatId) => ({ event: 'refused', id: undefined, data: { chatId, code: 'RT_FORBIDDEN' } })),
    { event: 'refused', id: undefined, data: { chatId: tooLong, code: 'RT_CHAT_ID_INVALID' } },
    { event: 'ready', data: { chatId: 'a' } }, { event: 'ready', data: { chatId: 'b' } }
  ])
  t.same(asked, ['a', 'secret', 'missing', 'gone', 'b'])
  t.equal(app.chatEvents.stats().localChats, 2)
  await publish(app, 'secret', 1)
  await publish(app, 'b', 2)
  t.match(await stream.next(), { data: { message: { n: 2 } } })
})

t.test('a chat of which too many of the last events are wanted is left out, and others go on', async (t) => {
  const { app, url } = await startApp(t, { maxRewind: 5, authorize: (_request, chatId) => chatId !== 'secret' })
  await publish(app, 'a', 1, 2)
  const stream = await open(t, url, ['a', 'b', 'secret'], { more: '&rewind=5&rewind=6&rewind=6' })
  t.match(await stream.take(5), [
    { event: 'refused', id: undefined, data: { chatId: 'b', code: 'RT_REWIND_INVALID' } },
    { event: 'refused', id: undefined, data: { chatId: 'secret', code: 'RT_FORBIDDEN' } },
    { event: 'ready', data: { chatId: 'a' } }, { event: 'message' }, { event: 'message' }
  ])
  t.equal(app.chatEvents.stats().localChats, 1)
  const response = await fetch(`${url}/api/chats/events?${query(['a', 'b'], '&rewind=6')}`)
  t.equal(response.status, 400)
  t.match(await response.json(), { code: 'RT_REWIND_INVALID', message: /from 0 to 5, got 6/ })
})

t.test('a chat that is refused keeps its part of the id, so that nothing is missed where it is granted again', async (t) => {
  const refused = new Set<string>()
  const { app, url } = await startApp(t, { authorize: (_request, chatId) => !refused.has(chatId) })
  const first = await open(t, url, ['a', 'b', 'c'])
  await first.take(3)
  await publish(app, 'b', 1)
  const before = await first.next()
  first.close()
  await publish(app, 'b', 2)
  refused.add('b')
  const second = await open(t, url, ['a', 'b', 'c'], { id: before.id })
  t.match(await second.take(3), [{ event: 'refused', data: { chatId: 'b' } }, { event: 'ready' }, { event: 'ready' }])
  await publish(app, 'c', 3)
  const after = await second.next()
  t.equal(after.id?.split('.')[1], before.id?.split('.')[1])
  second.close()
  refused.delete('b')
  const third = await open(t, url, ['a', 'b', 'c'], { id: after.id })
  t.same(byChat(await third.take(4)), { a: [true], b: [true, 2], c: [true] })
})

t.test('where all chats are refused, or one can not be asked about, the answer is an error', async (t) => {
  const { app, url } = await startApp(t, {
    authorize: async (_request, chatId) => {
      const statusCode = { unauthorized: 401, missing: 404, slow: 429, broken: 500 }[chatId]
      if (statusCode !== undefined) throw Object.assign(new Error(chatId), { statusCode })
      if (chatId === 'failing') throw new Error('The database is away')
      return chatId === 'a'
    }
  })
  for (const [chats, status, answer] of [
    [['secret', 'missing'], 403, { code: 'RT_FORBIDDEN' }],
    [['missing', 'secret'], 404, { message: 'missing' }],
    [['unauthorized', 'unauthorized2'], 401, { message: 'unauthorized' }],
    [['a', 'failing'], 500, { message: 'The database is away' }],
    [['secret', 'broken'], 500, { message: 'broken' }],
    [['a', 'slow'], 429, { message: 'slow' }]
  ] as [string[], number, object][]) {
    const response = await fetch(`${url}/api/chats/events?${query(chats)}`)
    t.equal(response.status, status, chats.join())
    t.match(await response.json(), answer)
    t.notOk(response.headers.get('x-accel-buffering'))
  }
  t.equal(app.chatEvents.stats().localChats, 0)
})

t.test('a plain EventSource goes on with the other chats when the access to one of them ends', async (t) => {
  const members = new Set(['a', 'b'])
  const { app, url } = await startApp(t, { retryMs: 1, authorize: (_request, chatId) => members.has(chatId) && { userId: 'ada' } })
  const source = new EventSource(`${url}/api/chats/events?${query(['a', 'b'])}`)
  t.teardown(() => source.close())
  const readies = new Set<string>()
  await new Promise<void>((resolve) => {
    source.addEventListener('ready', ({ data }) => { if (readies.add(JSON.parse(data).chatId).size === 2) resolve() })
  })
  members.delete('b')
  const refused = once(source, 'refused')
  const message = once(source, 'message')
  await app.chatEvents.revoke('b', 'ada')
  t.same(JSON.parse((await refused)[0].data), { chatId: 'b', code: 'RT_FORBIDDEN' })
  await publish(app, 'a', 1)
  t.match(JSON.parse((await message)[0].data), { chatId: 'a', message: { n: 1 } })
})

t.test('the earliest grant to end ends the stream', async (t) => {
  const { url } = await startApp(t, { authorize: (_request, chatId) => ({ expiresAt: Date.now() + (chatId === 'b' ? 150 : 3_600_000) }) })
  const stream = await open(t, url, ['a', 'b', 'c'])
  t.same((await stream.end()).map(({ event }) => event), ['ready', 'ready', 'ready'])
})

t.test('a user whose access to one of the chats is revoked is asked again for all', async (t) => {
  const { app, url } = await startApp(t, { authorize: ({ headers: { authorization = '' } }, chatId): AccessGrant => ({ userId: `${authorization}${chatId === 'guest' ? '-guest' : ''}` }) })
  const revoked = await open(t, url, ['a', 'b'], { headers: { authorization: 'ada' } })
  const other = await open(t, url, ['a', 'b'], { headers: { authorization: 'bob' } })
  const guest = await open(t, url, ['a', 'guest'], { headers: { authorization: 'ada' } })
  for (const stream of [revoked, other, guest]) await stream.take(2)
  await app.chatEvents.revoke('b', 'ada')
  t.same(await revoked.end(), [])
  await publish(app, 'a', 2)
  t.same(dataOf(await other.next()).message, { n: 2 })
  t.same(dataOf(await guest.next()).message, { n: 2 })
  await app.chatEvents.revoke('guest', 'ada-guest')
  t.same(await guest.end(), [], 'who has another name in each chat, too')
})

t.test('what is revoked while other chats are asked about is not granted', async (t) => {
  let answer = (_grant: AccessGrant): void => {}
  let arrived = (): void => {}
  const asked = new Promise<void>((resolve) => { arrived = resolve })
  const { app, url } = await startApp(t, {
    authorize: (_request, chatId) => chatId === 'a' ? { userId: 'ada' } : new Promise<AccessGrant>((resolve) => { answer = resolve; arrived() })
  })
  const opening = open(t, url, ['a', 'b'])
  await asked
  await app.chatEvents.revoke('a', 'ada')
  answer({ userId: 'ada' })
  t.match(await (await opening).take(2), [{ event: 'refused', data: { chatId: 'a', code: 'RT_FORBIDDEN' } }, { event: 'ready', data: { chatId: 'b' } }])
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

t.test('where one chat is too many for the instance, none is kept', async (t) => {
  const { app, url } = await startApp(t, { maxRooms: 2 })
  const refused = await fetch(`${url}/api/chats/events?${query(['a', 'b', 'c'])}`)
  t.equal(refused.status, 503)
  t.match(await refused.json(), { code: 'RT_TOO_MANY_ROOMS' })
  const shed = await open(t, url, ['a', 'b', 'c'], { headers: { accept: 'text/event-stream' } })
  t.same(await shed.end(), [])
  t.equal(shed.retries.length, 1)
  // The places of those that were entered are free again after the grace.
  await until(() => fetch(`${url}/api/chats/d/events`).then(async ({ status, body }) => { await body?.cancel(); return status }), (status) => status === 200)
  await localChats(app, 0)
})

t.test('a client that leaves is noticed in each of its chats', async (t) => {
  const { app, url } = await startApp(t)
  const stream = await open(t, url, ['a', 'b', 'c'])
  await stream.take(3)
  t.match(app.chatEvents.stats(), { localChats: 3, remoteSubscriptions: 3 })
  stream.close()
  await localChats(app, 0)
})

t.test('closing ends it, with what came before in the chat that is closed first', async (t) => {
  const { app, url } = await startApp(t)
  const stream = await open(t, url, ['a', 'b'])
  await stream.take(2)
  await publish(app, 'a', 1)
  app.chatEvents.cleanupChatSubscriptions()
  t.match(await stream.end(), [{ data: { message: { n: 1 } } }])
})

t.test('any route can stream the chats that it likes', async (t) => {
  const { app, url } = await startApp(t, {}, { setup: (app) => app.get('/mine', (_request, reply) => reply.sse.chats(['a', 'b'])) })
  const stream = await EventStream.open(t, `${url}/mine`)
  await stream.take(2)
  await publish(app, 'b', 1)
  t.same(dataOf(await stream.next()).message, { n: 1 })
  t.equal((await fetch(`${url}/mine`, { method: 'HEAD' })).status, 200, 'HEAD, which Fastify answers by it, ends')
})
