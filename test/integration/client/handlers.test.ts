import t from 'tap'
import { once } from 'node:events'
import { startApp } from '../../support/app.ts'
import { until } from '../../support/until.ts'
import { range } from '../../support/numbers.ts'
import { Page, Seen, publish, startServer } from './page.ts'

t.setTimeout(120_000)

t.test('a page receives the events of a chat once, in order, with the ids of their receipts', async (t) => {
  const { app, url } = await startApp(t)
  const page = new Page(t, url)
  t.equal(page.client.state, 'idle')
  const seen = page.open('a')
  await page.is('open')
  const ids = await publish(app, 'a', 1, 2, 3)
  await seen.has(3)
  t.same([seen.numbers, seen.ids], [[1, 2, 3], ids])
  t.equal(seen.chat.lastEventId, ids[2])
  t.same(page.states, ['connecting', 'open'])
  page.client.close()
  t.same(page.states.at(-1), 'closed')
  t.throws(() => page.client.chat('b'), /closed/)
})

t.test('a handler receives its type, or all, until its removal, its signal or the end of the chat', async (t) => {
  const { app, url } = await startApp(t)
  const page = new Page(t, url)
  const chat = page.client.chat('a')
  const calls: string[] = []
  const abort = new AbortController()
  chat.on('*', ({ type }) => calls.push(`any ${type}`))
  const unsubscribe = chat.on('message', () => calls.push('unsubscribed'))
  chat.on('message', () => calls.push('aborted'), { signal: abort.signal })
  chat.on('message', () => calls.push('never'), { signal: AbortSignal.abort() })
  await page.is('open')
  await publish(app, 'a', 1)
  app.chatEvents.emit('a', { type: 'bot_action', action: {} })
  await until(async () => calls.length, (length) => length === 4)
  t.same(calls.splice(0), ['unsubscribed', 'aborted', 'any message', 'any bot_action'])
  unsubscribe()
  abort.abort()
  await publish(app, 'a', 2)
  await until(async () => calls.length, (length) => length === 1)
  chat.close()
  chat.close()
  await page.is('idle')
  t.same(calls, ['any message'])
})

t.test('a handler that throws is uncaught, and stops no other', async (t) => {
  const { app, url } = await startApp(t)
  const page = new Page(t, url)
  const chat = page.client.chat('a')
  chat.on('message', () => { throw new Error('a bug of the app') })
  const seen = new Seen(chat)
  const uncaught = t.capture(process, 'emit')
  const errors: unknown[] = []
  process.setUncaughtExceptionCaptureCallback((error) => { errors.push(error) })
  t.teardown(() => process.setUncaughtExceptionCaptureCallback(null))
  await page.is('open')
  await publish(app, 'a', 1)
  await seen.has(1)
  t.match(errors, [{ message: 'a bug of the app' }])
  uncaught.restore()
})

t.test('opening and closing chats does not disturb the events of other chats', async (t) => {
  const { app, url } = await startApp(t, { retryMs: 1 })
  const page = new Page(t, url)
  const seen = page.open('a')
  await seen.ready()
  for (let n = 1; n <= 30; n++) {
    await publish(app, 'a', n)
    if (n % 3 === 0) page.open(`other-${n % 2}`)
    if (n % 7 === 0) page.open('more').chat.close()
    await new Promise((resolve) => setTimeout(resolve, 3))
  }
  await seen.has(30)
  t.same([seen.numbers, seen.resets], [range(1, 30), []])
})

t.test('long and unusual ids work, and so do events that name no chat', async (t) => {
  const { app, url } = await startApp(t)
  const page = new Page(t, url)
  const chats = ['x'.repeat(500), 'a/b?c&d=e', '💬.-~', '.', '..', '100%2F', '%', '\u0001'.repeat(1_024)]
  t.throws(() => page.client.chat('\ud800'), URIError)
  for (const id of chats) {
    const alone = new Page(t, url)
    await alone.open(id).ready()
    alone.client.close()
  }
  const seen = chats.map((id) => page.open(id))
  for (const each of seen) await each.ready()
  for (const [index, id] of chats.entries()) {
    await app.pubsub.publish(`chat:${id}`, { type: 'message', message: { n: index } })
  }
  for (const [index, each] of seen.entries()) {
    await each.has(1)
    t.same(each.numbers, [index])
  }
  await app.pubsub.publish('chat:a/b?c&d=e', { type: 'message', message: { n: 7 } }, { ephemeral: true })
  await publish(app, 'a/b?c&d=e', 8)
  await seen[1]?.has(2)
  t.same(seen[1]?.numbers, [1, 8], 'an ephemeral event without a chat id reaches no handler')
})

t.test('signals close a chat, and the client', async (t) => {
  const { url } = await startApp(t)
  const abort = new AbortController()
  const page = new Page(t, url, { signal: abort.signal })
  const one = new AbortController()
  const chat = page.open('a', { signal: one.signal })
  await chat.ready()
  one.abort()
  await page.is('idle')
  await page.open('b').ready()
  abort.abort()
  t.equal(page.client.state, 'closed')
})

t.test('a chat that is closed by a handler receives no event after that, even if it has arrived', async (t) => {
  const message = (n: number): string => {
    return `id: e-${n}-${n}\nevent: message\ndata: {"type":"message","message":{"n":${n}}}\n\n`
  }
  const url = await startServer(t, (app) => app.get('/api/chats/a/events', async (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write(
      `id: e-0-0\nevent: ready\ndata: {"resumed":false}\n\n${message(1)}${message(2)}`
    )
    await once(reply.raw, 'close')
  }))
  const page = new Page(t, url)
  const [first, second] = [page.open('a'), page.open('a')]
  first.chat.on('message', () => { first.chat.close(); second.chat.close() })
  await first.has(1)
  await page.is('idle')
  t.same([first.numbers, second.numbers], [[1], []])
})
