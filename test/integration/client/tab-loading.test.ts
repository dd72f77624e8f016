import t from 'tap'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { createRealtimeClient } from '../../../lib/client/index.ts'
import { startApp } from '../../support/app.ts'
import { turn } from '../../support/turn.ts'
import { until } from '../../support/until.ts'
import { becomeBrowser, locksHere, publish, start, Tab } from './tab.ts'

t.setTimeout(60_000)

/** Resolves once the code that shares connections is loaded, in every client that has asked for it before. */
async function loaded (): Promise<void> {
  await import('../../../lib/client/shared-connections.ts')
  await turn()
}

t.test('while the code that shares connections is loaded, a tab is connecting, and then has its chats', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  await publish(app, 'a', 1)
  const tab = new Tab(t, url)
  t.equal(tab.client.state, 'idle')
  const seen = tab.open('a', { rewind: 1 })
  const again = tab.open('b')
  tab.open('c').close()
  tab.client.reconnect()
  t.equal(tab.client.state, 'connecting')
  await Promise.all([seen.has(1), again.ready()])
  t.equal(tab.client.state, 'open')
  t.equal(app.chatEvents.stats().localChats, 2)
})

t.test('a client that is closed meanwhile stays closed, and joins no tab', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  const requested = t.capture(locksHere(), 'request')
  const tab = new Tab(t, url)
  tab.open('a')
  tab.client.close()
  await loaded()
  t.same([tab.client.state, requested(), app.chatEvents.stats().localChats], ['closed', [], 0])
  t.throws(() => tab.open('a'), /closed/)
})

t.test('if the code that shares connections is not there any more, a page has a connection of its own', async (t) => {
  becomeBrowser(t)
  const { app, url } = await startApp(t)
  const folder = mkdtempSync(join(tmpdir(), 'client-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  await build({
    entryPoints: [fileURLToPath(new URL('../../../lib/client/index.ts', import.meta.url))],
    bundle: true,
    splitting: true,
    format: 'esm',
    outExtension: { '.js': '.mjs' },
    outdir: folder,
    chunkNames: 'later/[name]'
  })
  // A deploy removes it while the page is open.
  rmSync(join(folder, 'later'), { recursive: true })
  const page = await import(join(folder, 'index.mjs')) as { createRealtimeClient: typeof createRealtimeClient }
  const warned = t.capture(console, 'warn')
  const client = page.createRealtimeClient({ url: `${url}/api`, share: 'ada' })
  t.teardown(() => client.close())
  const numbers: unknown[] = []
  const chat = client.chat('a')
  chat.on('message', ({ message }) => { numbers.push((message as { n: number }).n) })
  t.equal(client.state, 'connecting')
  await chat.ready
  t.match(warned(), [{ args: [{ code: 'ERR_MODULE_NOT_FOUND' }] }], 'the error is reported once')
  await publish(app, 'a', 1)
  await until(async () => numbers, ({ length }) => length === 1)
  t.same([numbers, client.state], [[1], 'open'])
})
