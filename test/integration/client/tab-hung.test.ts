import t from 'tap'
import { until } from '../../support/until.ts'
import { becomeBrowser, lead, locksHere, FakeTab, Tab, publish, streams, start } from './tab.ts'

// Real browsers are tested in test/browser/client.test.ts.

t.setTimeout(60_000)

t.test('a tab that slept requests the events that it missed', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  const first = new Tab(t, url)
  await first.open('a').ready()
  const window = new EventTarget()
  const page = {
    document: new EventTarget(),
    addEventListener: window.addEventListener.bind(window),
    removeEventListener: window.removeEventListener.bind(window)
  }
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

t.test('a leading tab that responds keeps the connection, even without events', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  let requests = 0
  const counted = { fetch: (async (...args) => { requests++; return await fetch(...args) }) satisfies typeof fetch }
  const [first, second] = [new Tab(t, url, counted), new Tab(t, url, { silenceMs: 200, ...counted })]
  const idle = new Tab(t, url, { silenceMs: 200, ...counted })
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

t.test('late messages of a tab that was replaced are not delivered twice', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  const leader = lead(t, url)
  const tabs = [new Tab(t, url, { silenceMs: 200 }), new Tab(t, url, { silenceMs: 100_000 })] as const
  const seen = tabs.map((tab) => tab.open('a'))
  const texts: string[] = []
  tabs[1].client.chat('a').on('bot_message', ({ text = '' }) => { texts.push(text) })
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

t.test('a tab that hung follows the tab that took over, and leads again after it', async (t) => {
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
  await until(async () => [first.client.state, second.client.state], (states) => {
    return states.every((state) => state === 'connecting')
  })
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

t.test('without history, a tab that hung reports that it may have missed events', async (t) => {
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
