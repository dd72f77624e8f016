import t, { type Test } from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { Agent, fetch as fetchWith } from 'undici'
import { startApp } from '../../support/app.ts'
import { range } from '../../support/numbers.ts'
import { ResettingProxy } from '../../support/resetting-proxy.ts'
import { Random } from '../../faults/random.ts'
import { Page } from './page.ts'

t.setTimeout(120_000)

/** The time that a client has to notice that streams do not last. */
const NOTICED_MS = 12_000
const EVERY_MS = 200
const COUNT = 18_000 / EVERY_MS

/** Follows a chat through a proxy that resets its streams. Prints how late the events are at the end. */
async function follow (t: Test, name: string, lifetimeMs: () => number): Promise<Page> {
  const { app, url } = await startApp(t)
  const proxy = await ResettingProxy.start(t, url, lifetimeMs)
  const dispatcher = new Agent({ allowH2: true, connect: { rejectUnauthorized: false } })
  t.teardown(() => dispatcher.destroy())
  const page = new Page(t, proxy.url, {
    fetch: (url, init) => fetchWith(url as string, { ...init, dispatcher } as object) as unknown as Promise<Response>
  })
  const publish = (n: number): Promise<{ id?: string }> =>
    app.chatEvents.emitChatMessage(name, { n, at: performance.now() })
  const { id } = await publish(0)
  const seen = page.open(name, { after: id })
  const late: number[] = []
  seen.chat.on('message', ({ message }) => { late.push(performance.now() - (message as { at: number }).at) })
  for (let n = 1; n <= COUNT; n++) {
    await publish(n)
    await delay(EVERY_MS)
  }
  await seen.has(COUNT)
  t.same([seen.numbers, seen.resets], [range(1, COUNT), []])
  const sorted = late.slice(NOTICED_MS / EVERY_MS).sort((a, b) => a - b)
  const p95 = sorted[Math.floor(sorted.length * 0.95)]
  t.comment(`${proxy.resets} resets, p95 ${p95?.toFixed()} ms, ${page.client.transport}`)
  return page
}

// They wait at the same time.
t.test('where a proxy resets HTTP/2 streams, each event arrives once', { jobs: 6 }, async (t) => {
  const random = new Random()
  t.comment(`SEED=${random.seed}`)
  for (const [name, lifetimeMs, polls] of [
    ['before their headers', () => 0, true],
    ['within a second', () => 1 + 1_000 * random.next(), true],
    ['after a second', () => 1_000, true],
    ['after five seconds', () => 5_000, false],
    ['after six seconds', () => 6_000, false],
    ['after up to ten seconds', () => random.next() < 0.2 ? 0 : 10_000 * random.next(), false]
  ] as const) {
    t.test(name, async (t) => {
      const page = await follow(t, name, lifetimeMs)
      if (polls) t.equal(page.client.transport, 'long-poll')
    })
  }
})
