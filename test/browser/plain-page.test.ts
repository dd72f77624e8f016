import t, { type Test } from 'tap'
import { readFileSync } from 'node:fs'
import type { Server } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { BrowserContext, Page } from 'playwright-core'
import { startApp } from '../support/app.ts'
import { launchChromium, skipWithoutChromium } from '../support/chromium.ts'

// Browsers that start take their time on a busy machine.
t.setTimeout(180_000)

/** The client without a bundler: the files of the package, as a page loads them. */
const FILES = ['client.min.js', 'client.shared-connections.min.js']
const PAGE = `<!doctype html><title>plain</title><script type="module">
  import { createRealtimeClient } from './client.min.js'
  const share = new URLSearchParams(location.search).get('share') ?? undefined
  window.numbers = []
  window.client = createRealtimeClient({ share })
  window.chat = client.chat('a')
  chat.on('message', ({ message }) => numbers.push(message.n))
</script>`

/** An app that serves the files except those that are missing. `loaded` has those that pages have asked for. */
async function start (t: Test, { missing = '', maxConnections = 10 } = {}): Promise<{
  app: FastifyInstance, url: string, loaded: string[]
}> {
  const loaded: string[] = []
  const { app, url } = await startApp(t, { retryMs: 50, maxConnections }, {
    setup: (app) => {
      app.get('/', async (_request, reply) => reply.type('text/html').send(PAGE))
      for (const file of FILES) {
        app.get(`/${file}`, async (_request, reply) => {
          loaded.push(file)
          if (file === missing) return await reply.code(404).send()
          return await reply.type('text/javascript').send(readFileSync(new URL(`../../dist/${file}`, import.meta.url)))
        })
      }
    }
  })
  return { app, url, loaded }
}

async function visit (context: BrowserContext, url: string): Promise<Page> {
  const page = await context.newPage()
  await page.goto(url)
  await page.waitForFunction('client.state === "open"')
  return page
}

const has = (page: Page, numbers: number[]): Promise<unknown> =>
  page.waitForFunction(`JSON.stringify(numbers) === ${JSON.stringify(JSON.stringify(numbers))}`)

t.test('the client for a plain page', { skip: skipWithoutChromium }, async (t) => {
  const browser = await launchChromium(t)
  const newContext = async (t: Test): Promise<BrowserContext> => {
    const context = await browser.newContext()
    t.teardown(() => context.close())
    return context
  }

  await t.test('is one file, and resumes after a drop', async (t) => {
    const { app, url, loaded } = await start(t)
    const page = await visit(await newContext(t), url)
    await app.chatEvents.emitChatMessage('a', { n: 1 })
    await has(page, [1])
    ;(app.server as Server).closeAllConnections()
    await app.chatEvents.emitChatMessage('a', { n: 2 })
    await has(page, [1, 2])
    t.same(loaded, ['client.min.js'])
  })

  await t.test('loads the second file for tabs that share a connection', async (t) => {
    const { app, url, loaded } = await start(t, { maxConnections: 1 })
    const context = await newContext(t)
    const tabs = [await visit(context, `${url}/?share=ada`), await visit(context, `${url}/?share=ada`)] as const
    t.same(loaded, [...FILES, ...FILES])
    await app.chatEvents.emitChatMessage('a', { n: 1 })
    for (const tab of tabs) await has(tab, [1])
    await tabs[0].close()
    await app.chatEvents.emitChatMessage('a', { n: 2 })
    await has(tabs[1], [1, 2])
  })

  await t.test('works without the second file, with a connection for each tab', async (t) => {
    const { app, url } = await start(t, { missing: 'client.shared-connections.min.js' })
    const context = await newContext(t)
    const warned = context.waitForEvent('console', (message) => message.type() === 'warning')
    const tabs = [await visit(context, `${url}/?share=ada`), await visit(context, `${url}/?share=ada`)]
    t.match((await warned).text(), /client\.shared-connections\.min\.js/)
    await app.chatEvents.emitChatMessage('a', { n: 1 })
    for (const tab of tabs) await has(tab, [1])
  })
})
