import t from 'tap'
import { until } from '../../support/until.ts'
import { range } from '../../support/numbers.ts'
import { becomeBrowser, lead, locksHere, FakeTab, Tab, publish, streams, start } from './tab.ts'

// Real browsers are tested in test/browser/client.test.ts.

t.setTimeout(60_000)

t.test('the chats of a tab that died silently are dropped', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  await new Tab(t, url).open('a').ready()
  const name = `fastify-realtime ${url}/api ada`
  const locks = locksHere()
  const alive = new AbortController()
  locks.request(`${name} ghost`, alive, () => {
    return new Promise((resolve) => alive.signal.addEventListener('abort', () => resolve()))
  })
  new FakeTab(t, name, 'ghost').postMessage({ type: 'want', wanted: { b: undefined } })
  await until(async () => app.chatEvents.stats().localChats, (chats) => chats === 2)
  alive.abort()
  await until(async () => app.chatEvents.stats().localChats, (chats) => chats === 1)
})

t.test('a tab whose browser is slow to lock is not considered dead', async (t) => {
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
  await new Promise((resolve) => { one.onmessage = resolve; other.postMessage('earlier messages have arrived') })
  one.close()
  other.close()
  unlock()
  await seen.ready()
  await publish(app, 'b', 1)
  await seen.has(1)
})

t.test('without history, a tab that takes over reports that events may be missing', async (t) => {
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
  await until(async () => [tabs[1].resets.length, tabs[2].resets.length] as const, ([a, b]) => {
    return a > before[0] && b > before[1]
  })
  t.match(tabs[1].resets.at(-1), { reason: 'no-history', certain: false })
})

t.test('a tab that takes over without an open chat reports that there is none', async (t) => {
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

t.test('a tab takes over from one that hangs, and gets the events missed meanwhile', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  const leader = lead(t, url)
  const tab = new Tab(t, url, { silenceMs: 200 })
  const seen = tab.open('a')
  await leader.hears('want')
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

t.test('two tabs take over from each other without losing an event', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  const leader = lead(t, url)
  const tabs = [
    new Tab(t, url, { silenceMs: 100 }), new Tab(t, url, { silenceMs: 100 }), new Tab(t, url, { silenceMs: 100 })
  ]
  const seen = tabs.map((tab) => tab.open('a'))
  await Promise.all(seen.map((each) => each.ready()))
  for (let n = 1; n <= 5; n++) await publish(app, 'a', n)
  await Promise.all(seen.map((each) => each.has(5)))
  t.same(seen.map(({ numbers }) => numbers), tabs.map(() => range(1, 5)))
  t.ok(leader.heard.some(({ type }) => type === 'lead'))
  await streams(app, 1)
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
