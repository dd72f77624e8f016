import t from 'tap'
import { becomeBrowser, lead, locksHere, Tab, publish, streams, start } from './tab.ts'

// Real browsers are tested in test/browser/client.test.ts.

t.setTimeout(60_000)

t.test('tabs with other names, and tabs without locks, have connections of their own', async (t) => {
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

t.test('a tab that is refused the lock has a connection of its own', async (t) => {
  becomeBrowser(t)
  const { url } = await start(t)
  const locks = locksHere()
  locks.request = () => Promise.reject(new Error('no storage here'))
  const tab = new Tab(t, url)
  await tab.open('a').ready()
  t.equal(tab.client.state, 'open')
})

t.test('a tab that may not take the lock opens its own connection beside a tab that hangs', async (t) => {
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

t.test('a page without a broadcast channel has a connection of its own', async (t) => {
  becomeBrowser(t)
  const { url } = await start(t)
  const { BroadcastChannel } = globalThis
  t.teardown(() => { globalThis.BroadcastChannel = BroadcastChannel })
  globalThis.BroadcastChannel = class {
    constructor () { throw new Error('no storage here') }
  } as unknown as typeof BroadcastChannel
  const tab = new Tab(t, url)
  await tab.open('a').ready()
  t.equal(tab.client.state, 'open')
})
