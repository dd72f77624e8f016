import t, { type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import type { Server } from 'node:http'
import { createRealtimeClient, type RealtimeClientOptions } from '../../../lib/client/index.ts'
import { startApp } from '../../support/app.ts'
import { until } from '../../support/until.ts'
import { fetchStreams } from '../../support/fetch-streams.ts'

// Real browsers are tested in test/browser/client.test.ts.

/** A page, as far as its events go. */
function becomePage (t: Test): { document: EventTarget & { hidden: boolean }, window: EventTarget } {
  const window = new EventTarget()
  const document = Object.assign(new EventTarget(), { hidden: false })
  const page = {
    document,
    addEventListener: window.addEventListener.bind(window),
    removeEventListener: window.removeEventListener.bind(window)
  }
  Object.assign(globalThis, page)
  t.teardown(() => { for (const name of Object.keys(page)) Reflect.deleteProperty(globalThis, name) })
  return { document, window }
}

async function start (
  t: Test, { retryMs = 100_000, ...options } = {} as { retryMs?: number } & RealtimeClientOptions
): Promise<{ app: FastifyInstance, states: string[], client: ReturnType<typeof createRealtimeClient> }> {
  const { app, url } = await startApp(t, { retryMs, heartbeatMs: 0 })
  const client = createRealtimeClient({ url: `${url}/api`, fetch: fetchStreams, ...options })
  t.teardown(() => client.close())
  const states: string[] = []
  client.onState((state) => { states.push(state) })
  client.chat('a')
  await until(async () => client.state, (state) => state === 'open')
  return { app, states, client }
}

const is = (client: { state: string }, wanted: string): Promise<void> => {
  return until(async () => client.state, (state) => state === wanted)
}

t.test('a device that comes online or wakes up reconnects at once instead of waiting', async (t) => {
  const { window, document } = becomePage(t)
  const { app, client } = await start(t)
  for (const wake of [
    () => window.dispatchEvent(new Event('online')),
    () => window.dispatchEvent(new Event('pageshow')),
    () => document.dispatchEvent(new Event('visibilitychange'))
  ]) {
    (app.server as Server).closeAllConnections()
    await is(client, 'connecting')
    document.hidden = true
    document.dispatchEvent(new Event('visibilitychange'))
    t.equal(client.state, 'connecting')
    document.hidden = false
    wake()
    await is(client, 'open')
  }
})

t.test('a device that is offline reports it until it is online', async (t) => {
  const { window } = becomePage(t)
  const accepted: (string | null)[] = []
  const { states, client } = await start(t, {
    fetch: async (url, init) => {
      accepted.push(new Headers(init?.headers).get('accept'))
      return await fetch(url, init)
    }
  })
  window.dispatchEvent(new Event('offline'))
  t.equal(client.state, 'offline')
  window.dispatchEvent(new Event('online'))
  await is(client, 'open')
  t.same(states, ['connecting', 'open', 'offline', 'connecting', 'open'])
  t.same(accepted, ['text/event-stream', 'text/event-stream'], 'a stream that ends because of it is no reason to poll')
  client.close()
  window.dispatchEvent(new Event('offline'))
  t.equal(client.state, 'closed')
  const idle = createRealtimeClient()
  window.dispatchEvent(new Event('offline'))
  t.equal(idle.state, 'idle')
  idle.close()
})

t.test('a device that only believes to be offline reconnects all the same', async (t) => {
  const { window } = becomePage(t)
  const { states, client } = await start(t, { retryMs: 30 })
  window.dispatchEvent(new Event('offline'))
  await is(client, 'open')
  t.same(states, ['connecting', 'open', 'offline', 'open'])
})

t.test('a connection that was silent for long while the device slept is replaced after waking up', async (t) => {
  const { window } = becomePage(t)
  const { states, client } = await start(t, { silenceMs: 60_000 })
  window.dispatchEvent(new Event('pageshow'))
  const { now } = Date
  t.teardown(() => { Date.now = now })
  t.same(states, ['connecting', 'open'], 'data has just arrived')
  Date.now = () => now() + 31_000
  window.dispatchEvent(new Event('pageshow'))
  await until(async () => states.length, (length) => length === 4)
  t.same(states, ['connecting', 'open', 'connecting', 'open'])
  t.equal(client.state, 'open')
})

t.test('a check of a working connection does not shorten the wait before a later reconnect', async (t) => {
  const { document } = becomePage(t)
  const { app, states, client } = await start(t, { retryMs: 400 })
  document.dispatchEvent(new Event('visibilitychange'))
  const dropped = performance.now()
  ;(app.server as Server).closeAllConnections()
  await is(client, 'connecting')
  await is(client, 'open')
  t.ok(performance.now() - dropped >= 390)
  t.same(states, ['connecting', 'open', 'connecting', 'open'])
})
