import t from 'tap'
import { once } from 'node:events'
import { startApp } from '../../support/app.ts'
import { until } from '../../support/until.ts'
import { Page, publish, dropAll, settle, startServer, LoggedPage, startFrames } from './page.ts'

t.setTimeout(120_000)

t.test('a refused chat is reported, and the other chats continue', async (t) => {
  const allowed = new Set(['a', 'b'])
  const { app, url } = await startApp(t, { retryMs: 1, authorize: (_request, chatId) => allowed.has(chatId) })
  const page = new Page(t, url)
  const seen = ['a', 'secret', 'b'].map((id) => page.open(id))
  await seen[0]?.ready()
  await seen[2]?.ready()
  t.match(page.refusals, [{ status: 403, code: 'RT_FORBIDDEN', chatId: 'secret' }])
  page.open('c')
  await until(async () => page.refusals.length, (length) => length === 2)
  await page.is('open')
  await publish(app, 'a', 1)
  await seen[0]?.has(1)
  t.equal(page.refusals.length, 2)
  allowed.add('secret')
  allowed.add('c')
  page.client.reconnect()
  await seen[1]?.ready()
  t.equal(page.refusals.length, 2)
})

t.test('a client stops if each of its chats is refused, until it is resumed', async (t) => {
  let allowed = false
  const { url } = await startApp(t, { authorize: () => allowed })
  const page = new Page(t, url)
  const seen = page.open('a')
  await page.is('stopped')
  t.match(page.refusals, [{ status: 403, code: 'RT_FORBIDDEN', chatId: 'a' }])
  const others = ['b', 'c'].map((id) => page.open(id))
  await until(async () => page.refusals.length, (length) => length === 3)
  await page.is('stopped')
  t.match(page.refusals.slice(1), [{ status: 403, chatId: 'b' }, { status: 403, chatId: 'c' }])
  allowed = true
  page.client.reconnect()
  for (const each of [seen, ...others]) await each.ready()
  t.equal(page.refusals.length, 3)
})

t.test('a chat that is closed when another one is refused is not reported any more', async (t) => {
  const { url } = await startApp(t, { authorize: () => false })
  const page = new Page(t, url)
  const [, second] = [page.open('a'), page.open('b')]
  page.client.onRefused(() => { second.chat.close() })
  await until(async () => page.refusals.length, (length) => length > 0)
  await until(async () => page.client.state, (state) => state !== 'connecting')
  t.match(page.refusals, [{ chatId: 'a' }])
})

t.test('a chat whose access is revoked is left out, and the other chats of its stream continue', async (t) => {
  const allowed = new Set(['a', 'b', 'c'])
  const { app, url } = await startApp(t, {
    retryMs: 1, authorize: (_request, chatId) => allowed.has(chatId) && { userId: 'ada' }
  })
  const page = new LoggedPage(t, url)
  const seen = ['a', 'b', 'c'].map((id) => page.open(id))
  for (const each of seen) await each.ready()
  allowed.delete('b')
  settle(t)
  await app.chatEvents.revoke('b', 'ada')
  for (const chatId of ['a', 'b', 'c']) await publish(app, chatId, 1)
  await seen[0]?.has(1)
  await seen[2]?.has(1)
  await until(async () => page.refusals.length, (length) => length === 1)
  t.match(page.refusals, [{ status: 403, code: 'RT_FORBIDDEN', chatId: 'b', message: /refused/i }])
  t.equal(page.requests.length, 2, 'without asking for the chats one by one')
  dropAll(app)
  await until(async () => page.requests.length, (length) => length === 3)
  t.same(page.requests[2]?.chats, ['a', 'c'])
  await publish(app, 'a', 2)
  await seen[0]?.has(2)
  t.same(seen.map(({ numbers, resets }) => [numbers, resets]), [[[1, 2], []], [[], []], [[1], []]])
})

t.test('an invalid chat id or rewind keeps no other chat from opening', async (t) => {
  const { app, url } = await startApp(t, { maxRewind: 999_999 })
  await publish(app, 'a', 1, 2, 3)
  const page = new Page(t, url)
  page.open('x'.repeat(1_025))
  const seen = [-1, NaN, 1e9, 2.5].map((rewind) => page.open(rewind === 1e9 ? 'a' : `${rewind}`, { rewind }))
  for (const each of seen) await each.ready()
  await seen[2]?.has(3)
  t.match(page.refusals, [{ status: 400, code: 'RT_CHAT_ID_INVALID', chatId: 'x'.repeat(1_025) }])
})

t.test('a chat with a rewind above the server\'s limit is refused, and keeps no other chat from opening', async (t) => {
  const { app, url } = await startApp(t, { maxRewind: 2 })
  await publish(app, 'a', 1, 2, 3)
  const page = new LoggedPage(t, url)
  page.open('b', { rewind: 3 })
  const seen = page.open('a', { rewind: 2 })
  await seen.has(2)
  t.same(seen.numbers, [2, 3])
  t.match(page.refusals, [{ status: 400, code: 'RT_REWIND_INVALID', chatId: 'b' }])
  t.equal(page.requests.length, 1)
  const alone = new Page(t, url)
  alone.open('b', { rewind: 3 })
  await until(async () => alone.refusals.length, (length) => length === 1)
  t.match(alone.refusals, [{ status: 400, code: 'RT_REWIND_INVALID', chatId: 'b', message: /from 0 to 2, got 3/ }])
})

t.test('a refused chat is requested again when the page opens it anew', async (t) => {
  let allowed = false
  const { url } = await startApp(t, { retryMs: 1, authorize: (_request, chatId) => chatId === 'a' || allowed })
  const page = new Page(t, url)
  await page.open('a').ready()
  const first = page.open('secret')
  await until(async () => page.refusals.length, (length) => length === 1)
  first.chat.close()
  const second = page.open('secret')
  await until(async () => page.refusals.length, (length) => length === 2)
  allowed = true
  await page.open('secret').ready()
  await second.ready()
  t.equal(page.refusals.length, 2)
})

t.test('a refusal by a proxy without a body is reported, too', async (t) => {
  const url = await startServer(t, (app) => {
    return app.get('/api/chats/a/events', async (_request, reply) => reply.code(404).send('nothing here'))
  })
  const page = new Page(t, url)
  page.open('a')
  await page.is('stopped')
  t.match(page.refusals, [{ status: 404, message: 'Status 404' }])
})

t.test('a response that is not an event stream is refused once, with a description', async (t) => {
  const url = await startServer(t, (app) => {
    app.get('/api/chats/a/events', async (_request, reply) => {
      return reply.type('text/html').send('<!doctype html><title>The app</title>')
    })
    app.get('/api/chats/events', async (_request, reply) => {
      reply.hijack()
      reply.raw.writeHead(200).end('hello')
    })
  })
  const page = new Page(t, url)
  page.open('a')
  await page.is('stopped')
  t.match(page.refusals, [
    { status: 200, code: 'RT_NOT_EVENT_STREAM', chatId: undefined, message: 'No event stream: text/html' }
  ])
  page.open('b')
  await until(async () => page.refusals.length, (length) => length === 2)
  t.match(page.refusals[1], { code: 'RT_NOT_EVENT_STREAM', message: 'No event stream: none' })
  t.same(page.states, ['connecting', 'stopped', 'connecting', 'stopped'])
})

t.test('a refusal with a body that is not the server\'s is reported all the same', async (t) => {
  const bodies = ['null', '5', '[1]', '{"message":5,"code":{}}', '<p>']
  const url = await startServer(t, (app) => {
    return app.get('/api/chats/:chatId/events', async (_request, reply) => reply.code(403).send(bodies.shift()))
  })
  const expected = bodies.map(() => ({ status: 403, message: 'Status 403', code: undefined }))
  for (const expects of expected) {
    const page = new Page(t, url)
    page.open('a')
    await page.is('stopped')
    t.match(page.refusals, [{ ...expects, chatId: 'a' }])
  }
})

t.test('a refusal that a new connection cuts off is applied to none of its chats', async (t) => {
  let refused = (): void => {}
  const begun = new Promise<void>((resolve) => { refused = resolve })
  const url = await startServer(t, (app) => {
    app.get('/api/chats/a/events', async (_request, reply) => {
      reply.hijack()
      reply.raw.writeHead(403, { 'content-type': 'application/json' }).write('{"message":')
      await once(reply.raw, 'close')
    })
    app.get('/api/chats/events', async (_request, reply) => {
      reply.hijack()
      const ready = (id: string, chatId: string): string => `id: ${id}\nevent: ready\ndata: {"chatId":"${chatId}"}\n\n`
      reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write(
        `${ready('e-0-0.', 'a')}${ready('e-0-0.f-0-0', 'b')}`
      )
      await once(reply.raw, 'close')
    })
  })
  const page = new Page(t, url, {
    fetch: async (...args) => {
      const response = await fetch(...args)
      if (response.status === 403) refused()
      return response
    }
  })
  const seen = page.open('a')
  await begun
  await new Promise(setImmediate)
  const other = page.open('b')
  await other.ready()
  await seen.ready()
  t.same(page.refusals, [])
})

t.test('a stream that refuses each of its chats stops the client', async (t) => {
  const url = await startFrames(
    t,
    'event: refused\ndata: {"chatId":"a","code":"RT_FORBIDDEN"}',
    'event: refused\ndata: {"chatId":"b"}',
    'event: refused\ndata: {"chatId":"b"}'
  )
  const page = new Page(t, url)
  const seen = ['a', 'b'].map((id) => page.open(id))
  await page.is('stopped')
  t.match(page.refusals, [
    { chatId: 'a', status: 403, code: 'RT_FORBIDDEN' }, { chatId: 'b', status: 403, code: undefined }
  ])
  t.equal(page.refusals.length, 2)
  seen[0]?.chat.close()
  seen[1]?.chat.close()
})
