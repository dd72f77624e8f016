import t from 'tap'
import type { FastifyRequest } from 'fastify'
import { until } from '../../support/until.ts'
import { range } from '../../support/numbers.ts'
import { becomeBrowser, lead, Tab, publish, start } from './tab.ts'

// Real browsers are tested in test/browser/client.test.ts.

t.setTimeout(60_000)

t.test('a refusal is reported in each tab, and each tab may retry', async (t) => {
  becomeBrowser(t)
  let allowed = false
  const { url } = await start(t, { authorize: (_request: unknown, chatId: string) => chatId === 'a' || allowed })
  const [first, second] = [new Tab(t, url), new Tab(t, url)]
  await first.open('a').ready()
  const secret = second.open('secret')
  await until(async () => second.refusals.length, (length) => length === 1)
  t.match([first.refusals, second.refusals], [[{ chatId: 'secret' }], [{ status: 403, chatId: 'secret' }]])
  second.open('a')
  allowed = true
  second.client.reconnect()
  await secret.ready()
  const own = second.open('a', { rewind: 1 })
  await own.ready()
})

t.test('a tab with a gap reads the missing events itself, and delivers none twice', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t)
  const leader = lead(t, url)
  const tell = (n: number, id: string | undefined, previous?: string): void =>
    leader.postMessage({
      type: 'event',
      delivery: { chatId: 'a', event: 'message', id, previous, data: { type: 'message', chatId: 'a', message: { n } } }
    })
  const ids: string[] = []
  for (let n = 0; n <= 6; n++) ids.push((await app.chatEvents.emitChatMessage('a', { n })).id as string)

  const tab = new Tab(t, url)
  const seen = tab.open('a')
  const rewound = tab.open('a', { rewind: 3 })
  await leader.hears('want')
  tell(1, ids[1], ids[0])
  tell(99, undefined)
  leader.postMessage({ type: 'event', delivery: { chatId: 'a', event: 'ready', id: ids[2], previous: ids[2] } })
  tell(3, ids[3], ids[2])
  await seen.has(3)
  tell(2, ids[2], ids[1])
  tell(3, ids[3], ids[2])
  tell(6, ids[6], ids[5])
  await Promise.all([seen.has(6), rewound.has(6)])
  t.same([seen.numbers, rewound.numbers], [[3, 4, 5, 6], [4, 5, 6]])
  leader.postMessage({
    type: 'event', delivery: { chatId: 'a', event: 'reset', id: 'e-0-0', data: { reason: 'epoch', certain: true } }
  })
  tell(1, 'e-1-1', 'e-0-0')
  await Promise.all([seen.has(1), rewound.has(1)])
  t.same(tab.resets, [{ reason: 'epoch', certain: true }, { reason: 'epoch', certain: true }])
})

t.test('a tab that receives more than it can buffer before it is ready reads the events itself', async (t) => {
  becomeBrowser(t)
  const { app, url } = await start(t, { history: { size: 2_000 } })
  const leader = lead(t, url)
  const ids: string[] = []
  for (let n = 0; n <= 1_200; n++) ids.push((await app.chatEvents.emitChatMessage('a', { n })).id as string)
  let release = (): void => {}
  const released = new Promise<void>((resolve) => { release = resolve })
  const tab = new Tab(t, url, { fetch: async (...args) => { await released; return await fetch(...args) } })
  const seen = tab.open('a', { after: ids[0] as string })
  await leader.hears('want')
  for (let n = 2; n <= 1_200; n++) {
    leader.postMessage({
      type: 'event',
      delivery: {
        chatId: 'a',
        event: 'message',
        id: ids[n],
        previous: ids[n - 1],
        data: { type: 'message', chatId: 'a', message: { n } }
      }
    })
  }
  leader.postMessage({ type: 'state', state: 'open' })
  await until(async () => tab.client.state, (state) => state === 'open')
  release()
  await seen.has(1_200)
  t.same(seen.numbers, range(1, 1_200))
})

t.test('a refusal during a tab\'s own catch-up is reported', async (t) => {
  becomeBrowser(t)
  const { url } = await start(t, { authorize: ({ headers }: FastifyRequest) => headers['x-tab'] === 'first' })
  const [first, second] = [new Tab(t, url, { headers: { 'x-tab': 'first' } }), new Tab(t, url)]
  await first.open('a').ready()
  second.open('a', { rewind: 2 })
  await until(async () => second.refusals.length, (length) => length === 1)
  t.match(second.refusals, [{ status: 403, chatId: 'a' }])
  t.same(first.refusals, [])
})

t.test('a tab whose own catch-up was refused repeats it once it has access', async (t) => {
  becomeBrowser(t)
  let token = 'none'
  const { app, url } = await start(t, { authorize: ({ headers }: FastifyRequest) => headers['x-tab'] === 'ok' })
  await publish(app, 'a', 1, 2, 3)
  const [first, second] = [
    new Tab(t, url, { headers: { 'x-tab': 'ok' } }), new Tab(t, url, { headers: () => ({ 'x-tab': token }) })
  ]
  await first.open('a').ready()
  const seen = second.open('a', { rewind: 2 })
  await until(async () => second.refusals.length, (length) => length === 1)
  await publish(app, 'a', 4)
  token = 'ok'
  second.client.reconnect()
  await seen.has(4)
  t.same(seen.numbers, [3, 4], 'the last two, once it may')
})

t.test('a chat that was refused to one tab and granted since continues in the tab that takes over', async (t) => {
  becomeBrowser(t)
  let allowed = false
  const { app, url } = await start(t, { authorize: (_request: unknown, chatId: string) => chatId === 'a' || allowed })
  const [first, second] = [new Tab(t, url), new Tab(t, url)]
  await first.open('a').ready()
  const secret = second.open('secret')
  await until(async () => second.refusals.length, (length) => length === 1)
  allowed = true
  first.client.reconnect()
  await first.open('secret').ready()
  await secret.ready()
  first.client.close()
  await publish(app, 'secret', 1)
  await secret.has(1)
})
