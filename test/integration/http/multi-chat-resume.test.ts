import t from 'tap'
import type { Socket } from 'node:net'
import { EventSource } from 'eventsource'
import { startApp } from '../../support/app.ts'
import { EventStream, type StreamEvent } from '../../support/event-stream.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { query, open, dataOf, byChat, publish } from './multi-chat.ts'

t.setTimeout(120_000)

t.test('after a drop at any event, no chat misses an event', async (t) => {
  const { app, url } = await startApp(t)
  await publish(app, 'a', 1)
  const first = await open(t, url, ['a', 'b'])
  const got = await first.take(2)
  await publish(app, 'a', 2, 3)
  await publish(app, 'b', 1, 2)
  got.push(...await first.take(4))
  first.close()
  for (const [index, { id }] of got.entries()) {
    // After the very first event the other chat has no position yet, and can't have missed anything.
    if (index === 0) continue
    const before = byChat(got.slice(2, index + 1))
    const missed = { a: [2, 3].filter((n) => !before.a?.includes(n)), b: [1, 2].filter((n) => !before.b?.includes(n)) }
    const stream = await open(t, url, ['a', 'b'], { id })
    t.same(
      byChat(await stream.take(2 + missed.a.length + missed.b.length)),
      { a: [true, ...missed.a], b: [true, ...missed.b] },
      `after ${index + 1}`
    )
    stream.close()
  }
})

t.test('a client that changes its chats keeps its positions', async (t) => {
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

t.test('a rewind applies to each chat without a position', async (t) => {
  const { app, url } = await startApp(t)
  const id = await publish(app, 'a', 1, 2, 3)
  await publish(app, 'b', 1, 2, 3)
  const stream = await open(t, url, ['a', 'b', 'c'], { id: `${id}..`, more: '&rewind=2' })
  t.same(byChat(await stream.take(5)), { a: [true], b: [false, 2, 3], c: [false] })
  const each = await open(t, url, ['a', 'b'], { more: '&rewind=1&rewind=2' })
  t.same(byChat(await each.take(5)), { a: [false, 3], b: [false, 2, 3] })
  for (const rewind of ['x', '1&rewind=2', '&chat=b&rewind=1&rewind=x']) {
    t.equal((await fetch(`${url}/api/chats/events?chat=a&rewind=${rewind}`)).status, 400, rewind)
  }
})

t.test('an invalid position is reported for its chat, and a wrong number of positions for all chats', async (t) => {
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
  const evil = await open(t, url, ['a', 'b'], {
    more: `&lastEventId=${encodeURIComponent('x\n\nevent: forged\ndata: 1\n\n.')}`
  })
  t.same(byChat(await evil.take(3)), { a: [false, 'invalid'], b: [false] })
})

t.test('an invalid position stays invalid until its chat has sent a reset', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const { app, url } = await startApp(t, { redisUrl: redis.url })
  const kept = await publish(app, 'a', 1)
  const source = await open(t, url, ['a', 'b'], { id: `${kept}.garbage` })
  const events = await source.take(3)
  // Whichever chat is quicker: no id ever shows b without a position.
  for (const { id } of events) t.notOk(id?.endsWith('.'))
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
  source.addEventListener('message', ({ data }) => {
    seen[JSON.parse(data).chatId]?.push(JSON.parse(data).message.n)
    changed()
  })
  const wait = async (fulfilled: () => boolean): Promise<void> => {
    while (!fulfilled()) {
      await new Promise<void>((resolve) => { changed = resolve })
    }
  }
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

t.test('a client that hops between two instances under load gets each chat\'s events once, in order', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const instances = await Promise.all(['one', 'two'].map((instanceId) => {
    return startApp(t, { redisUrl: redis.url, instanceId })
  }))
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
