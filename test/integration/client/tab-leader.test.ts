import t, { type Test } from 'tap'
import type { Server } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { createRealtimeClient, type ChatOptions, type RealtimeClient, type RealtimeClientOptions, type Refusal, type Reset } from '../../../lib/client/index.ts'
import { startApp } from '../../support/app.ts'
import { until } from '../../support/until.ts'
import { FakeLocks } from '../../support/fake-locks.ts'

// What real browsers do is tested in test/browser/client.test.ts.

t.setTimeout(60_000)

/** Makes this process a browser, as far as sharing goes, for the time of a test. */
function becomeBrowser (t: Test): void {
  const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator')
  Object.defineProperty(globalThis, 'navigator', { value: { locks: new FakeLocks() }, configurable: true })
  t.teardown(() => {
    if (before === undefined) Reflect.deleteProperty(globalThis, 'navigator')
    else Object.defineProperty(globalThis, 'navigator', before)
  })
}

/** Takes the place of the tab that leads. What is posted to the channel is what that tells the others. */
function lead (t: Test, url: string): FakeTab {
  const name = `fastify-realtime ${url}/api ada`
  const done = new AbortController()
  t.teardown(() => done.abort())
  locksHere().request(name, done, () => new Promise((resolve) => done.signal.addEventListener('abort', () => resolve()))).catch(() => {})
  return new FakeTab(t, name, 'leader')
}

const locksHere = (): FakeLocks => (globalThis as unknown as { navigator: { locks: FakeLocks } }).navigator.locks

/** A tab of which only what it writes to the others is there. */
class FakeTab {
  readonly heard: { type: string, from: string, wanted?: unknown }[] = []
  readonly #channel: InstanceType<typeof BroadcastChannel>
  readonly #name: string

  constructor (t: Test, channel: string, name: string) {
    this.#name = name
    this.#channel = new BroadcastChannel(channel)
    this.#channel.onmessage = (event: unknown) => { this.heard.push((event as { data: { type: string, from: string } }).data) }
    t.teardown(() => this.#channel.close())
  }

  postMessage (message: object): void {
    this.#channel.postMessage({ from: this.#name, ...message })
  }

  postAnything (data: unknown): void {
    this.#channel.postMessage(data)
  }

  async hears (type: string, count = 1): Promise<void> {
    await until(async () => this.heard.filter((message) => message.type === type).length, (times) => times >= count)
  }
}

class Tab {
  readonly client: RealtimeClient
  readonly refusals: Refusal[] = []
  readonly resets: Reset[] = []

  constructor (t: Test, url: string, options: RealtimeClientOptions = {}) {
    this.client = createRealtimeClient({ url: `${url}/api`, share: 'ada', ...options })
    this.client.onRefused((refusal) => { this.refusals.push(refusal) })
    t.teardown(() => this.client.close())
  }

  open (id: string, options?: ChatOptions): { numbers: number[], has: (last: number) => Promise<void>, ready: () => Promise<void>, close: () => void } {
    const chat = this.client.chat(id, options)
    const numbers: number[] = []
    chat.on('message', ({ message }) => { numbers.push((message as { n: number }).n) })
    chat.onReset((reset) => { this.resets.push(reset) })
    return {
      numbers,
      has: (last) => until(async () => numbers.at(-1), (n) => n === last),
      ready: () => until(async () => chat.lastEventId, (id) => id !== undefined),
      close: () => chat.close()
    }
  }
}

const publish = async (app: FastifyInstance, chatId: string, ...numbers: number[]): Promise<void> => {
  await Promise.all(numbers.map((n) => app.chatEvents.emitChatMessage(chatId, { n })))
}

/** How many streams are open. */
const streams = (app: FastifyInstance, count: number): Promise<void> =>
  until(() => new Promise<number>((resolve) => { (app.server as Server).getConnections((_error, connections) => resolve(connections)) }), (connections) => connections === count)

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, n) => from + n)

/** An app that closes the connections of streams that have ended, so that connections tell of streams. */
const start = (t: Test, options = {}): ReturnType<typeof startApp> => startApp(t, { retryMs: 1, ...options }, { setup: (app) => app.addHook('onRequest', async (_request, reply) => { reply.header('connection', 'close') }) })

t.test('tabs share a connection, and the next one takes over where the first is closed', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  const tabs = [new Tab(t, url), new Tab(t, url), new Tab(t, url)] as const
  const seen = tabs.map((tab) => tab.open('a'))
  const other = tabs[1].open('b')
  await Promise.all([...seen, other].map((each) => each.ready()))
  await streams(app, 1)
  let n = 0
  for (const [index, tab] of tabs.entries()) {
    for (let more = 0; more < 20; more++) {
      await publish(app, 'a', ++n)
      await publish(app, 'b', n)
      if (more === 10) {
        await seen[index]?.has(n)
        tab.client.close()
      }
    }
    if (index < 2) await seen[2]?.has(n)
    if (index < 1) await other.has(n)
  }
  t.same(seen.map(({ numbers }) => [numbers[0], numbers.length === numbers.at(-1)]), [[1, true], [1, true], [1, true]])
  t.same(seen[2]?.numbers, range(1, seen[2]?.numbers.at(-1) as number))
  t.same(other.numbers, range(1, other.numbers.at(-1) as number))
  t.ok((seen[2]?.numbers.at(-1) as number) >= 50)
  t.same(tabs.flatMap(({ resets }) => resets), [])
  t.same(tabs.map(({ client }) => client.state), ['closed', 'closed', 'closed'])
})

t.test('a tab that joins late starts now, with the last events, or after one that it has', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  const [first, second] = [new Tab(t, url), new Tab(t, url)]
  const seen = first.open('a')
  await seen.ready()
  await publish(app, 'a', 1, 2, 3, 4)
  const { id } = await app.chatEvents.emitChatMessage('a', { n: 5 })
  await publish(app, 'a', 6)
  await seen.has(6)
  const late = second.open('a')
  const rewound = second.open('a', { rewind: 3 })
  const after = second.open('a', { after: id })
  const elsewhere = second.open('b', { rewind: 3 })
  await Promise.all([rewound.has(6), after.has(6), late.ready(), elsewhere.ready()])
  await publish(app, 'a', 7)
  await Promise.all([late, rewound, after].map((each) => each.has(7)))
  t.same([late, rewound, after].map(({ numbers }) => numbers), [[7], [4, 5, 6, 7], [6, 7]])
  await streams(app, 1)
  t.equal(second.client.state, 'open')
})

t.test('the connection carries what any tab wants, and no more', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  const [first, second] = [new Tab(t, url), new Tab(t, url)]
  await first.open('a').ready()
  const b = second.open('b')
  await b.ready()
  await until(async () => app.chatEvents.stats().localChats, (chats) => chats === 2)
  b.close()
  await until(async () => app.chatEvents.stats().localChats, (chats) => chats === 1)
  await second.open('c').ready()
  await until(async () => app.chatEvents.stats().localChats, (chats) => chats === 2)
  second.client.close()
  await until(async () => app.chatEvents.stats().localChats, (chats) => chats === 1)
})

t.test('what a tab wanted that has died without a word is dropped', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  await new Tab(t, url).open('a').ready()
  const name = `fastify-realtime ${url}/api ada`
  const locks = locksHere()
  const alive = new AbortController()
  locks.request(`${name} ghost`, alive, () => new Promise((resolve) => alive.signal.addEventListener('abort', () => resolve())))
  new FakeTab(t, name, 'ghost').postMessage({ type: 'want', wanted: { b: undefined } })
  await until(async () => app.chatEvents.stats().localChats, (chats) => chats === 2)
  alive.abort()
  await until(async () => app.chatEvents.stats().localChats, (chats) => chats === 1)
})

t.test('a tab whose browser is slow to lock is not taken for one that has died', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  await new Tab(t, url).open('a').ready()
  const locks = locksHere()
  const request = locks.request.bind(locks)
  let unlock = (): void => {}
  const slow = new Promise<void>((resolve) => { unlock = resolve })
  locks.request = async (...args) => {
    locks.request = request
    await slow
    await request(...args)
  }
  const seen = new Tab(t, url).open('b')
  const [one, other] = [new BroadcastChannel('turn'), new BroadcastChannel('turn')]
  await new Promise((resolve) => { one.onmessage = resolve; other.postMessage('what was told before has come') })
  one.close()
  other.close()
  unlock()
  await seen.ready()
  await publish(app, 'b', 1)
  await seen.has(1)
})

t.test('drops and resets reach all tabs', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t, { history: { size: 3 } })
  const tabs = [new Tab(t, url), new Tab(t, url)]
  const seen = tabs.map((tab) => tab.open('a'))
  await Promise.all(seen.map((each) => each.ready()))
  await publish(app, 'a', 1)
  ;(app.server as Server).closeAllConnections()
  await publish(app, 'a', 2)
  await Promise.all(seen.map((each) => each.has(2)))
  await app.chatEvents.emitChatMessage('a', { n: 3 })
  app.chatEvents.emit('a', { type: 'bot_action', action: {} })
  await Promise.all(seen.map((each) => each.has(3)))
  t.same(seen.map(({ numbers }) => numbers), [[1, 2, 3], [1, 2, 3]])
  const late = new Tab(t, url)
  const trimmed = late.open('a', { after: 'e-1-1' })
  await until(async () => late.resets.length, (length) => length === 1)
  t.match(late.resets, [{ reason: 'epoch' }])
  await publish(app, 'a', 4)
  await trimmed.has(4)
  t.same(trimmed.numbers, [4])
})

t.test('a refusal is told in each tab, and each may ask again', async (t) => {
  becomeBrowser(t)
  let allowed = false
  const { url } = await start(t, { authorize: (_request: unknown, chatId: string) => chatId === 'a' || allowed })
  const [first, second] = [new Tab(t, url), new Tab(t, url)]
  await first.open('a').ready()
  const secret = second.open('secret')
  await until(async () => second.refusals.length, (length) => length === 1)
  t.match([first.refusals, second.refusals], [[{ chatId: 'secret' }], [{ status: 403, chatId: 'secret' }]])
  second.open('a')
  allowed = true
  second.client.reconnect()
  await secret.ready()
  const own = second.open('a', { rewind: 1 })
  await own.ready()
})

t.test('tabs of other names, and where a browser has no locks, have connections of their own', async (t) => {
  const { app, url } = await start(t)
  const alone = [new Tab(t, url), new Tab(t, url)]
  for (const tab of alone) await tab.open('a').ready()
  await streams(app, 2)
  becomeBrowser(t)
  const apart = [new Tab(t, url), new Tab(t, url, { share: 'bob' }), new Tab(t, url, { share: undefined })]
  for (const tab of apart) await tab.open('a').ready()
  await streams(app, 5)
  for (const tab of [...alone, ...apart]) {
    const seen = tab.open('b')
    await seen.ready()
  }
})

t.test('a tab that is told what it can\'t follow reads what is between by itself, and hands on nothing that it has', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  const leader = lead(t, url)
  const tell = (n: number, id: string | undefined, previous?: string): void =>
    leader.postMessage({ type: 'event', delivery: { chatId: 'a', event: 'message', id, previous, data: { type: 'message', chatId: 'a', message: { n } } } })
  const ids: string[] = []
  for (let n = 0; n <= 6; n++) ids.push((await app.chatEvents.emitChatMessage('a', { n })).id as string)

  const tab = new Tab(t, url)
  const seen = tab.open('a')
  const rewound = tab.open('a', { rewind: 3 })
  tell(1, ids[1], ids[0])
  tell(99, undefined)
  leader.postMessage({ type: 'event', delivery: { chatId: 'a', event: 'ready', id: ids[2], previous: ids[2] } })
  tell(3, ids[3], ids[2])
  await seen.has(3)
  tell(2, ids[2], ids[1])
  tell(3, ids[3], ids[2])
  tell(6, ids[6], ids[5])
  await Promise.all([seen.has(6), rewound.has(6)])
  t.same([seen.numbers, rewound.numbers], [[3, 4, 5, 6], [4, 5, 6]])
  leader.postMessage({ type: 'event', delivery: { chatId: 'a', event: 'reset', id: 'e-0-0', data: { reason: 'epoch', certain: true } } })
  tell(1, 'e-1-1', 'e-0-0')
  await Promise.all([seen.has(1), rewound.has(1)])
  t.same(tab.resets, [{ reason: 'epoch', certain: true }, { reason: 'epoch', certain: true }])
})

t.test('a tab that is told more than it can hold before it can follow reads it by itself', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t, { history: { size: 2_000 } })
  const leader = lead(t, url)
  const ids: string[] = []
  for (let n = 0; n <= 1_200; n++) ids.push((await app.chatEvents.emitChatMessage('a', { n })).id as string)
  let release = (): void => {}
  const released = new Promise<void>((resolve) => { release = resolve })
  const tab = new Tab(t, url, { fetch: async (...args) => { await released; return await fetch(...args) } })
  const seen = tab.open('a', { after: ids[0] as string })
  for (let n = 2; n <= 1_200; n++) {
    leader.postMessage({ type: 'event', delivery: { chatId: 'a', event: 'message', id: ids[n], previous: ids[n - 1], data: { type: 'message', chatId: 'a', message: { n } } } })
  }
  leader.postMessage({ type: 'state', state: 'open' })
  await until(async () => tab.client.state, (state) => state === 'open')
  release()
  await seen.has(1_200)
  t.same(seen.numbers, range(1, 1_200))
})

t.test('what a tab is refused while it catches up by itself is told', async (t) => {
  becomeBrowser(t)
  const { url } = await start(t, { authorize: ({ headers }: FastifyRequest) => headers['x-tab'] === 'first' })
  const [first, second] = [new Tab(t, url, { headers: { 'x-tab': 'first' } }), new Tab(t, url)]
  await first.open('a').ready()
  second.open('a', { rewind: 2 })
  await until(async () => second.refusals.length, (length) => length === 1)
  t.match(second.refusals, [{ status: 403, chatId: 'a' }])
  t.same(first.refusals, [])
})

t.test('a tab that was refused what it reads by itself reads it once it may', async (t) => {
  becomeBrowser(t)
  let token = 'none'
  const { app, url } = await start(t, { authorize: ({ headers }: FastifyRequest) => headers['x-tab'] === 'ok' })
  await publish(app, 'a', 1, 2, 3)
  const [first, second] = [new Tab(t, url, { headers: { 'x-tab': 'ok' } }), new Tab(t, url, { headers: () => ({ 'x-tab': token }) })]
  await first.open('a').ready()
  const seen = second.open('a', { rewind: 2 })
  await until(async () => second.refusals.length, (length) => length === 1)
  await publish(app, 'a', 4)
  token = 'ok'
  second.client.reconnect()
  await seen.has(4)
  t.same(seen.numbers, [3, 4], 'the last two, once it may')
})

t.test('what one tab was refused, and has been granted since, goes on in the tab that takes over', async (t) => {
  becomeBrowser(t)
  let allowed = false
  const { app, url } = await start(t, { authorize: (_request: unknown, chatId: string) => chatId === 'a' || allowed })
  const [first, second] = [new Tab(t, url), new Tab(t, url)]
  await first.open('a').ready()
  const secret = second.open('secret')
  await until(async () => second.refusals.length, (length) => length === 1)
  allowed = true
  first.client.reconnect()
  await first.open('secret').ready()
  await secret.ready()
  first.client.close()
  await publish(app, 'secret', 1)
  await secret.has(1)
})

t.test('a tab that takes over tells what may have been missed where there is no history', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t, { history: false })
  const tabs = [new Tab(t, url), new Tab(t, url), new Tab(t, url)] as const
  tabs[0].open('a')
  await until(async () => tabs[0].client.state, (state) => state === 'open')
  const seen = tabs[1].open('a')
  const other = tabs[2].open('b')
  await until(async () => app.chatEvents.stats().localChats, (chats) => chats === 2)
  await until(async () => tabs[2].client.state, (state) => state === 'open')
  await publish(app, 'a', 1)
  await publish(app, 'b', 1)
  await Promise.all([seen, other].map((each) => each.has(1)))
  const before = [tabs[1].resets.length, tabs[2].resets.length] as const
  tabs[0].client.close()
  await until(async () => [tabs[1].resets.length, tabs[2].resets.length] as const, ([a, b]) => a > before[0] && b > before[1])
  t.match(tabs[1].resets.at(-1), { reason: 'no-history', certain: false })
})

t.test('a tab that takes over where no chat is open says that none is', async (t) => {
  becomeBrowser(t)
  const { url } = await start(t)
  const [first, second] = [new Tab(t, url), new Tab(t, url)]
  await first.open('a').ready()
  const chat = second.open('a')
  await chat.ready()
  chat.close()
  // The one that leads has opened its connection anew for this chat.
  await until(async () => second.client.state, (state) => state === 'open')
  first.client.close()
  await until(async () => second.client.state, (state) => state === 'idle')
})

t.test('a tab that is refused the lock has a connection of its own', async (t) => {
  becomeBrowser(t)
  const { url } = await start(t)
  const locks = locksHere()
  locks.request = () => Promise.reject(new Error('no storage here'))
  const tab = new Tab(t, url)
  await tab.open('a').ready()
  t.equal(tab.client.state, 'open')
})

t.test('a tab that has slept asks for what it was not told', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  const first = new Tab(t, url)
  await first.open('a').ready()
  const window = new EventTarget()
  const page = { document: new EventTarget(), addEventListener: window.addEventListener.bind(window), removeEventListener: window.removeEventListener.bind(window) }
  Object.assign(globalThis, page)
  t.teardown(() => { for (const name of Object.keys(page)) Reflect.deleteProperty(globalThis, name) })
  const second = new Tab(t, url)
  const seen = second.open('a')
  await seen.ready()
  const { postMessage } = BroadcastChannel.prototype
  t.teardown(() => { BroadcastChannel.prototype.postMessage = postMessage })
  let lost = 0
  BroadcastChannel.prototype.postMessage = () => { lost++ }
  await publish(app, 'a', 1)
  await until(async () => lost, (count) => count > 0)
  BroadcastChannel.prototype.postMessage = postMessage
  window.dispatchEvent(new Event('pageshow'))
  await seen.has(1)
})

t.test('who joins a chat that is open already gets what its server tells to a connection that opens', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  const [first, second] = [new Tab(t, url), new Tab(t, url)]
  const seen = first.open('a')
  await seen.ready()
  const botMessage = await app.chatEvents.startBotMessage('a', { id: 'answer' })
  await botMessage.append('Once upon a time')
  for (const join of [() => first.client.chat('a'), () => second.client.chat('a'), () => second.client.chat('a')]) {
    const texts: string[] = []
    join().on('bot_message', ({ at, text }) => { texts.push(`${at}:${text}`) })
    await until(async () => texts.at(-1), (text) => text === '0:Once upon a time')
  }
  await streams(app, 1)
  await botMessage.finish()
  await publish(app, 'a', 1)
  await seen.has(1)
  t.same(first.resets, [])
})

t.test('messages of any shape from other tabs throw nothing and change nothing', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  const [first, second] = [new Tab(t, url), new Tab(t, url)]
  const seen = [first.open('a'), second.open('a')]
  await Promise.all(seen.map((each) => each.ready()))
  await until(async () => second.client.state, (state) => state === 'open')
  const name = `fastify-realtime ${url}/api ada`
  const stranger = new FakeTab(t, name, 'stranger')
  // As long as it lives, what it wants counts.
  const alive = new AbortController()
  t.teardown(() => alive.abort())
  locksHere().request(`${name} stranger`, alive, () => new Promise((resolve) => alive.signal.addEventListener('abort', () => resolve())))
  const odd: unknown[] = [null, undefined, 5, 'a', [], {}, new Date(), new Map()]
  for (const data of [...odd, { type: 'lead' }, { from: 'x' }, { from: 5, type: 'lead' }]) stranger.postAnything(data)
  for (const type of ['lead2', 'toString', '__proto__', null, {}]) stranger.postMessage({ type })
  for (const value of odd) {
    stranger.postMessage({ type: 'want', wanted: value })
    stranger.postMessage({ type: 'want', wanted: { a: undefined }, joined: value ?? 1 })
    stranger.postMessage({ type: 'want', wanted: { a: value ?? null } })
    stranger.postMessage({ type: 'event', delivery: value })
    stranger.postMessage({ type: 'state', state: value })
    stranger.postMessage({ type: 'refused', refusal: value })
    const fields = { chatId: 'a', event: 'message', id: 'e-1-1', previous: 'e-0-0', data: { message: { n: 0 } } }
    for (const field of Object.keys(fields)) {
      stranger.postMessage({ type: 'event', delivery: { ...fields, [field]: value === 'a' ? 7 : value ?? null } })
    }
    const refusal = { message: 'No', status: 403, code: 'RT_FORBIDDEN', chatId: 'a' }
    for (const field of Object.keys(refusal)) {
      stranger.postMessage({ type: 'refused', refusal: { ...refusal, [field]: value === 5 || value === 'a' ? [] : value ?? null } })
    }
  }
  stranger.postMessage({ type: 'want', wanted: { '\ud800': undefined } })
  stranger.postMessage({ type: 'want', wanted: { '': undefined } })
  stranger.postMessage({ type: 'state', state: 'closed' })
  // Answered by the leading tab, after all of these.
  stranger.postMessage({ type: 'want', wanted: { b: undefined } })
  await until(async () => app.chatEvents.stats().localChats, (chats) => chats === 2)
  await publish(app, 'a', 1)
  await Promise.all(seen.map((each) => each.has(1)))
  t.same(seen.map(({ numbers }) => numbers), [[1], [1]])
  t.same([...first.refusals, ...second.refusals, ...first.resets, ...second.resets], [])
})

t.test('a tab takes over from one that holds the connection and does not answer, and gets what was missed', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  const leader = lead(t, url)
  const tab = new Tab(t, url, { silenceMs: 200 })
  const seen = tab.open('a')
  const ids: string[] = []
  for (const n of [0, 1]) ids.push((await app.chatEvents.emitChatMessage('a', { n })).id as string)
  leader.postMessage({ type: 'state', state: 'open' })
  leader.postMessage({ type: 'event', delivery: { chatId: 'a', event: 'ready', id: ids[0], previous: ids[0] } })
  await seen.ready()
  t.equal(tab.client.state, 'open')
  const asked = leader.heard.filter(({ type }) => type === 'want').length
  await seen.has(1)
  t.ok(leader.heard.filter(({ type }) => type === 'want').length >= asked + 2, 'it was asked twice before')
  await publish(app, 'a', 2, 3)
  await seen.has(3)
  t.same([seen.numbers, tab.resets], [[1, 2, 3], []])
  await streams(app, 1)
})

t.test('a tab that leads and answers keeps the connection, however little there is to say', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  let requests = 0
  const counted = { fetch: (async (...args) => { requests++; return await fetch(...args) }) satisfies typeof fetch }
  const [first, second] = [new Tab(t, url, counted), new Tab(t, url, { silenceMs: 40, ...counted })]
  const idle = new Tab(t, url, { silenceMs: 40, ...counted })
  await first.open('a').ready()
  const seen = second.open('a')
  await seen.ready()
  const before = requests
  const stranger = new FakeTab(t, `fastify-realtime ${url}/api ada`, 'stranger')
  await stranger.hears('want', 20)
  t.equal(requests, before)
  t.same(stranger.heard.filter(({ type }) => type === 'lead'), [])
  t.equal(idle.client.state, 'open')
  await publish(app, 'a', 1)
  await seen.has(1)
})

t.test('what a tab writes late, after another one has taken over, reaches nobody twice', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  const leader = lead(t, url)
  const tabs = [new Tab(t, url, { silenceMs: 200 }), new Tab(t, url, { silenceMs: 100_000 })] as const
  const seen = tabs.map((tab) => tab.open('a'))
  const texts: string[] = []
  tabs[1].client.chat('a').on('bot_message', ({ text }) => { texts.push(text) })
  leader.postMessage({ type: 'state', state: 'open' })
  await Promise.all(seen.map((each) => each.ready()))
  await publish(app, 'a', 1)
  await Promise.all(seen.map((each) => each.has(1)))
  leader.postMessage({ type: 'state', state: 'offline' })
  leader.postMessage({ type: 'event', delivery: { chatId: 'a', event: 'bot_message', data: { text: 'late' } } })
  leader.postMessage({ type: 'event', delivery: { chatId: 'a', event: 'ready' } })
  leader.postMessage({ type: 'reconnect' })
  await publish(app, 'a', 2)
  await Promise.all(seen.map((each) => each.has(2)))
  t.same([texts, tabs.map(({ client }) => client.state)], [[], ['open', 'open']])
})

t.test('a tab that has hung follows the one that took over, and leads again after it', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  const first = new Tab(t, url)
  const seen = [first.open('a')]
  await seen[0]?.ready()
  const second = new Tab(t, url)
  seen.push(second.open('a'))
  await seen[1]?.ready()
  const name = `fastify-realtime ${url}/api ada`
  const leader = new FakeTab(t, name, 'third')
  let release = (): void => {}
  const stolen = locksHere().request(name, { steal: true }, () => new Promise((resolve) => { release = resolve }))
  leader.postMessage({ type: 'lead' })
  await leader.hears('want', 2)
  await streams(app, 0)
  leader.postMessage({ type: 'state', state: 'connecting' })
  await until(async () => [first.client.state, second.client.state], (states) => states.every((state) => state === 'connecting'))
  await publish(app, 'a', 1)
  release()
  await stolen
  await Promise.all(seen.map((each) => each.has(1)))
  second.client.close()
  await publish(app, 'a', 2)
  await seen[0]?.has(2)
  t.same(seen.map(({ numbers }) => numbers), [[1, 2], [1]])
  t.same([...first.resets, ...second.resets], [])
})

t.test('a tab that has hung says what it may have missed where there is no history', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t, { history: false })
  const tab = new Tab(t, url)
  tab.open('a')
  await until(async () => tab.client.state, (state) => state === 'open')
  t.same(tab.resets, [])
  locksHere().request(`fastify-realtime ${url}/api ada`, { steal: true }, () => new Promise(() => {})).catch(() => {})
  await until(async () => tab.resets.length, (length) => length === 1)
  t.same(tab.resets, [{ reason: 'no-history', certain: false }])
  await streams(app, 0)
})

t.test('two tabs take over from each other without losing an event', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  const leader = lead(t, url)
  const tabs = [new Tab(t, url, { silenceMs: 100 }), new Tab(t, url, { silenceMs: 100 }), new Tab(t, url, { silenceMs: 100 })]
  const seen = tabs.map((tab) => tab.open('a'))
  await Promise.all(seen.map((each) => each.ready()))
  for (let n = 1; n <= 5; n++) await publish(app, 'a', n)
  await Promise.all(seen.map((each) => each.has(5)))
  t.same(seen.map(({ numbers }) => numbers), tabs.map(() => range(1, 5)))
  t.ok(leader.heard.some(({ type }) => type === 'lead'))
  await streams(app, 1)
})

t.test('a tab that may not take the lock has a connection of its own beside one that hangs', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  lead(t, url)
  const locks = locksHere()
  const { request } = locks
  locks.request = async (name, options, granted) => {
    if (options.steal === true) throw new Error('not here')
    await request.call(locks, name, options, granted)
  }
  const tab = new Tab(t, url, { silenceMs: 100 })
  const seen = tab.open('a')
  await seen.ready()
  await publish(app, 'a', 1)
  await seen.has(1)
  t.equal(tab.client.state, 'open')
})

t.test('a page whose browser has no channel for it has a connection of its own', async (t) => {
  becomeBrowser(t)
  const { url } = await start(t)
  const { BroadcastChannel } = globalThis
  t.teardown(() => { globalThis.BroadcastChannel = BroadcastChannel })
  globalThis.BroadcastChannel = class { constructor () { throw new Error('no storage here') } } as unknown as typeof BroadcastChannel
  const tab = new Tab(t, url)
  await tab.open('a').ready()
  t.equal(tab.client.state, 'open')
})

t.test('tabs share the connections that their chats need, and go on when the first is closed', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t, { maxChatsPerStream: 2 })
  const tabs = [new Tab(t, url), new Tab(t, url)] as const
  const ids = ['a', 'b', 'c']
  const seen = [...ids.map((id) => tabs[0].open(id)), ...[...ids, 'd', 'e'].map((id) => tabs[1].open(id))]
  await Promise.all(seen.map((each) => each.ready()))
  await streams(app, 3)
  for (const id of [...ids, 'd', 'e']) await publish(app, id, 1)
  await Promise.all(seen.map((each) => each.has(1)))
  tabs[0].client.close()
  for (const id of [...ids, 'd', 'e']) await publish(app, id, 2)
  await Promise.all(seen.slice(3).map((each) => each.has(2)))
  t.same(seen.map(({ numbers }) => numbers), [[1], [1], [1], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2]])
  t.same([...tabs[0].refusals, ...tabs[1].refusals], [])
})

t.test('a tab that is closed while it takes over does not keep the lock from the next one', async (t) => {
  becomeBrowser(t)
  const { url } = await start(t)
  lead(t, url)
  const locks = locksHere()
  const { request } = locks
  let taken = Promise.resolve()
  const closing = new Tab(t, url, { silenceMs: 100 })
  locks.request = (name, options, granted) => {
    if (options.steal === true) closing.client.close()
    taken = request.call(locks, name, options, granted)
    return taken
  }
  closing.open('a')
  await until(async () => closing.client.state, (state) => state === 'closed')
  await taken
  await new Tab(t, url).open('a').ready()
})
