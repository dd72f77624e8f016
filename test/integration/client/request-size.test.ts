import t from 'tap'
import { once } from 'node:events'
import { startApp } from '../../support/app.ts'
import { until } from '../../support/until.ts'
import { range } from '../../support/numbers.ts'
import { Page, publish, dropAll, settle, startServer, LoggedPage } from './page.ts'

t.setTimeout(120_000)

t.test('chats beyond the limit of a stream use further streams, and one more chat reopens just one', async (t) => {
  const { app, url } = await startApp(t, { retryMs: 1, maxChatsPerStream: 4 })
  const page = new LoggedPage(t, url)
  const ids = range(1, 10).map(String)
  const seen = ids.map((id) => page.open(id))
  for (const each of seen) await each.ready()
  await page.is('open')
  t.same(page.requests.map(({ chats }) => chats.length).sort((one, other) => other - one), [10, 4, 4, 2])
  const before = page.requests.length
  seen.push(page.open('11'))
  await seen[10]?.ready()
  t.same(page.requests.slice(before).map(({ chats }) => chats), [['9', '10', '11']])
  settle(t)
  dropAll(app)
  await until(async () => page.requests.length, (length) => length === before + 1 + 3)
  await page.is('open')
  for (const id of [...ids, '11']) await publish(app, id, 1, 2)
  for (const each of seen) await each.has(2)
  t.same(seen.map(({ numbers, resets }) => [numbers, resets]), seen.map(() => [[1, 2], []]))
  t.same(page.refusals, [])
  for (const { chat } of seen.slice(0, 4)) chat.close()
  const last = page.requests.length
  await page.open('12').ready()
  t.same(
    page.requests.slice(last).map(({ chats, url }) => [chats, /chats\/12/.test(url)]),
    [[[], true]],
    'in the room that was left'
  )
  for (const { chat } of seen) chat.close()
  await until(async () => app.chatEvents.stats().localChats, (chats) => chats === 1)
  page.client.close()
})

t.test('a request stays small enough for a server, with any number of chats and any length of ids', async (t) => {
  const { app, url } = await startApp(t, { retryMs: 1, maxChatsPerStream: 100 })
  const page = new LoggedPage(t, url)
  const ids = range(1, 150).map((n) => `${n}`.padEnd(n % 50 === 0 ? 500 : 36, 'ü'))
  const seen = ids.map((id) => page.open(id))
  for (const each of seen) await each.ready()
  const opened = page.requests.length
  dropAll(app)
  await until(async () => page.requests.length, (length) => length === 2 * opened)
  await page.is('open')
  const sizes = page.requests.map(({ url, id }) => url.length + id.length)
  t.ok(
    Math.max(...sizes) < 6_300 && page.requests.some(({ id }) => id.length > 300), `at most ${Math.max(...sizes)} bytes`
  )
  for (const id of ids) await publish(app, id, 1)
  for (const each of seen) await each.has(1)
  t.same(page.refusals, [])
})

t.test('a request that a proxy finds too large is divided, down to a single chat', async (t) => {
  let status = 0
  const sizes: number[] = []
  const url = await startServer(t, (app) => {
    app.get('/api/chats/events', async (request, reply) => {
      const { chat } = request.query as { chat: string[] }
      sizes.push(chat.length)
      if (chat.length > 3) return await reply.code(status).send('Too large: 2')
      reply.hijack()
      reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
      for (const [index, chatId] of chat.entries()) {
        reply.raw.write(
          `id: ${chat.map((_, other) => {
            return other > index ? '' : 'e-0-0'
          }).join('.')}\nevent: ready\ndata: {"chatId":"${chatId}"}\n\n`
        )
      }
      await once(reply.raw, 'close')
    })
    app.get('/api/chats/:chatId/events', async (_request, reply) => reply.code(status).send())
  })
  for (status of [414, 431]) {
    const page = new Page(t, url)
    const seen = range(1, 12).map((n) => page.open(`${n}`))
    await Promise.all(seen.map((each) => each.ready()))
    t.same(sizes.splice(0), [12, 6, 6, 3, 3, 3, 3])
    t.same(page.refusals, [])
    page.client.close()
  }
  const alone = new Page(t, url)
  alone.open('a')
  await alone.is('stopped')
  t.match(alone.refusals, [{ status: 431, chatId: 'a' }])
})

interface RefusalError extends Error { code: string, statusCode: number }

t.test('the client finds the limit of chats per stream even if the server\'s message lacks it', async (t) => {
  let message = 'Too many'
  const { url } = await startApp(t, { retryMs: 1, maxChatsPerStream: 3 }, {
    setup: (app) => app.setErrorHandler<RefusalError>(async (error, _request, reply) => {
      return reply.code(error.statusCode).send({ code: error.code, message })
    })
  })
  for (message of ['Too many', 'At most 99', 'At most 0']) {
    const page = new LoggedPage(t, url)
    const seen = range(1, 7).map((n) => page.open(`${n}`))
    for (const each of seen) await each.ready()
    t.same(page.requests.map(({ chats }) => chats.length || 1).sort((one, other) => other - one), [7, 3, 3, 1], message)
    page.client.close()
  }
})

t.test('an event that is too large ends its connection and is not requested for ever', async (t) => {
  const piece = 'x'.repeat(2 ** 20)
  const url = await startServer(t, (app) => app.get('/api/chats/a/events', async (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write(
      'id: e-0-0\nevent: ready\ndata: {}\n\ndata: '
    )
    while (!reply.raw.destroyed) {
      if (!reply.raw.write(piece)) await Promise.race([once(reply.raw, 'drain'), once(reply.raw, 'close')])
    }
  }))
  const page = new Page(t, url)
  page.open('a')
  await page.is('stopped')
  t.match(page.refusals, [{ code: 'RT_EVENT_TOO_LARGE', chatId: undefined }])
  t.same(page.states, ['connecting', 'open', 'stopped'])
})
