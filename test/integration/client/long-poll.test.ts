import t, { type Test } from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { startApp } from '../../support/app.ts'
import { BufferingProxy, type Manner } from '../../support/buffering-proxy.ts'
import { range } from '../../support/numbers.ts'
import { until } from '../../support/until.ts'
import { Page, publish } from './page.ts'

t.setTimeout(60_000)

/** The time that a client has to notice that streams are held back. */
const NOTICED_MS = 12_000

/**
 * Follows a chat through a proxy while events are published, from `firstMs` after the request on. Prints how late they
 * are once the client has noticed.
 */
async function follow (t: Test, manner: Manner, everyMs: number, firstMs: number): Promise<Page> {
  const { app, url } = await startApp(t)
  const proxy = await BufferingProxy.start(t, url, manner)
  // The apps of a process share their chats.
  const chatId = `${manner} ${everyMs}`
  const [first] = await publish(app, chatId, 0)
  const page = new Page(t, proxy.url)
  const seen = page.open(chatId, { after: first })
  const publishedAt: number[] = []
  const latencies: number[] = []
  seen.chat.on('message', ({ message }) => {
    const { n } = message as { n: number }
    if (n * everyMs > NOTICED_MS) latencies.push(performance.now() - (publishedAt[n] as number))
  })
  const count = Math.ceil(18_000 / everyMs)
  await until(async () => proxy.accepted.length, (length) => length > 0)
  await delay(firstMs)
  for (let n = 1; n <= count; n++) {
    publishedAt[n] = performance.now()
    await publish(app, chatId, n)
    await delay(everyMs)
  }
  await seen.has(count)
  t.same([seen.numbers, seen.resets], [range(1, count), []])
  const sorted = latencies.sort((a, b) => a - b)
  t.comment(`${manner}, an event every ${everyMs} ms: p95 ${sorted[Math.floor(sorted.length * 0.95)]?.toFixed()} ms`)
  return page
}

// They wait at the same time.
t.test('behind a proxy that holds streams back', { jobs: 8 }, async (t) => {
  for (const [manner, everyMs, firstMs, polls] of [
    ['hold all', 200, 0, true], ['hold all', 4_000, 0, true],
    ['hold last', 4_000, 4_000, true], ['hold last', 1_200, 2_000, true], ['hold last', 5_000, 200, true],
    ['hold last', 100, 0, false],
    ['cut', 200, 0, false], ['pass', 200, 0, false]
  ] as const) {
    t.test(`behind a proxy that does "${manner}", each event every ${everyMs} ms arrives once`, async (t) => {
      const page = await follow(t, manner, everyMs, firstMs)
      // A busy machine can seem to hold back what it does not.
      if (polls) t.equal(page.client.transport, 'long-poll')
      await page.is('open')
    })
  }
})

t.test('the client goes back to the stream once nothing holds it back', async (t) => {
  const { app, url } = await startApp(t, { maxConnectionsPerClient: 3 })
  const proxy = await BufferingProxy.start(t, url, 'hold all')
  const page = new Page(t, proxy.url)
  const seen = [page.open('a')]
  await until(async () => proxy.accepted.length, (length) => length === 1)
  // Replaces the first stream.
  seen.push(page.open('b'))
  await until(async () => page.client.transport, (transport) => transport === 'long-poll')
  for (const each of seen) await each.ready()
  await publish(app, 'a', 1)
  await seen[0]?.has(1)
  const { now } = Date
  t.teardown(() => { Date.now = now })
  for (const manner of ['hold all', 'hold last', 'pass'] as const) {
    proxy.manner = manner
    const before = proxy.accepted.length
    const skipped = Date.now() - now() + 301_000
    Date.now = () => now() + skipped
    await publish(app, 'b', before)
    // The stream is tried while polls go on.
    await until(async () => proxy.accepted.slice(before), (accepted) => accepted.includes('text/event-stream'))
    if (manner === 'pass') await until(async () => page.client.transport, (transport) => transport === 'stream')
    else t.equal(page.client.transport, 'long-poll')
  }
  await publish(app, 'a', 2)
  await seen[0]?.has(2)
  t.same(seen.map(({ resets }) => resets), [[], []])
  t.same(seen[0]?.numbers, [1, 2])
})
