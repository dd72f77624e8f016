import t, { type Test } from 'tap'
import { once } from 'node:events'
import type { Server } from 'node:http'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import { createRealtimeClient, type ChatOptions, type ClientState, type RealtimeChat, type RealtimeClient, type RealtimeClientOptions, type Refusal, type Reset } from '../../../lib/client/index.ts'
import { startApp } from '../../support/app.ts'
import { LoadBalancer } from '../../support/load-balancer.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { until } from '../../support/until.ts'

t.setTimeout(120_000)

/** A client, and what it was told. */
class Page {
  readonly client: RealtimeClient
  readonly states: ClientState[] = []
  readonly refusals: Refusal[] = []

  constructor (t: Test, url: string, options: RealtimeClientOptions = {}) {
    this.client = createRealtimeClient({ url: `${url}/api`, ...options })
    this.client.onState((state) => { this.states.push(state) })
    this.client.onRefused((refusal) => { this.refusals.push(refusal) })
    t.teardown(() => this.client.close())
  }

  open (id: string, options?: ChatOptions): Seen {
    return new Seen(this.client.chat(id, options))
  }

  async is (state: ClientState): Promise<void> {
    await until(async () => this.client.state, (now) => now === state)
  }
}

/** A chat, and what its handlers were told. */
class Seen {
  readonly chat: RealtimeChat
  readonly numbers: number[] = []
  readonly ids: (string | undefined)[] = []
  readonly resets: Reset[] = []

  constructor (chat: RealtimeChat) {
    this.chat = chat
    chat.on('message', ({ message }, { id }) => {
      this.numbers.push((message as { n: number }).n)
      this.ids.push(id)
    })
    chat.onReset((reset) => { this.resets.push(reset) })
  }

  async has (count: number): Promise<void> {
    await until(async () => this.numbers.length, (length) => length >= count)
  }

  /** Resolves once it knows where it is. */
  async ready (): Promise<void> {
    await until(async () => this.chat.lastEventId, (id) => id !== undefined)
  }
}

async function publish (app: FastifyInstance, chatId: string, ...numbers: number[]): Promise<string[]> {
  return (await Promise.all(numbers.map((n) => app.chatEvents.emitChatMessage(chatId, { n })))).map(({ id }) => id as string)
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, n) => from + n)

const dropAll = (app: FastifyInstance): void => (app.server as Server).closeAllConnections()

/** A server that answers as it is told. */
async function startServer (t: Test, answer: (app: FastifyInstance) => unknown): Promise<string> {
  const app = Fastify()
  t.teardown(() => { app.server.closeAllConnections(); return app.close() })
  await answer(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  return `http://127.0.0.1:${(app.server.address() as { port: number }).port}`
}

t.test('events of a chat are handed on once, in order, with the ids of their receipts', async (t) => {
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

t.test('handlers are told of their type, or of all, until their undo, their signal or the chat\'s end', async (t) => {
  const { app, url } = await startApp(t)
  const page = new Page(t, url)
  const chat = page.client.chat('a')
  const told: string[] = []
  const abort = new AbortController()
  chat.on('*', ({ type }) => told.push(`any ${type}`))
  const unsubscribe = chat.on('message', () => told.push('undone'))
  chat.on('message', () => told.push('aborted'), { signal: abort.signal })
  chat.on('message', () => told.push('never'), { signal: AbortSignal.abort() })
  await page.is('open')
  await publish(app, 'a', 1)
  app.chatEvents.emit('a', { type: 'bot_action', action: {} })
  await until(async () => told.length, (length) => length === 4)
  t.same(told.splice(0), ['undone', 'aborted', 'any message', 'any bot_action'])
  unsubscribe()
  abort.abort()
  await publish(app, 'a', 2)
  await until(async () => told.length, (length) => length === 1)
  chat.close()
  chat.close()
  await page.is('idle')
  t.same(told, ['any message'])
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

t.test('drops are made up for, in one chat and in several', async (t) => {
  const { app, url } = await startApp(t, { retryMs: 1 })
  for (const chats of [['a'], ['b', 'c', 'd']]) {
    const page = new Page(t, url)
    const seen = chats.map((id) => page.open(id))
    await page.is('open')
    for (const each of seen) await each.ready()
    for (let n = 1; n <= 40; n++) {
      for (const id of chats) await publish(app, id, n)
      if (n % 10 === 5) dropAll(app)
    }
    for (const each of seen) {
      await each.has(40)
      t.same([each.numbers, each.resets], [range(1, 40), []])
    }
    page.client.close()
  }
})

t.test('chats that are opened and closed take no other chat\'s events away', async (t) => {
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

t.test('a chat may start with the last events, or after one that the page has', async (t) => {
  const { app, url } = await startApp(t)
  const ids = await publish(app, 'a', 1, 2, 3, 4)
  await publish(app, 'b', 1, 2)
  const page = new Page(t, url)
  const seen = [page.open('a', { rewind: 2 }), page.open('b', { rewind: 1 }), page.open('c')] as const
  await Promise.all(seen.map((each) => each.ready()))
  await seen[0].has(2)
  await seen[1].has(1)
  // The connection has got these by now: each catches up on one of its own.
  const after = page.open('a', { after: ids[0] })
  const again = page.open('a', { rewind: 3 })
  const fresh = page.open('a')
  await after.has(3)
  await again.has(3)
  await fresh.ready()
  await publish(app, 'a', 5, 6)
  for (const each of [seen[0], after, again, fresh]) await until(async () => each.numbers.at(-1), (last) => last === 6)
  t.same([seen[0], seen[1], after, again, fresh].map(({ numbers }) => numbers), [[3, 4, 5, 6], [2], [2, 3, 4, 5, 6], [2, 3, 4, 5, 6], [5, 6]])
  t.same([...seen, after, again, fresh].flatMap(({ resets }) => resets), [])
  await until(async () => app.chatEvents.stats(), () => true)
})

t.test('what can\'t be made up for is told, whatever breaks off before the reset has come', async (t) => {
  const { app, url } = await startApp(t, { retryMs: 1, history: { size: 2 } })
  const [id] = await publish(app, 'a', 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
  const page = new Page(t, url)
  const seen = page.open('a', { after: id })
  await until(async () => seen.resets.length, (length) => length === 1)
  t.match(seen.resets, [{ reason: 'trimmed', certain: true }])
  await publish(app, 'a', 11)
  await seen.has(1)
  t.same(seen.numbers, [11])
  const invalid = page.open('b', { after: 'garbage' })
  await until(async () => invalid.resets.length, (length) => length === 1)
  t.match(invalid.resets, [{ reason: 'invalid' }])
  t.equal(seen.resets.length, 1)
})

t.test('it goes on at another instance, behind a load balancer, from instance to instance', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const balancer = await LoadBalancer.start(t)
  const start = async (instanceId: string): Promise<FastifyInstance> => {
    const { app, url } = await startApp(t, { redisUrl: redis.url, instanceId, retryMs: 1 })
    balancer.add(url)
    return app
  }
  const apps = [await start('i0'), await start('i1')]
  const page = new Page(t, balancer.url)
  const seen = ['a', 'b'].map((id) => page.open(id))
  for (const each of seen) await each.ready()
  for (let n = 1; n <= 60; n++) {
    const app = apps.at(-1) as FastifyInstance
    await Promise.all(['a', 'b'].map((id) => publish(app, id, n)))
    if (n % 20 === 10) {
      apps.push(await start(`i${apps.length}`))
      await apps.shift()?.close()
    }
  }
  for (const each of seen) {
    await each.has(60)
    t.same([each.numbers, each.resets], [range(1, 60), []])
  }
})

t.test('a server that keeps no history says so by a reset for each drop', async (t) => {
  const { app, url } = await startApp(t, { retryMs: 1, history: false })
  const page = new Page(t, url)
  const seen = page.open('a', { rewind: 5 })
  const second = (): Seen => page.open('a', { rewind: 5 })
  await page.is('open')
  const late = second()
  await publish(app, 'a', 1)
  await seen.has(1)
  await late.has(1)
  dropAll(app)
  await until(async () => seen.resets.length, (length) => length > 0)
  t.same(seen.resets, [{ reason: 'no-history', certain: false }])
  t.same([seen.ids, seen.chat.lastEventId], [[undefined], undefined])
})

t.test('a busy or broken server is asked again, as late as it says', async (t) => {
  const asked: number[] = []
  const answers = [204, 503, 500, 429, 200]
  const { app, url } = await startApp(t, { retryMs: 1 }, {
    setup: (app) => app.addHook('onRequest', async (request, reply) => {
      if (!request.url.includes('/events')) return
      asked.push(performance.now())
      const status = answers.shift() as number
      // So that the client need not wait for as long as it does by itself.
      if (status === 204) return await reply.type('text/event-stream').send('retry: 1\n\n')
      if (status !== 200) return await reply.code(status).header('retry-after', status === 429 ? '1' : 'soon').send({})
    })
  })
  const page = new Page(t, url)
  const seen = page.open('a')
  await seen.ready()
  t.equal(asked.length, 5)
  t.ok((asked[4] as number) - (asked[3] as number) >= 990)
  t.same(page.refusals, [])
  await publish(app, 'a', 1)
  await seen.has(1)
})

t.test('a stream that ends at once says when to come back', async (t) => {
  const asked: number[] = []
  const url = await startServer(t, (app) => app.get('/api/chats/a/events', async (_request, reply) => {
    asked.push(performance.now())
    return await reply.type('text/event-stream').send('retry: 150\n\n')
  }))
  const page = new Page(t, url)
  page.open('a')
  await until(async () => asked.length, (length) => length === 3)
  page.client.close()
  const [first = 0, second = 0, third = 0] = asked
  t.ok(second - first >= 145)
  t.ok(third - second >= 290, 'and later each time')
})

t.test('a chat that is refused is told of, and keeps no other from going on', async (t) => {
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

t.test('a client whose every chat is refused stops, until it is told to go on', async (t) => {
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

/** A page that keeps what it asks for. */
class LoggedPage extends Page {
  readonly requests: { url: string, chats: string[], id: string }[]

  constructor (t: Test, url: string, options: RealtimeClientOptions = {}) {
    const requests: LoggedPage['requests'] = []
    super(t, url, {
      ...options,
      fetch: async (url, init) => {
        const id = new Headers(init?.headers).get('last-event-id') ?? ''
        requests.push({ url: String(url), chats: new URL(String(url)).searchParams.getAll('chat'), id })
        return await fetch(url, init)
      }
    })
    this.requests = requests
  }
}

t.test('a chat that is closed when another one is refused is not reported any more', async (t) => {
  const { url } = await startApp(t, { authorize: () => false })
  const page = new Page(t, url)
  const [, second] = [page.open('a'), page.open('b')]
  page.client.onRefused(() => { second.chat.close() })
  await until(async () => page.refusals.length, (length) => length > 0)
  await until(async () => page.client.state, (state) => state !== 'connecting')
  t.match(page.refusals, [{ chatId: 'a' }])
})

t.test('a chat whose access is revoked is left out, and the others of its stream go on', async (t) => {
  const allowed = new Set(['a', 'b', 'c'])
  const { app, url } = await startApp(t, { retryMs: 1, authorize: (_request, chatId) => allowed.has(chatId) && { userId: 'ada' } })
  const page = new LoggedPage(t, url)
  const seen = ['a', 'b', 'c'].map((id) => page.open(id))
  for (const each of seen) await each.ready()
  allowed.delete('b')
  await app.chatEvents.revoke('b', 'ada')
  for (const chatId of ['a', 'b', 'c']) await publish(app, chatId, 1)
  await seen[0]?.has(1)
  await seen[2]?.has(1)
  await until(async () => page.refusals.length, (length) => length === 1)
  t.match(page.refusals, [{ status: 403, code: 'RT_FORBIDDEN', chatId: 'b', message: /refused/ }])
  t.equal(page.requests.length, 2, 'without asking for the chats one by one')
  dropAll(app)
  await until(async () => page.requests.length, (length) => length === 3)
  t.same(page.requests[2]?.chats, ['a', 'c'])
  await publish(app, 'a', 2)
  await seen[0]?.has(2)
  t.same(seen.map(({ numbers, resets }) => [numbers, resets]), [[[1, 2], []], [[], []], [[1], []]])
})

t.test('an id that is no chat\'s, and a rewind that is no number of events, keep no other chat out', async (t) => {
  const { app, url } = await startApp(t, { maxRewind: 999_999 })
  await publish(app, 'a', 1, 2, 3)
  const page = new Page(t, url)
  page.open('x'.repeat(1_025))
  const seen = [-1, NaN, 1e9, 2.5].map((rewind) => page.open(rewind === 1e9 ? 'a' : `${rewind}`, { rewind }))
  for (const each of seen) await each.ready()
  await seen[2]?.has(3)
  t.match(page.refusals, [{ status: 400, code: 'RT_CHAT_ID_INVALID', chatId: 'x'.repeat(1_025) }])
})

t.test('a chat that asks for more events than the server allows is refused, and keeps no other chat out', async (t) => {
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

t.test('a number of last events is asked for once where all new chats want the same, and not at all where they want none', async (t) => {
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

t.test('chats that one stream may not carry come over several, and a chat more opens one of them anew', async (t) => {
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
  t.same(page.requests.slice(last).map(({ chats, url }) => [chats, /chats\/12/.test(url)]), [[[], true]], 'in the room that was left')
  for (const { chat } of seen) chat.close()
  await until(async () => app.chatEvents.stats().localChats, (chats) => chats === 1)
  page.client.close()
})

t.test('a request stays small enough for a server, however many chats there are and however long their ids', async (t) => {
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
  t.ok(Math.max(...sizes) < 6_300 && page.requests.some(({ id }) => id.length > 300), `at most ${Math.max(...sizes)} bytes`)
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
      for (const [index, chatId] of chat.entries()) reply.raw.write(`id: ${chat.map((_, other) => other > index ? '' : 'e-0-0').join('.')}\nevent: ready\ndata: {"chatId":"${chatId}"}\n\n`)
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

t.test('how many chats a stream may carry is found out where the server\'s message does not say it', async (t) => {
  let message = 'Too many'
  const { url } = await startApp(t, { retryMs: 1, maxChatsPerStream: 3 }, {
    setup: (app) => app.setErrorHandler(async (error: Error & { code: string, statusCode: number }, _request, reply) => reply.code(error.statusCode).send({ code: error.code, message }))
  })
  for (message of ['Too many', 'At most 99', 'At most 0']) {
    const page = new LoggedPage(t, url)
    const seen = range(1, 7).map((n) => page.open(`${n}`))
    for (const each of seen) await each.ready()
    t.same(page.requests.map(({ chats }) => chats.length || 1).sort((one, other) => other - one), [7, 3, 3, 1], message)
    page.client.close()
  }
})

t.test('a chat that was refused is asked for again where it is opened anew', async (t) => {
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

t.test('a proxy that refuses without a word is told of, too', async (t) => {
  const url = await startServer(t, (app) => app.get('/api/chats/a/events', async (_request, reply) => reply.code(404).send('nothing here')))
  const page = new Page(t, url)
  page.open('a')
  await page.is('stopped')
  t.match(page.refusals, [{ status: 404, message: 'The server answered 404' }])
})

t.test('an answer that is no event stream is refused once, and says what it is', async (t) => {
  const url = await startServer(t, (app) => {
    app.get('/api/chats/a/events', async (_request, reply) => reply.type('text/html').send('<!doctype html><title>The app</title>'))
    app.get('/api/chats/events', async (_request, reply) => {
      reply.hijack()
      reply.raw.writeHead(200).end('hello')
    })
  })
  const page = new Page(t, url)
  page.open('a')
  await page.is('stopped')
  t.match(page.refusals, [{ status: 200, code: 'RT_NOT_EVENT_STREAM', chatId: undefined, message: /an event stream, got text\/html/ }])
  page.open('b')
  await until(async () => page.refusals.length, (length) => length === 2)
  t.match(page.refusals[1], { code: 'RT_NOT_EVENT_STREAM', message: /got no content type/ })
  t.same(page.states, ['connecting', 'stopped', 'connecting', 'stopped'])
})

t.test('an event that is too large stops its connection, rather than being asked for again and again', async (t) => {
  const piece = 'x'.repeat(2 ** 20)
  const url = await startServer(t, (app) => app.get('/api/chats/a/events', async (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write('id: e-0-0\nevent: ready\ndata: {}\n\ndata: ')
    while (!reply.raw.destroyed) if (!reply.raw.write(piece)) await Promise.race([once(reply.raw, 'drain'), once(reply.raw, 'close')])
  }))
  const page = new Page(t, url)
  page.open('a')
  await page.is('stopped')
  t.match(page.refusals, [{ code: 'RT_EVENT_TOO_LARGE', chatId: undefined }])
  t.same(page.states, ['connecting', 'open', 'stopped'])
})

t.test('a stream is read right however its bytes are cut', async (t) => {
  const event = (n: number): string => `id: e-${n}-${n}\r\nevent: message\rdata: {"type":"message",\ndata: "message":{"n":${n}},"text":"Grüße 💬"}\r\n\r\n`
  const bytes = Buffer.from(`\ufeffretry: 1\nid: e-0-0\nevent: ready\ndata: {}\n\n:\n${event(1)}:\n${event(2)}`)
  const body = new ReadableStream({
    start: (controller) => { for (const byte of bytes) controller.enqueue(new Uint8Array([byte])) }
  })
  const page = new Page(t, '', { fetch: async () => new Response(body, { headers: { 'content-type': 'text/event-stream; charset=utf-8' } }) })
  const seen = page.open('a')
  const texts: unknown[] = []
  seen.chat.on('*', (event) => { texts.push((event as unknown as { text: string }).text) })
  await seen.has(2)
  t.same([seen.numbers, texts], [[1, 2], ['Grüße 💬', 'Grüße 💬']])
})

t.test('a stream is never answered from a cache, nor kept in one', async (t) => {
  const { url } = await startApp(t)
  const caches: unknown[] = []
  const page = new Page(t, url, { fetch: async (...args) => { caches.push((args[1] as { cache?: string }).cache); return await fetch(...args) } })
  await page.open('a').ready()
  t.same(caches, ['no-store'])
})

t.test('a refusal whose body is none of the server\'s is told all the same', async (t) => {
  const bodies = ['null', '5', '[1]', '{"message":5,"code":{}}', '<p>']
  const url = await startServer(t, (app) => app.get('/api/chats/:chatId/events', async (_request, reply) => reply.code(403).send(bodies.shift())))
  const expected = bodies.map(() => ({ status: 403, message: 'The server answered 403', code: undefined }))
  for (const expects of expected) {
    const page = new Page(t, url)
    page.open('a')
    await page.is('stopped')
    t.match(page.refusals, [{ ...expects, chatId: 'a' }])
  }
})

t.test('headers are asked for anew with each connection, and once more on 401', async (t) => {
  const tokens = ['old', 'new']
  let asked = 0
  const { app, url } = await startApp(t, {
    retryMs: 1,
    authorize: ({ headers: { authorization } }) => {
      if (authorization !== 'new') throw Object.assign(new Error('Sign in first'), { statusCode: 401 })
      return true
    }
  })
  const page = new Page(t, url, {
    headers: async () => {
      if (++asked === 1) throw new Error('offline just now')
      return { authorization: tokens[0] as string }
    },
    fetch: async (...args) => { const response = await fetch(...args); if (response.status === 401) tokens.shift(); return response }
  })
  const seen = page.open('a')
  await until(async () => asked, (count) => count === 1)
  page.client.reconnect()
  await seen.ready()
  t.equal(asked, 3)
  tokens[0] = 'wrong'
  dropAll(app)
  await page.is('stopped')
  t.equal(asked, 5)
  t.match(page.refusals, [{ status: 401, message: 'Sign in first' }])
  const fixed = new Page(t, url, { headers: { authorization: 'wrong' } })
  fixed.open('a')
  await fixed.is('stopped')
  t.equal(fixed.refusals.length, 1)
})

t.test('headers that never come are asked for again', async (t) => {
  const { url } = await startApp(t, { retryMs: 1 })
  let asked = 0
  const page = new Page(t, url, { silenceMs: 200, headers: () => ++asked === 1 ? new Promise(() => {}) : {} })
  const seen = page.open('a')
  await until(async () => asked, (count) => count === 1)
  await until(async () => asked, (count) => count === 2)
  await seen.ready()
})

t.test('a connection on which nothing comes is left', async (t) => {
  const { app, url } = await startApp(t, { heartbeatMs: 0, retryMs: 1 })
  const page = new Page(t, url, { silenceMs: 300 })
  const seen = page.open('a')
  await seen.ready()
  await publish(app, 'a', 1)
  await until(async () => page.states.length, (length) => length >= 4)
  t.same(page.states.slice(0, 4), ['connecting', 'open', 'connecting', 'open'])
  await publish(app, 'a', 2)
  await seen.has(2)
  t.same([seen.numbers, seen.resets], [[1, 2], []])
})

t.test('a heartbeat is a sign of life', async (t) => {
  const { url } = await startApp(t, { heartbeatMs: 100 })
  const silenceMs = 60_000
  const { setTimeout } = globalThis
  t.teardown(() => { globalThis.setTimeout = setTimeout })
  let begun = 0
  globalThis.setTimeout = Object.assign((handler: () => void, ms?: number) => {
    if (ms === silenceMs) begun++
    return setTimeout(handler, ms)
  }, setTimeout)
  const page = new Page(t, url, { silenceMs })
  await page.open('a').ready()
  const before = begun
  await until(async () => begun, (now) => now >= before + 3)
  t.same(page.states, ['connecting', 'open'])
})

t.test('long ids, strange ones, and events that name no chat', async (t) => {
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
  for (const [index, id] of chats.entries()) await app.pubsub.publish(`chat:${id}`, { type: 'message', message: { n: index } })
  for (const [index, each] of seen.entries()) {
    await each.has(1)
    t.same(each.numbers, [index])
  }
  await app.pubsub.publish('chat:a/b?c&d=e', { type: 'message', message: { n: 7 } }, { ephemeral: true })
  await publish(app, 'a/b?c&d=e', 8)
  await seen[1]?.has(2)
  t.same(seen[1]?.numbers, [1, 8], 'an ephemeral one that does not say whose it is reaches nobody')
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

t.test('a chat that is closed by a handler gets nothing more of what has come already', async (t) => {
  const message = (n: number): string => `id: e-${n}-${n}\nevent: message\ndata: {"type":"message","message":{"n":${n}}}\n\n`
  const url = await startServer(t, (app) => app.get('/api/chats/a/events', async (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write(`id: e-0-0\nevent: ready\ndata: {"resumed":false}\n\n${message(1)}${message(2)}`)
    await once(reply.raw, 'close')
  }))
  const page = new Page(t, url)
  const [first, second] = [page.open('a'), page.open('a')]
  first.chat.on('message', () => { first.chat.close(); second.chat.close() })
  await first.has(1)
  await page.is('idle')
  t.same([first.numbers, second.numbers], [[1], []])
})

t.test('a refusal that is cut off by a new connection holds for none of its chats', async (t) => {
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
      reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write(`${ready('e-0-0.', 'a')}${ready('e-0-0.f-0-0', 'b')}`)
      await once(reply.raw, 'close')
    })
  })
  const page = new Page(t, url, { fetch: async (...args) => { const response = await fetch(...args); if (response.status === 403) refused(); return response } })
  const seen = page.open('a')
  await begun
  await new Promise(setImmediate)
  const other = page.open('b')
  await other.ready()
  await seen.ready()
  t.same(page.refusals, [])
})

t.test('a chat that is opened anew by a handler starts where it is told to, whatever has come for it before', async (t) => {
  const ids: unknown[] = []
  const message = (n: number): string => `id: e-${n}-${n}\nevent: message\ndata: {"type":"message","message":{"n":${n}}}\n\n`
  const url = await startServer(t, (app) => app.get('/api/chats/a/events', async (request, reply) => {
    const id = request.headers['last-event-id'] as string | undefined
    ids.push(id)
    const from = Number(id?.split('-')[1] ?? 2)
    const numbers = range(from + 1, 4)
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write(`id: e-${from}-${from}\nevent: ready\ndata: {}\n\n${numbers.map(message).join('')}`)
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

t.test('a place that can be none is told to its own chat, and holds up no other', async (t) => {
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

t.test('a server that lets its clients come back at once is asked later each time all the same', async (t) => {
  const asked: number[] = []
  const url = await startServer(t, (app) => app.get('/api/chats/a/events', async (_request, reply) => {
    asked.push(performance.now())
    return await reply.type('text/event-stream').send('retry: 0\n\n')
  }))
  const page = new Page(t, url)
  page.open('a')
  await until(async () => asked.length, (length) => length >= 9)
  page.client.close()
  t.ok((asked[8] as number) - (asked[7] as number) >= 120)
})

t.test('no time is too long to wait', async (t) => {
  let asked = 0
  const url = await startServer(t, (app) => app.get('/api/chats/:chatId/events', async (request, reply) => {
    if ((request.params as { chatId: string }).chatId === 'a') {
      asked++
      return await reply.code(503).header('retry-after', '3000000').send({})
    }
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write('id: e-0-0\nevent: ready\ndata: {}\n\n')
    await once(reply.raw, 'close')
  }))
  new Page(t, url).open('a')
  await until(async () => asked, (count) => count === 1)
  const patient = new Page(t, url, { silenceMs: Infinity })
  await patient.open('b').ready()
  t.same([asked, patient.states], [1, ['connecting', 'open']])
})

t.test('a reset that is cut off is told once it comes', async (t) => {
  let opened = 0
  const ids: unknown[] = []
  const url = await startServer(t, (app) => app.get('/api/chats/a/events', async (request, reply) => {
    ids.push(request.headers['last-event-id'])
    const ready = 'retry: 1\nid: f-7-7\nevent: ready\ndata: {"resumed":false}\n\n'
    if (opened++ === 0) return await reply.type('text/event-stream').send(`${ready}id: f-7-7\nevent: res`)
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write(`${ready}id: f-7-7\nevent: reset\ndata: {"reason":"epoch","certain":true}\n\n`)
    await once(reply.raw, 'close')
  }))
  const seen = new Page(t, url).open('a', { after: 'e-1-1' })
  await until(async () => seen.resets.length, (length) => length === 1)
  t.same(ids, ['e-1-1', 'e-1-1'])
  t.equal(seen.chat.lastEventId, 'f-7-7')
})

t.test('garbage between events does no harm', async (t) => {
  const frames = ['retry: 1\nid: e-1-1\nevent: ready\ndata: {"chatId":"a","resumed":false}', 'event: message\ndata: {no json', 'id: e-2-2\nevent: message\ndata: {"type":"message","message":{"n":1}}', '', '']
  const url = await startServer(t, (app) => app.get('/api/chats/a/events', async (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write(frames.join('\n\n'))
    await once(reply.raw, 'close')
  }))
  const page = new Page(t, url)
  const seen = page.open('a')
  await seen.has(1)
  t.same([seen.numbers, seen.chat.lastEventId], [[1], 'e-2-2'])
})

/** A server whose stream of the chats a and b, or of a alone, begins with `ready` and goes on with these frames. */
const startFrames = (t: Test, ...frames: string[]): Promise<string> => startServer(t, (app) => {
  const answer = (ready: string[]) => async (_request: unknown, reply: FastifyReply): Promise<void> => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write(`${[...ready, ...frames].join('\n\n')}\n\n`)
    await once(reply.raw, 'close')
  }
  app.get('/api/chats/a/events', answer(['id: e-0-0\nevent: ready\ndata: {}']))
  app.get('/api/chats/events', answer(['id: e-0-0.\nevent: ready\ndata: {"chatId":"a"}', 'id: e-0-0.f-0-0\nevent: ready\ndata: {"chatId":"b"}']))
})

const values = ['null', '5', '"a"', '[]', '{no json', '{}', '{"chatId":5,"code":{},"reason":{},"certain":"yes"}', '{"chatId":"other"}']

t.test('events of the stream with unexpected data throw nothing and take nothing away', async (t) => {
  const odd = ['ready', 'refused'].flatMap((event) => values.map((value) => `event: ${event}\ndata: ${value}`))
  const url = await startFrames(t, ...odd, 'id: e-0-0.f-1-1\nevent: message\ndata: {"chatId":"b","message":{"n":1}}', 'id: e-1-1.f-1-1\nevent: message\ndata: {"chatId":"a","message":{"n":1}}')
  const page = new Page(t, url)
  const seen = ['a', 'b'].map((id) => page.open(id))
  for (const each of seen) await each.has(1)
  t.same([page.refusals, page.states], [[], ['connecting', 'open']])
})

t.test('a reset with unexpected data still is a reset', async (t) => {
  const url = await startFrames(t, ...values.map((value, index) => `id: e-${index}-${index}\nevent: reset\ndata: ${value}`))
  const seen = new Page(t, url).open('a')
  await until(async () => seen.resets.length, (length) => length === values.length)
  t.same(seen.resets, values.map(() => ({ reason: 'unknown', certain: false })))
  const ofSeveral = await startFrames(t, 'id: e-0-0.f-1-1\nevent: reset\ndata: {no json', 'id: e-1-1.f-1-1\nevent: reset\ndata: {"chatId":"a","reason":"epoch","certain":true}')
  const page = new Page(t, ofSeveral)
  const [a, b] = [page.open('a'), page.open('b')]
  await until(async () => a.resets.length, (length) => length === 1)
  t.same([a.resets, b.resets], [[{ reason: 'epoch', certain: true }], [{ reason: 'unknown', certain: false }]])
})

t.test('what is no event of a chat reaches no handler, and those after it do', async (t) => {
  const frames = ['null', '5', '"a"', '[]', '{no json'].map((value, index) => `id: e-${index + 1}-1\nevent: message\ndata: ${value}`)
  const url = await startFrames(t, ...frames, 'id: e-9-1\nevent: message\ndata: {"message":{"n":9}}')
  const seen = new Page(t, url).open('a')
  await seen.has(1)
  t.same([seen.numbers, seen.resets, seen.chat.lastEventId], [[9], [], 'e-9-1'])
})

t.test('a stream that refuses each of its chats stops the client', async (t) => {
  const url = await startFrames(t, 'event: refused\ndata: {"chatId":"a","code":"RT_FORBIDDEN"}', 'event: refused\ndata: {"chatId":"b"}', 'event: refused\ndata: {"chatId":"b"}')
  const page = new Page(t, url)
  const seen = ['a', 'b'].map((id) => page.open(id))
  await page.is('stopped')
  t.match(page.refusals, [{ chatId: 'a', status: 403, code: 'RT_FORBIDDEN' }, { chatId: 'b', status: 403, code: undefined }])
  t.equal(page.refusals.length, 2)
  seen[0]?.chat.close()
  seen[1]?.chat.close()
})
