import t from 'tap'
import { once } from 'node:events'
import type { ChatOptions } from '../../../lib/client/index.ts'
import { startApp } from '../../support/app.ts'
import { until } from '../../support/until.ts'
import { range } from '../../support/numbers.ts'
import { Page, Seen, publish, startServer, LoggedPage } from './page.ts'

t.setTimeout(120_000)

t.test('a chat may start with its last events, or after an event that the page has', async (t) => {
  const { app, url } = await startApp(t)
  const ids = await publish(app, 'a', 1, 2, 3, 4)
  await publish(app, 'b', 1, 2)
  const page = new Page(t, url)
  const seen = [page.open('a', { rewind: 2 }), page.open('b', { rewind: 1 }), page.open('c')] as const
  await Promise.all(seen.map((each) => each.ready()))
  await seen[0].has(2)
  await seen[1].has(1)
  // The connection has received these by now: each chat catches up on a connection of its own.
  const after = page.open('a', { after: ids[0] })
  const again = page.open('a', { rewind: 3 })
  const fresh = page.open('a')
  await after.has(3)
  await again.has(3)
  await fresh.ready()
  await publish(app, 'a', 5, 6)
  for (const each of [seen[0], after, again, fresh]) await until(async () => each.numbers.at(-1), (last) => last === 6)
  t.same([seen[0], seen[1], after, again, fresh].map(({ numbers }) => numbers), [
    [3, 4, 5, 6], [2], [2, 3, 4, 5, 6], [2, 3, 4, 5, 6], [5, 6]
  ])
  t.same([...seen, after, again, fresh].flatMap(({ resets }) => resets), [])
  await until(async () => app.chatEvents.stats(), () => true)
})

t.test('a shared number of last events is requested once, and none if no chat wants any', async (t) => {
  const { app, url } = await startApp(t)
  const id = (await publish(app, 'a', 1, 2, 3))[0]
  const queries = async (...chats: ChatOptions[]): Promise<string> => {
    const page = new LoggedPage(t, url)
    const seen = chats.map((options, index) => page.open(String(index), options))
    for (const [index, each] of seen.entries()) {
      if (chats[index]?.after === undefined) await each.ready()
      else await until(async () => each.resets.length, (length) => length === 1)
    }
    page.client.close()
    return page.requests[0]?.url.split('?')[1] ?? ''
  }
  t.equal(await queries({}), '')
  t.equal(await queries({ rewind: 2 }), 'rewind=2')
  t.equal(await queries({}, {}), 'chat=0&chat=1')
  t.equal(await queries({ rewind: 2 }, { after: 'e-1-1', rewind: 7 }, { rewind: 2 }), 'rewind=2&chat=0&chat=1&chat=2')
  t.equal(await queries({ rewind: 2 }, { after: id, rewind: 7 }, {}), 'rewind=2&rewind=0&rewind=0&chat=0&chat=1&chat=2')
})

t.test('a chat that a handler reopens starts at the requested position, whatever was received before', async (t) => {
  const ids: unknown[] = []
  const message = (n: number): string => {
    return `id: e-${n}-${n}\nevent: message\ndata: {"type":"message","message":{"n":${n}}}\n\n`
  }
  const url = await startServer(t, (app) => app.get('/api/chats/a/events', async (request, reply) => {
    const id = request.headers['last-event-id'] as string | undefined
    ids.push(id)
    const from = Number(id?.split('-')[1] ?? 2)
    const numbers = range(from + 1, 4)
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write(
      `id: e-${from}-${from}\nevent: ready\ndata: {}\n\n${numbers.map(message).join('')}`
    )
    await once(reply.raw, 'close')
  }))
  const page = new Page(t, url)
  const first = page.open('a')
  let second: Seen | undefined
  first.chat.on('message', () => {
    first.chat.close()
    second = page.open('a', { after: 'e-0-0' })
  })
  await until(async () => second?.numbers.at(-1), (last) => last === 4)
  t.same([first.numbers, second?.numbers, ids], [[3], [1, 2, 3, 4], [undefined, 'e-0-0']])
})

t.test('an invalid position is reported to its own chat, and delays no other chat', async (t) => {
  const { app, url } = await startApp(t, { retryMs: 1 })
  const page = new Page(t, url)
  const seen = page.open('a')
  await seen.ready()
  const strange = ['💬', 'a.b', 'a\nb'].map((after, index) => page.open(`${index}`, { after }))
  for (const each of strange) await until(async () => each.resets.length, (length) => length === 1)
  t.match(strange.flatMap(({ resets }) => resets), strange.map(() => ({ reason: 'invalid' })))
  await publish(app, 'a', 1)
  await seen.has(1)
  t.same(seen.resets, [])
})

t.test('a reset that is cut off is reported when it arrives in full', async (t) => {
  let opened = 0
  const ids: unknown[] = []
  const url = await startServer(t, (app) => app.get('/api/chats/a/events', async (request, reply) => {
    if (request.headers.accept !== 'text/event-stream') return await reply.code(503).send()
    ids.push(request.headers['last-event-id'])
    const ready = 'retry: 1\nid: f-7-7\nevent: ready\ndata: {"resumed":false}\n\n'
    if (opened++ === 0) return await reply.type('text/event-stream').send(`${ready}id: f-7-7\nevent: res`)
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write(
      `${ready}id: f-7-7\nevent: reset\ndata: {"reason":"epoch","certain":true}\n\n`
    )
    await once(reply.raw, 'close')
  }))
  const seen = new Page(t, url).open('a', { after: 'e-1-1' })
  await until(async () => seen.resets.length, (length) => length === 1)
  t.same(ids, ['e-1-1', 'e-1-1'])
  t.equal(seen.chat.lastEventId, 'f-7-7')
})
