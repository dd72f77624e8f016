import t from 'tap'
import type { Server } from 'node:http'
import { until } from '../../support/until.ts'
import { range } from '../../support/numbers.ts'
import { becomeBrowser, locksHere, FakeTab, Tab, publish, streams, start } from './tab.ts'

// Real browsers are tested in test/browser/client.test.ts.

t.setTimeout(60_000)

t.test('tabs share a connection, and the next tab takes over if the first one is closed', async (t) => {
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

t.test('a tab that joins late starts now, with the last events, or after an event that it has', async (t) => {
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

t.test('the connection carries the chats that any tab wants, and no others', async (t) => {
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

t.test('a tab that joins an open chat receives the same events as a new connection', async (t) => {
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

t.test('messages of any shape from other tabs throw no error and change nothing', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  const [first, second] = [new Tab(t, url), new Tab(t, url)]
  const seen = [first.open('a'), second.open('a')]
  await Promise.all(seen.map((each) => each.ready()))
  await until(async () => second.client.state, (state) => state === 'open')
  const name = `fastify-realtime ${url}/api ada`
  const stranger = new FakeTab(t, name, 'stranger')
  // Its wishes count for as long as it lives.
  const alive = new AbortController()
  t.teardown(() => alive.abort())
  locksHere().request(`${name} stranger`, alive, () => {
    return new Promise((resolve) => alive.signal.addEventListener('abort', () => resolve()))
  })
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
      stranger.postMessage({
        type: 'refused', refusal: { ...refusal, [field]: value === 5 || value === 'a' ? [] : value ?? null }
      })
    }
  }
  stranger.postMessage({ type: 'want', wanted: { '\ud800': undefined } })
  stranger.postMessage({ type: 'want', wanted: { '': undefined } })
  stranger.postMessage({ type: 'state', state: 'closed' })
  // The leading tab responds to this after all of these.
  stranger.postMessage({ type: 'want', wanted: { b: undefined } })
  await until(async () => app.chatEvents.stats().localChats, (chats) => chats === 2)
  await publish(app, 'a', 1)
  await Promise.all(seen.map((each) => each.has(1)))
  t.same(seen.map(({ numbers }) => numbers), [[1], [1]])
  t.same([...first.refusals, ...second.refusals, ...first.resets, ...second.resets], [])
})

t.test('tabs share the connections that their chats need, and continue if the first tab is closed', async (t) => {
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
