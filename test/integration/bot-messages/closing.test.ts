import t from 'tap'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import { promisify } from 'node:util'
import type { RealtimeOptions } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { setups, type Setup } from './setups.ts'
import { open, type Side } from './sides.ts'

t.beforeEach(nothingUnhandled)

/** Longer than any test may take. */
const LONG = 600_000

interface Started {
  one: Side
  two: Side
  /** Resolves once one of them begins to close: that disconnects idle connections. */
  closing: Promise<unknown>
  /** How many of them have called their `preClose` hooks. */
  preClosed: () => number
}

async function start (t: Parameters<Setup>[0], setup: Setup, options: RealtimeOptions): Promise<Started> {
  let preClosed = 0
  const sides = await setup(t, options, { setup: (app) => { app.addHook('preClose', async () => { preClosed++ }) } })
  const socket = net.connect(Number(new URL(sides.one.url).port), '127.0.0.1')
  await once(socket, 'connect')
  return { ...sides, closing: once(socket, 'close'), preClosed: () => preClosed }
}

for (const [name, setup] of Object.entries(setups)) {
  t.test(`${name}, an app that closes lets its bot messages end, and its readers see the end`, async (t) => {
    const { one, two, closing, preClosed } = await start(t, setup, { botMessageDrainMs: LONG })
    const readers = await Promise.all([one, two].map((side) => open(t, side)))
    const early = await one.app.chatEvents.startBotMessage('c', { id: 'early' })
    await early.append('a')
    const closed = one.app.close()
    await closing
    const late = await one.app.chatEvents.startBotMessage('c', { id: 'late' })
    await early.append('b')
    t.equal(preClosed(), 0, 'Fastify limits their time')
    for (const message of [early, late]) t.same(await message.finish(), { status: 'finished' })
    await closed
    for (const { stream, reader } of readers) {
      t.match(await reader.end(stream), { id: 'early', status: 'finished', text: 'ab' })
      t.match(await reader.end(stream), { id: 'late', status: 'finished' })
    }
  })

  t.test(`${name}, a response with a UI message that is in progress when the app closes is complete`, async (t) => {
    const { one, closing } = await start(t, setup, { botMessageDrainMs: LONG })
    const botMessage = await one.app.chatEvents.startBotMessage('c', { format: 'chunks', protocol: 'ui-message' })
    await botMessage.append({ type: 'start' })
    const response = await fetch(`${one.url}/api/chats/c/stream`)
    const closed = one.app.close()
    await closing
    await botMessage.append({ type: 'finish' })
    await botMessage.finish()
    t.match(await response.text(), /"start".*"finish".*\[DONE\]/s)
    await closed
  })

  t.test(`${name}, an app that closes interrupts bot messages that take too long`, async (t) => {
    const { one, two } = await start(t, setup, { botMessageDrainMs: 20 })
    const { stream, reader } = await open(t, two)
    const botMessage = await one.app.chatEvents.startBotMessage('c')
    await botMessage.append('a')
    await one.app.close()
    t.match(botMessage.signal.reason, { code: 'RT_BOT_MESSAGE_ENDED' })
    if (one !== two) t.match(await reader.end(stream), { status: 'interrupted', text: 'a' })
  })

  t.test(`${name}, an app closes at once if no bot message is in progress any more`, async (t) => {
    const { one, closing } = await start(t, setup, { botMessageDrainMs: LONG })
    const { chatEvents } = one.app
    await (await chatEvents.startBotMessage('c', { id: 'm' })).finish()
    await t.rejects(chatEvents.startBotMessage('c', { id: 'm' }), { code: 'RT_BOT_MESSAGE_EXISTS' })
    const botMessage = await chatEvents.startBotMessage('c')
    const closed = one.app.close()
    await closing
    await new Promise(setImmediate)
    chatEvents.interruptBotMessages()
    await closed
    t.match(botMessage.signal.reason, { code: 'RT_BOT_MESSAGE_ENDED' })
  })
}

t.test('apps of a process that share their bot messages wait for the same ones', async (t) => {
  const apps = await Promise.all([1, 2].map(async () => (await startApp(t, { botMessageDrainMs: LONG })).app))
  const [one, two] = apps.map(({ chatEvents }) => chatEvents)
  t.equal(one, two)
  const botMessage = await one?.startBotMessage('c')
  const closed = apps.map((app) => app.close())
  await new Promise(setImmediate)
  t.same(await botMessage?.finish(), { status: 'finished' })
  await Promise.all(closed)
})

t.test('a process with nothing else to do waits, too', async (t) => {
  const script = new URL('./closing-app.ts', import.meta.url).pathname
  const { stdout } = await promisify(execFile)(process.execPath, [...process.execArgv, script])
  t.match(stdout, /^interrupted$/m)
})
