import t, { type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import type { BrowserContext, Page } from 'playwright-core'
import type { RealtimeOptions } from '../../lib/index.ts'
import { startApp } from '../support/app.ts'
import { launchChromium, skipWithoutChromium } from '../support/chromium.ts'
import { LoadBalancer } from '../support/load-balancer.ts'
import { RedisServer } from '../support/redis-server.ts'
import { until } from '../support/until.ts'
import { clientScript } from './client-script.ts'

// Browsers that start take their time on a busy machine.
t.setTimeout(180_000)

/** What a test asks in the page. `open` makes a client and keeps the events that it receives. */
const PAGE = `<!doctype html><title>client</title><script>${clientScript}
  const chats = {}, states = [], resets = [], refusals = []
  let client
  function open (options, ids, chatOptions) {
    client = realtime.createRealtimeClient(options)
    client.onState((state) => states.push(state))
    client.onRefused((refusal) => refusals.push(refusal))
    for (const id of ids) {
      const seen = chats[id] = { numbers: [], chat: client.chat(id, chatOptions) }
      seen.chat.on('message', ({ message }) => seen.numbers.push(message.n))
      seen.chat.onReset(({ reason }) => { resets.push(reason); document.title = reason })
    }
  }
</script>`

/** Whether the instances are to answer streams with 503. */
const trouble = { on: false, seen: 0 }

async function start (t: Test, options: RealtimeOptions): Promise<{ app: FastifyInstance, url: string }> {
  return await startApp(t, { retryMs: 50, ...options }, {
    setup: (app) => {
      app.get('/', async (_request, reply) => reply.type('text/html').send(PAGE))
      app.addHook('onRequest', async (request, reply) => {
        if (!trouble.on || !request.url.includes('/events')) return
        trouble.seen++
        return await reply.code(503).send({})
      })
    }
  })
}

const publish = async (app: FastifyInstance, n: number, ...chats: string[]): Promise<void> => {
  await Promise.all(chats.map((chatId) => app.chatEvents.emitChatMessage(chatId, { n })))
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, n) => from + n)

const has = (page: Page, n: number, ...chats: string[]): Promise<unknown> =>
  page.waitForFunction(`${JSON.stringify(chats)}.every((id) => chats[id].numbers.at(-1) === ${n})`)
const ready = (page: Page): Promise<unknown> =>
  page.waitForFunction('Object.values(chats).every(({ chat }) => chat.lastEventId !== undefined)')
const numbers = (page: Page, id: string): Promise<number[]> => page.evaluate<number[]>(`chats.${id}.numbers`)

t.test('the client in a browser', { skip: skipWithoutChromium }, async (t) => {
  const browser = await launchChromium(t)
  const newContext = async (t: Test): Promise<BrowserContext> => {
    const context = await browser.newContext()
    t.teardown(() => context.close())
    return context
  }
  const visit = async (context: BrowserContext, url: string): Promise<Page> => {
    const page = await context.newPage()
    await page.goto(url)
    return page
  }

  await t.test('it goes on from instance to instance, with its token, through 503', async (t) => {
    const redis = await RedisServer.start()
    t.teardown(() => redis.stop())
    const balancer = await LoadBalancer.start(t)
    const launch = async (instanceId: string): Promise<FastifyInstance> => {
      const { app, url } = await start(t, {
        redisUrl: redis.url,
        instanceId,
        authorize: ({ headers }) => headers.authorization === 'Bearer ada'
      })
      balancer.add(url)
      return app
    }
    const first = await launch('first')
    const page = await visit(await newContext(t), balancer.url)
    await page.evaluate('open({ headers: async () => ({ authorization: "Bearer ada" }) }, ["a", "b"])')
    await ready(page)
    for (let n = 1; n <= 10; n++) await publish(first, n, 'a', 'b')
    const second = await launch('second')
    trouble.on = true
    await first.close()
    for (let n = 11; n <= 20; n++) await publish(second, n, 'a', 'b')
    await until(async () => trouble.seen, (seen) => seen > 0)
    trouble.on = false
    await has(page, 20, 'a', 'b')
    t.same([await numbers(page, 'a'), await numbers(page, 'b')], [range(1, 20), range(1, 20)])
    t.same(await page.evaluate('resets'), [])
    const stranger = await visit(await newContext(t), balancer.url)
    await stranger.evaluate('open({}, ["a"])')
    await stranger.waitForFunction('client.state === "stopped"')
    t.match(await stranger.evaluate('refusals'), [{ status: 403, code: 'RT_FORBIDDEN', chatId: 'a' }])
  })

  await t.test('it says that the device is offline, and catches up once it is online', async (t) => {
    const { app, url } = await start(t, { retryMs: 60_000, keyPrefix: 'offline:' })
    const context = await newContext(t)
    const page = await visit(context, url)
    await page.evaluate('open({}, ["a", "b"])')
    await ready(page)
    await publish(app, 1, 'a', 'b')
    await has(page, 1, 'a', 'b')
    await context.setOffline(true)
    await page.waitForFunction('client.state === "offline"')
    await publish(app, 2, 'a', 'b')
    await context.setOffline(false)
    await has(page, 2, 'a', 'b')
    t.same([await numbers(page, 'a'), await numbers(page, 'b')], [[1, 2], [1, 2]])
    t.same(await page.evaluate('resets'), [])
  })

  await t.test('a reset is shown', async (t) => {
    const { app, url } = await start(t, { history: { size: 1 }, keyPrefix: 'reset:' })
    const { id } = await app.chatEvents.emitChatMessage('a', { n: 0 })
    for (let n = 1; n <= 5; n++) await publish(app, n, 'a')
    const page = await visit(await newContext(t), url)
    await page.evaluate(`open({}, ["a"], { after: ${JSON.stringify(id)} })`)
    await page.waitForFunction('document.title === "trimmed"')
    await publish(app, 6, 'a')
    await has(page, 6, 'a')
    t.same(await numbers(page, 'a'), [6])
  })

  await t.test('tabs share one connection, and go on when the tab that has it is closed', async (t) => {
    const { app, url } = await start(t, { maxConnections: 1, keyPrefix: 'tabs:' })
    const context = await newContext(t)
    const tabs: Page[] = []
    for (const chats of [['a'], ['a', 'b'], ['a']]) {
      const page = await visit(context, url)
      await page.evaluate(`open({ share: "ada" }, ${JSON.stringify(chats)})`)
      await ready(page)
      tabs.push(page)
    }
    const [leader, second, third] = tabs as [Page, Page, Page]
    for (let n = 1; n <= 10; n++) await publish(app, n, 'a', 'b')
    for (const tab of tabs) await has(tab, 10, 'a')
    t.equal(
      (await fetch(`${url}/api/chats/x/events`)).status,
      503,
      'one connection is all there may be, and they have it'
    )
    await leader.close()
    for (let n = 11; n <= 20; n++) await publish(app, n, 'a', 'b')
    await has(second, 20, 'a', 'b')
    await has(third, 20, 'a')
    await second.close({ runBeforeUnload: false })
    await publish(app, 21, 'a', 'b')
    await has(third, 21, 'a')
    t.same(await numbers(third, 'a'), range(1, 21))
    t.same(await third.evaluate('resets'), [])
    t.equal(await third.evaluate('client.state'), 'open')
  })

  await t.test('a tab that hangs leaves the others their events, and follows once it goes on', async (t) => {
    const { app, url } = await start(t, { keyPrefix: 'hanging:' })
    const context = await newContext(t)
    const tabs: Page[] = []
    for (let n = 0; n < 3; n++) {
      const page = await visit(context, url)
      await page.evaluate('open({ share: "ada", silenceMs: 2000 }, ["a"])')
      await ready(page)
      tabs.push(page)
    }
    const [leader, second, third] = tabs as [Page, Page, Page]
    await publish(app, 1, 'a')
    for (const tab of tabs) await has(tab, 1, 'a')
    // Nothing runs in a page while it shows an alert.
    const shown = leader.waitForEvent('dialog')
    await leader.evaluate('void setTimeout(() => alert("Still there?"))')
    const dialog = await shown
    await publish(app, 2, 'a')
    for (const tab of [second, third]) await has(tab, 2, 'a')
    await publish(app, 3, 'a')
    for (const tab of [second, third]) await has(tab, 3, 'a')
    await dialog.dismiss()
    await has(leader, 3, 'a')
    await publish(app, 4, 'a')
    for (const tab of tabs) {
      await has(tab, 4, 'a')
      t.same(
        [await numbers(tab, 'a'), await tab.evaluate('resets'), await tab.evaluate('client.state')],
        [range(1, 4), [], 'open']
      )
    }
  })

  await t.test('a tab whose page is busy for long does the same', async (t) => {
    const { app, url } = await start(t, { keyPrefix: 'busy:' })
    const context = await newContext(t)
    const [leader, second] = [await visit(context, url), await visit(context, url)]
    for (const page of [leader, second]) {
      await page.evaluate('open({ share: "ada", silenceMs: 1000 }, ["a"])')
      await ready(page)
    }
    const busy = leader.evaluate('for (const end = Date.now() + 8000; Date.now() < end;);')
    await publish(app, 1, 'a')
    await has(second, 1, 'a')
    await busy
    await publish(app, 2, 'a')
    for (const page of [leader, second]) {
      await has(page, 2, 'a')
      t.same([await numbers(page, 'a'), await page.evaluate('resets')], [[1, 2], []])
    }
  })
})
