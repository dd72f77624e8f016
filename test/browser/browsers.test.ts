import t from 'tap'
import { startApp } from '../support/app.ts'
import { browsers, type Tab } from '../support/browsers.ts'
import { until } from '../support/until.ts'
import { clientScript } from './client-script.ts'

// Browsers that start take their time on a busy machine.
t.setTimeout(300_000)

/** What one reader of the chat shows, by the rules of the docs. */
interface Shown { live: boolean, drops: number, numbers: number[], text: string, status: string, resets: number }

/** Reads a chat with our client and with a plain EventSource. */
const PAGE = `<!doctype html><title>chat</title><script>${clientScript}
  const shown = { client: {}, EventSource: {} }
  const empty = { live: false, drops: 0, text: '', status: '', resets: 0 }
  for (const reader of Object.values(shown)) Object.assign(reader, { ...empty, numbers: [] })
  function show (reader, on) {
    on('message', ({ message }) => reader.numbers.push(message.n))
    on('bot_message', ({ text, at, status }) => {
      reader.text = reader.text.slice(0, at) + text
      reader.status = status
    })
  }
  // The streams from before were well for long: if one breaks, another stream replaces it, and no poll.
  function settle () {
    const { now } = Date
    Date.now = () => now() + 6000
  }
  const client = realtime.createRealtimeClient()
  const chat = client.chat('c')
  show(shown.client, (type, handler) => chat.on(type, handler))
  chat.onReset(() => shown.client.resets++)
  client.onState((state) => {
    if (shown.client.live && state !== 'open') shown.client.drops++
    shown.client.live = state === 'open'
  })
  const source = new EventSource('/api/chats/c/events')
  const on = (type, handler) => source.addEventListener(type, ({ data }) => handler(JSON.parse(data)))
  show(shown.EventSource, on)
  on('reset', () => shown.EventSource.resets++)
  on('ready', () => { shown.EventSource.live = true })
  source.onerror = () => { shown.EventSource.drops++; shown.EventSource.live = false }
</script>`

for (const { name, skip, launch } of browsers) {
  t.test(`in ${name}`, { skip }, async (t) => {
    const { app, url } = await startApp(t, { retryMs: 50 }, {
      setup: (app) => app.get('/', async (_request, reply) => reply.type('text/html').send(PAGE))
    })
    const browser = await launch(t)
    const tabs: Tab[] = []
    /** Resolves once each reader in each tab shows it, with what they all show then. */
    const all = async (fulfilled: (shown: Shown) => boolean): Promise<Shown[]> => {
      let shown: Shown[] = []
      await until(async () => {
        shown = (await Promise.all(tabs.map((tab) => tab.evaluate<Record<string, Shown>>('shown')))).flatMap(
          (readers) => Object.values(readers)
        )
        return shown
      }, (shown) => shown.every(fulfilled))
      return shown
    }
    const emit = (n: number): Promise<unknown> => app.chatEvents.emitChatMessage('c', { n })

    await t.test('two tabs of the same page are live, and show each message once', async (t) => {
      for (let n = 0; n < 2; n++) {
        tabs.push(await browser.open(url))
        await all(({ live }) => live)
      }
      await Promise.all([emit(1), emit(2), emit(3)])
      const shown = await all(({ numbers }) => numbers.at(-1) === 3)
      t.equal(shown.length, 4)
      for (const { numbers } of shown) t.same(numbers, [1, 2, 3])
    })

    await t.test('after a dropped connection they catch up, and miss nothing', async (t) => {
      for (const tab of tabs) await tab.evaluate('settle()')
      app.server.closeAllConnections()
      await Promise.all([emit(4), emit(5)])
      const shown = await all(({ live, drops, numbers }) => live && drops === 1 && numbers.at(-1) === 5)
      for (const { numbers } of shown) t.same(numbers, [1, 2, 3, 4, 5])
    })

    await t.test('a streamed bot message grows, across a dropped connection, and ends as it was written', async (t) => {
      const message = await app.chatEvents.startBotMessage('c')
      await message.append('Once upon ')
      await all(({ text }) => text === 'Once upon ')
      app.server.closeAllConnections()
      await message.append('a time')
      await all(({ text, status }) => text === 'Once upon a time' && status === 'streaming')
      await message.finish()
      const shown = await all(({ status }) => status === 'finished')
      for (const { text, resets } of shown) t.same([text, resets], ['Once upon a time', 0])
    })
  })
}
