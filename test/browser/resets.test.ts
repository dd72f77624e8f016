import t, { type Test } from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import type { Browser } from 'playwright-core'
import { startApp } from '../support/app.ts'
import { launchChromium, skipWithoutChromium } from '../support/chromium.ts'
import { range } from '../support/numbers.ts'
import { ResettingProxy } from '../support/resetting-proxy.ts'
import { Random } from '../faults/random.ts'
import { clientScript } from './client-script.ts'

// Browsers that start take their time on a busy machine.
t.setTimeout(180_000)

const PAGE = `<!doctype html><title>resets</title><script>${clientScript}
  const seen = [], late = [], resets = []
  let client
  function open (chatId, after) {
    client = realtime.createRealtimeClient()
    const chat = client.chat(chatId, { after })
    chat.on('message', ({ message: { n, at } }) => { seen.push(n); late.push(Date.now() - at) })
    chat.onReset(({ reason }) => resets.push(reason))
  }
</script>`

/** The time that a client has to notice that streams do not last. */
const NOTICED_MS = 12_000
const EVERY_MS = 200

/** Follows a chat in a browser through a proxy that resets its streams. Prints how late the events are at the end. */
async function follow (t: Test, browser: Browser, name: string, lifetimeMs: () => number): Promise<string> {
  const { app, url } = await startApp(t, {}, {
    setup: (app) => app.get('/', async (_request, reply) => reply.type('text/html').send(PAGE))
  })
  const proxy = await ResettingProxy.start(t, url, lifetimeMs)
  const context = await browser.newContext({ ignoreHTTPSErrors: true })
  t.teardown(() => context.close())
  const page = await context.newPage()
  await page.goto(proxy.url)
  t.equal(await page.evaluate('performance.getEntriesByType("navigation")[0].nextHopProtocol'), 'h2')
  const { id } = await app.chatEvents.emitChatMessage(name, { n: 0, at: Date.now() })
  await page.evaluate(`open(${JSON.stringify([name, id]).slice(1, -1)})`)
  const count = 18_000 / EVERY_MS
  for (let n = 1; n <= count; n++) {
    await app.chatEvents.emitChatMessage(name, { n, at: Date.now() })
    await delay(EVERY_MS)
  }
  await page.waitForFunction(`seen.at(-1) === ${count}`)
  t.same(await page.evaluate('seen'), range(1, count))
  t.same(await page.evaluate('resets'), [])
  const late = (await page.evaluate<number[]>('late')).slice(NOTICED_MS / EVERY_MS).sort((a, b) => a - b)
  const transport = await page.evaluate<string>('client.transport')
  t.comment(`${proxy.resets} resets, p95 ${late[Math.floor(late.length * 0.95)]} ms, ${transport}`)
  return transport
}

t.test('HTTP/2 streams that a proxy resets', { skip: skipWithoutChromium, jobs: 3 }, async (t) => {
  const browser = await launchChromium(t)
  const random = new Random()
  t.comment(`SEED=${random.seed}`)
  for (const [name, lifetimeMs, polls] of [
    ['before their headers', () => 0, true],
    ['within a second', () => 1 + 1_000 * random.next(), true],
    ['after up to ten seconds', () => random.next() < 0.2 ? 0 : 10_000 * random.next(), false]
  ] as const) {
    t.test(`${name}: a browser gets each event once`, async (t) => {
      const transport = await follow(t, browser, name, lifetimeMs)
      if (polls) t.equal(transport, 'long-poll')
    })
  }
})
