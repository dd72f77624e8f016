import t from 'tap'
import { createRealtimeClient, type LoadContext, type LoadResult } from '../../../lib/client/index.ts'
import { startApp } from '../../support/app.ts'
import { client, startRedis } from '../../support/redis.ts'
import { until } from '../../support/until.ts'
import { dropAll, Page, publish, settle } from './page.ts'

t.setTimeout(60_000)

t.test('the loaded state and the events are what the database has, also after Redis has lost all', async (t) => {
  const redis = await startRedis(t)
  const { app, url } = await startApp(t, { redisUrl: redis.url, retryMs: 1 })
  const database = new Map<number, string>()
  let lastEventId: string | undefined
  const write = async (id: number, text: string): Promise<void> => {
    database.set(id, text)
    lastEventId = (await app.chatEvents.emitChatMessage('a', { id, text })).id
  }
  await write(1, 'before the start')

  const reasons: string[] = []
  const seen: number[] = []
  const rows = new Map<number, string>()
  const page = createRealtimeClient({ url: `${url}/api` })
  t.teardown(() => page.close())
  const chat = page.chat('a', {
    load: async ({ reason }): Promise<LoadResult> => {
      reasons.push(reason)
      if (reasons.length === 1) throw new Error('not yet')
      const result = { lastEventId }
      await write(2, 'while the rows are read')
      rows.clear()
      for (const [id, text] of database) rows.set(id, text)
      await write(3, 'after the rows were read')
      return result
    }
  })
  chat.on('message', ({ message }) => {
    const { id, text } = message as { id: number, text: string }
    seen.push(id)
    rows.set(id, text)
  })
  await chat.ready
  await until(async () => seen.length, (length) => length === 2)
  t.same([reasons, seen, [...rows]], [['start', 'start'], [2, 3], [...database]])

  dropAll(app)
  await write(4, 'during an interruption')
  await until(async () => rows.size, (size) => size === 4)
  t.equal(reasons.length, 2, 'a stream that resumes loads nothing')

  await client(t, redis.url).flushall()
  await write(1, 'edited after the loss')
  await until(async () => rows.get(3), (text) => text === 'after the rows were read')
  await until(async () => reasons.length, (length) => length === 3)
  await until(async () => seen.at(-1), (id) => id === 3)
  t.equal(reasons.at(-1), 'epoch')
  t.same([...rows].sort(), [...database].sort())
})

t.test('the state of a chat that is refused is not loaded', async (t) => {
  const { url } = await startApp(t, { authorize: () => false })
  const page = createRealtimeClient({ url: `${url}/api` })
  t.teardown(() => page.close())
  const refused = new Promise((resolve) => { page.onRefused(resolve) })
  page.chat('a', { load: async () => { t.fail('was called') } })
  await refused
  await until(async () => page.state, (state) => state === 'stopped')
})

t.test('a chat that loses access while its state is loaded is not loaded until it is requested again', async (t) => {
  for (const status of [403, 404]) {
    let isAllowed = true
    const { app, url } = await startApp(t, { retryMs: 1 }, {
      setup: (app) => app.addHook('onRequest', async (_request, reply) => {
        if (!isAllowed) return reply.code(status).send({})
      })
    })
    const page = new Page(t, url)
    const calls: LoadContext[] = []
    const seen = page.open('a', {
      load: async (context) => {
        calls.push(context)
        if (calls.length === 1) await new Promise((_resolve, reject) => { context.signal.onabort = reject })
      }
    })
    await until(async () => calls.length, (length) => length === 1)
    await publish(app, 'a', 1)
    isAllowed = false
    dropAll(app)
    await until(async () => page.refusals.length, (length) => length === 1)
    t.match([page.refusals, calls[0]?.signal.aborted], [[{ status, chatId: 'a' }], true])
    await page.is('stopped')
    isAllowed = true
    t.equal(calls.length, 1)
    page.client.reconnect()
    await seen.has(1)
    t.same([calls.map(({ reason }) => reason), seen.numbers, seen.resets], [['start', 'start'], [1], []])
  }
})

t.test('a chat that is refused leaves the load of another chat alone', async (t) => {
  let isAllowed = true
  const authorize = (_request: unknown, chatId: string): boolean => chatId === 'b' || isAllowed
  const { app, url } = await startApp(t, { retryMs: 1, authorize })
  const page = new Page(t, url)
  const signals = new Map<string, AbortSignal>()
  let release = (): void => {}
  const released = new Promise<void>((resolve) => { release = resolve })
  const [, other] = ['a', 'b'].map((id) => page.open(id, {
    load: async ({ signal }) => { signals.set(id, signal); await released }
  }))
  await until(async () => signals.size, (size) => size === 2)
  isAllowed = false
  dropAll(app)
  await until(async () => page.refusals.length, (length) => length === 1)
  t.same([...signals].map(([id, { aborted }]) => [id, aborted]).sort(), [['a', true], ['b', false]])
  release()
  await publish(app, 'b', 1)
  await other?.has(1)
})

t.test('a page reports a loss when its server begins to keep a history, and when it ends to', async (t) => {
  const [without, withHistory] = [await startApp(t, { history: false, retryMs: 1 }), await startApp(t, { retryMs: 1 })]
  let server = without
  const page = new Page(t, '', { fetch: (path, init) => fetch(`${server.url}${String(path)}`, init) })
  const reasons: string[] = []
  const chats = [page.open('a'), page.open('a', { load: async ({ reason }) => { reasons.push(reason) } })]
  await page.is('open')
  await publish(server.app, 'a', 1)
  await Promise.all(chats.map((seen) => seen.has(1)))
  for (const [index, next] of [withHistory, without, withHistory].entries()) {
    // Polls would lose events while there is no history.
    settle(t)
    const { app } = server
    server = next
    await publish(server.app, 'a', -1)
    dropAll(app)
    await until(async () => chats.map(({ resets }) => resets.length), (lengths) => lengths.every((n) => n > index))
    await page.is('open')
    await publish(server.app, 'a', index + 2)
    await Promise.all(chats.map((seen) => seen.has(index + 2)))
  }
  for (const { numbers, resets } of chats) {
    t.same(numbers, [1, 2, 3, 4])
    t.same(resets, [1, 2, 3].map(() => ({ reason: 'no-history', certain: false })))
  }
  t.same(reasons, ['start', 'no-history', 'no-history', 'no-history'])
})
