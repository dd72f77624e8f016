import t, { type Test } from 'tap'
import { build } from 'esbuild'
import type { Page } from 'playwright-core'
import type { RealtimeClient } from '../../lib/client/index.ts'
import { launchChromium, skipWithoutChromium } from '../support/chromium.ts'
import { openPool, PostgresServer } from '../support/postgres.ts'
import { client as redisClient, startRedis } from '../support/redis.ts'
import { Document, serveSnippet, writeSnippet } from '../support/snippets.ts'
import { until } from '../support/until.ts'

const guide = await Document.read('docs/state.md')
const [server = ''] = (await Document.read('docs/outbox.md')).snippets('The outbox')
const [route = '', page = ''] = guide.snippets('The state of a page')
const [renderedRoute = '', renderedPage = ''] = guide.snippets('Pages rendered on the server')
const LISTEN = 'await app.listen'

interface Site {
  url: string
  post (text: string): Promise<unknown>
  /** The texts that the database has. */
  texts (): Promise<string[]>
  /** Changes a text without an event, and loses the log: only `load` can bring it to a page. */
  edit (from: string, to: string): Promise<unknown>
}

/** Runs the server of the guide, with more routes and files. */
async function start (t: Test, more = '', files = {}): Promise<Site> {
  const { url: DATABASE_URL } = await PostgresServer.start(t)
  const redis = await startRedis(t)
  const code = server.replace(LISTEN, `${route}\n${renderedRoute}\n${more}\n${LISTEN}`)
  const url = await serveSnippet(t, code, { env: { DATABASE_URL, REDIS_URL: redis.url }, files })
  const pool = openPool(t, DATABASE_URL)
  return {
    url,
    post: (text) => fetch(`${url}/chats/general/messages`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ text })
    }),
    texts: async () => (await pool.query('SELECT text FROM messages ORDER BY id')).rows.map(({ text }) => text),
    edit: async (from, to) => {
      await pool.query('UPDATE messages SET text = $2 WHERE text = $1', [from, to])
      await redisClient(t, redis.url).flushall()
    }
  }
}

/** Checks that a page shows the texts of the database, by events and by `load`. */
async function follows (t: Test, site: Site, shown: () => Promise<string[]>): Promise<void> {
  const isCurrent = async (): Promise<void> => {
    const texts = await site.texts()
    await until(shown, (now) => now.join() === texts.join())
  }
  await isCurrent()
  await site.post('by an event')
  await isCurrent()
  await site.edit('first', 'by load')
  await site.post('after the loss')
  await isCurrent()
  t.same(await shown(), ['by load', '<b>second</b>', 'by an event', 'after the loss'])
}

t.test('a page shows what is in the database', { skip: PostgresServer.skip }, async (t) => {
  const site = await start(t)
  await site.post('first')
  await site.post('<b>second</b>')
  const { fetch } = globalThis
  t.teardown(() => { globalThis.fetch = fetch })
  globalThis.fetch = (path, init) => fetch(new URL(String(path), site.url), init)
  const folder = await writeSnippet(t, `${page}\nexport { client, messages }`, 'page.js')
  const { client, messages } = await import(`${folder}/page.js`) as {
    client: RealtimeClient, messages: Map<string, { text: string }>
  }
  t.teardown(() => client.close())
  await follows(t, site, async () => [...messages.values()].map(({ text }) => text))
})

t.test('a page that was rendered on the server goes on from its rows, and loads them at a reset only', {
  skip: PostgresServer.skip || skipWithoutChromium
}, async (t) => {
  const folder = await writeSnippet(t, renderedPage, 'page.js')
  const { outputFiles: [script] } = await build({
    entryPoints: [`${folder}/page.js`], bundle: true, format: 'esm', write: false
  })
  const site = await start(t, `
    const { readFile } = await import('node:fs/promises')
    const script = await readFile(new URL('page.js', import.meta.url))
    app.get('/page.js', (_request, reply) => reply.type('text/javascript').send(script))
  `, { 'page.js': script?.text })
  await site.post('first')
  const browser = await launchChromium(t)
  const tab = await browser.newPage()
  const loads: string[] = []
  tab.on('request', (request) => { if (request.url().endsWith('/messages')) loads.push(request.url()) })
  await tab.route('**/page.js', async (route) => {
    t.same(await items(tab), ['first'], 'it has its rows without a script')
    await site.post('<b>second</b>')
    await route.continue()
  })
  await tab.goto(`${site.url}/chats/general`)
  await until(() => items(tab), (texts) => texts.length === 2)
  t.same(loads, [])
  await follows(t, site, () => items(tab))
  t.equal(loads.length, 1)
  const html = await (await fetch(`${site.url}/chats/general`)).text()
  t.match(html, /<li id="message-2">&#60;b>second&#60;\/b><\/li>/)
})

const items = (tab: Page): Promise<string[]> =>
  tab.evaluate<string[]>('[...document.querySelectorAll("li")].map(({ textContent }) => textContent)')
