import { createElement, useEffect, type ReactElement } from 'react'
import t, { type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import {
  createRealtimeClient, type ChatEvent, type LoadContext, type RealtimeClient
} from '../../../lib/client/index.ts'
import {
  useBotMessages, useChatEvents, useConnectionState, usePresence, useTyping, type ChatEventsOptions
} from '../../../lib/react/index.ts'
import { startApp } from '../../support/app.ts'
import { until } from '../../support/until.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { Page } from './renderer.ts'

t.beforeEach(nothingUnhandled)

interface Scene { app: FastifyInstance, client: RealtimeClient, requests: string[] }

/** A server, and a client of the user `ann` that keeps the addresses of its requests. */
async function start (t: Test): Promise<Scene> {
  const { app, url } = await startApp(t, {
    presence: { graceMs: 0 }, authorize: ({ headers }) => ({ userId: headers['x-user'] as string })
  })
  const requests: string[] = []
  const client = createRealtimeClient({
    url: `${url}/api`,
    headers: { 'x-user': 'ann' },
    fetch: (input, init) => {
      requests.push(String(input))
      return fetch(input, init)
    }
  })
  t.teardown(() => client.close())
  return { app, client, requests }
}

interface Shown { state: string, users: readonly string[], typing: readonly string[], texts: string[] }

function Chat ({ id, see }: { id: string, see: (shown: Shown) => void }): null {
  const state = useConnectionState()
  const users = usePresence(id)
  const typing = useTyping(id)
  const botMessages = useBotMessages(id)
  useEffect(() => {
    see({ state, users, typing, texts: botMessages.map(({ status, text }) => `${status} ${text}`) })
  })
  return null
}

t.test('components show who is present and types, the bot messages, and the state of the connection', async (t) => {
  const { app, client, requests } = await start(t)
  const page = new Page<Shown>(t, client)
  page.show(createElement(Chat, { id: 'c', see: page.see }))
  t.same(page.seen[0], { state: 'idle', users: [], typing: [], texts: [] })
  await page.shows(({ state, users }) => state === 'open' && users.includes('ann'))
  t.equal(requests.length, 1, 'all hooks of the chat share one connection, in StrictMode, too')
  await app.chatEvents.emitTyping('c', 'bob')
  await page.shows(({ typing }) => typing.includes('bob'))
  await app.chatEvents.emitTyping('c', 'bob', { typing: false })
  await page.shows(({ typing }) => typing.length === 0)
  const botMessage = await app.chatEvents.startBotMessage('c')
  await botMessage.append('Hello')
  await page.shows(({ texts }) => texts[0] === 'streaming Hello')
  await botMessage.finish()
  await page.shows(({ texts }) => texts[0] === 'finished Hello')
  const another = await app.chatEvents.startBotMessage('c')
  await another.append('Bye')
  await page.shows(({ texts }) => texts[1] === 'streaming Bye')
  await another.finish()
  await page.shows(({ texts }) => texts[1] === 'finished Bye')
  page.show(createElement(Chat, { id: 'd', see: page.see }))
  t.match(page.seen.at(-1), { users: [], texts: [] }, 'another chat begins empty')
  await page.shows(({ users }) => users.includes('ann'))
  await until(async () => await app.chatEvents.presence('c'), (users) => users.length === 0)
  page.show(undefined)
  await until(async () => client.state, (state) => state === 'idle')
})

interface ReaderProps extends ChatEventsOptions { id: string, see: (event: ChatEvent) => void }

function Reader ({ id, see, ...options }: ReaderProps): null {
  useChatEvents(id, see, options)
  return null
}

const textOf = (event: ChatEvent): unknown => event.type === 'message' && (event.message as { text: string }).text

t.test('each event is passed to the latest handler, once and in order', async (t) => {
  const { app, client, requests } = await start(t)
  const page = new Page<unknown>(t, client)
  const reader = (name: string, id = 'c'): ReactElement => createElement(Reader, {
    id, rewind: 10, see: (event) => { if (textOf(event)) page.see(`${name} ${textOf(event)}`) }
  })
  await app.chatEvents.emitChatMessage('c', { text: '1' })
  page.show(reader('one'))
  await page.shows((text) => text === 'one 1')
  page.show(reader('two'))
  await app.chatEvents.emitChatMessage('c', { text: '2' })
  await page.shows((text) => text === 'two 2')
  t.equal(requests.length, 1, 'another handler opens no connection')
  await app.chatEvents.emitChatMessage('d', { text: '3' })
  page.show(reader('two', 'd'))
  await page.shows((text) => text === 'two 3')
  t.same(page.seen, ['one 1', 'two 2', 'two 3'])
})

t.test('with another client, a chat continues where it was', async (t) => {
  const { app, client, requests } = await start(t)
  const page = new Page<unknown>(t, client)
  const reader = createElement(Reader, {
    id: 'c', rewind: 10, see: (event) => { if (textOf(event)) page.see(textOf(event)) }
  })
  await app.chatEvents.emitChatMessage('c', { text: '1' })
  page.show(reader)
  await page.shows((text) => text === '1')
  const [address = ''] = requests
  const another = createRealtimeClient({ url: new URL('/api', address).href, headers: { 'x-user': 'bob' } })
  t.teardown(() => another.close())
  page.show(reader, another)
  await app.chatEvents.emitChatMessage('c', { text: '2' })
  await page.shows((text) => text === '2')
  t.same(page.seen, ['1', '2'])
})

t.test('resets are reported, and the state is loaded by the latest load', async (t) => {
  const { app, client } = await start(t)
  const after = (await app.chatEvents.lastEventId('c')).replace(/^\w+/, 'another')
  const page = new Page<string>(t, client)
  const reader = (name: string, loads = true): ReactElement => createElement(Reader, {
    id: 'c',
    after,
    see: () => {},
    onReset: ({ reason }) => { page.see(`${name}: reset ${reason}`) },
    ...loads && { load: async ({ reason }: LoadContext) => { page.see(`${name}: load ${reason}`); return {} } }
  })
  page.show(reader('one'))
  page.show(reader('two'))
  await page.shows((shown) => shown === 'two: load epoch')
  t.same(page.seen, ['two: reset epoch', 'two: load epoch'])
  page.show(undefined)
  page.show(reader('three'))
  page.show(reader('four', false))
  await page.shows((shown) => shown === 'three: load epoch')
  t.equal(page.seen.at(-2), 'four: reset epoch')
})

t.test('a reset needs no handler', async (t) => {
  const { app, client } = await start(t)
  const after = (await app.chatEvents.lastEventId('c')).replace(/^\w+/, 'another')
  const page = new Page<unknown>(t, client)
  page.show(createElement(Reader, { id: 'c', after, see: (event) => { page.see(textOf(event)) } }))
  await until(async () => client.state, (state) => state === 'open')
  await app.chatEvents.emitChatMessage('c', { text: '1' })
  await page.shows((text) => text === '1')
})
