import t from 'tap'
import { once } from 'node:events'
import { EventSource } from 'eventsource'
import type { AccessGrant } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { HeldAuthorize } from '../../support/held-authorize.ts'
import { query, open, dataOf, byChat, publish } from './multi-chat.ts'

t.setTimeout(120_000)

t.test('a refused chat is left out, and the client receives its id and the reason', async (t) => {
  const asked: string[] = []
  const { app, url } = await startApp(t, {
    authorize: async (_request, chatId) => {
      asked.push(chatId)
      if (chatId === 'missing') throw Object.assign(new Error('There is no such chat'), { statusCode: 404 })
      if (chatId === 'gone') throw Object.assign(new Error('There is no such chat'), { status: 410 })
      return chatId !== 'secret'
    }
  })
  const tooLong = 'x'.repeat(1_025)
  const stream = await open(t, url, ['a', 'secret', 'missing', 'gone', tooLong, 'b'], {
    more: '&rewind=0&rewind=9&rewind=9&rewind=9&rewind=9&rewind=1'
  })
  t.match(await stream.take(6), [
    ...['secret', 'missing', 'gone'].map((chatId) => {
      return { event: 'refused', id: undefined, data: { chatId, code: 'RT_FORBIDDEN' } }
    }),
    { event: 'refused', id: undefined, data: { chatId: tooLong, code: 'RT_CHAT_ID_INVALID' } },
    { event: 'ready', data: { chatId: 'a' } }, { event: 'ready', data: { chatId: 'b' } }
  ])
  t.same(asked, ['a', 'secret', 'missing', 'gone', 'b'])
  t.equal(app.chatEvents.stats().localChats, 2)
  await publish(app, 'secret', 1)
  await publish(app, 'b', 2)
  t.match(await stream.next(), { data: { message: { n: 2 } } })
})

t.test('a chat with too large a rewind is left out, and the others continue', async (t) => {
  const { app, url } = await startApp(t, { maxRewind: 5, authorize: (_request, chatId) => chatId !== 'secret' })
  await publish(app, 'a', 1, 2)
  const stream = await open(t, url, ['a', 'b', 'secret'], { more: '&rewind=5&rewind=6&rewind=6' })
  t.match(await stream.take(5), [
    { event: 'refused', id: undefined, data: { chatId: 'b', code: 'RT_REWIND_INVALID' } },
    { event: 'refused', id: undefined, data: { chatId: 'secret', code: 'RT_FORBIDDEN' } },
    { event: 'ready', data: { chatId: 'a' } }, { event: 'message' }, { event: 'message' }
  ])
  t.equal(app.chatEvents.stats().localChats, 1)
  const response = await fetch(`${url}/api/chats/events?${query(['a', 'b'], '&rewind=6')}`)
  t.equal(response.status, 400)
  t.match(await response.json(), { code: 'RT_REWIND_INVALID', message: /from 0 to 5, got 6/ })
})

t.test('a refused chat keeps its part of the id, so that no event is missed once it is granted again', async (t) => {
  const refused = new Set<string>()
  const { app, url } = await startApp(t, { authorize: (_request, chatId) => !refused.has(chatId) })
  const first = await open(t, url, ['a', 'b', 'c'])
  await first.take(3)
  await publish(app, 'b', 1)
  const before = await first.next()
  first.close()
  await publish(app, 'b', 2)
  refused.add('b')
  const second = await open(t, url, ['a', 'b', 'c'], { id: before.id })
  t.match(await second.take(3), [{ event: 'refused', data: { chatId: 'b' } }, { event: 'ready' }, { event: 'ready' }])
  await publish(app, 'c', 3)
  const after = await second.next()
  t.equal(after.id?.split('.')[1], before.id?.split('.')[1])
  second.close()
  refused.delete('b')
  const third = await open(t, url, ['a', 'b', 'c'], { id: after.id })
  t.same(byChat(await third.take(4)), { a: [true], b: [true, 2], c: [true] })
})

t.test('if all chats are refused, or one can\'t be authorized, the response is an error', async (t) => {
  const { app, url } = await startApp(t, {
    authorize: async (_request, chatId) => {
      const statusCode = { unauthorized: 401, missing: 404, slow: 429, broken: 500 }[chatId]
      if (statusCode !== undefined) throw Object.assign(new Error(chatId), { statusCode })
      if (chatId === 'failing') throw new Error('The database is away')
      return chatId === 'a'
    }
  })
  for (const [chats, status, answer] of [
    [['secret', 'missing'], 403, { code: 'RT_FORBIDDEN' }],
    [['missing', 'secret'], 404, { message: 'missing' }],
    [['unauthorized', 'unauthorized2'], 401, { message: 'unauthorized' }],
    [['a', 'failing'], 500, { message: 'The database is away' }],
    [['secret', 'broken'], 500, { message: 'broken' }],
    [['a', 'slow'], 429, { message: 'slow' }]
  ] as [string[], number, object][]) {
    const response = await fetch(`${url}/api/chats/events?${query(chats)}`)
    t.equal(response.status, status, chats.join())
    t.match(await response.json(), answer)
    t.notOk(response.headers.get('x-accel-buffering'))
  }
  t.equal(app.chatEvents.stats().localChats, 0)
})

t.test('a plain EventSource continues with the other chats when access to one of them ends', async (t) => {
  const members = new Set(['a', 'b'])
  const { app, url } = await startApp(t, {
    retryMs: 1, authorize: (_request, chatId) => members.has(chatId) && { userId: 'ada' }
  })
  const source = new EventSource(`${url}/api/chats/events?${query(['a', 'b'])}`)
  t.teardown(() => source.close())
  const readies = new Set<string>()
  await new Promise<void>((resolve) => {
    source.addEventListener('ready', ({ data }) => { if (readies.add(JSON.parse(data).chatId).size === 2) resolve() })
  })
  members.delete('b')
  const refused = once(source, 'refused')
  const message = once(source, 'message')
  await app.chatEvents.revoke('b', 'ada')
  t.same(JSON.parse((await refused)[0].data), { chatId: 'b', code: 'RT_FORBIDDEN' })
  await publish(app, 'a', 1)
  t.match(JSON.parse((await message)[0].data), { chatId: 'a', message: { n: 1 } })
})

t.test('the earliest grant to end ends the stream', async (t) => {
  const { url } = await startApp(t, {
    authorize: (_request, chatId) => ({ expiresAt: Date.now() + (chatId === 'b' ? 150 : 3_600_000) })
  })
  const stream = await open(t, url, ['a', 'b', 'c'])
  t.same((await stream.end()).map(({ event }) => event), ['ready', 'ready', 'ready'])
})

t.test('after a revocation for one chat, the user is authorized again for all chats', async (t) => {
  const { app, url } = await startApp(t, {
    authorize: ({ headers: { authorization = '' } }, chatId): AccessGrant => ({
      userId: `${authorization}${chatId === 'guest' ? '-guest' : ''}`
    })
  })
  const revoked = await open(t, url, ['a', 'b'], { headers: { authorization: 'ada' } })
  const other = await open(t, url, ['a', 'b'], { headers: { authorization: 'bob' } })
  const guest = await open(t, url, ['a', 'guest'], { headers: { authorization: 'ada' } })
  for (const stream of [revoked, other, guest]) await stream.take(2)
  await app.chatEvents.revoke('b', 'ada')
  t.same(await revoked.end(), [])
  await publish(app, 'a', 2)
  t.same(dataOf(await other.next()).message, { n: 2 })
  t.same(dataOf(await guest.next()).message, { n: 2 })
  await app.chatEvents.revoke('guest', 'ada-guest')
  t.same(await guest.end(), [], 'a user with another id in each chat, too')
})

t.test('access that is revoked while other chats are being authorized is not granted', async (t) => {
  const held = new HeldAuthorize()
  const { app, url } = await startApp(t, {
    authorize: (_request, chatId) => chatId === 'a' ? { userId: 'ada' } : held.authorize()
  })
  const called = held.nextCall()
  const opening = open(t, url, ['a', 'b'])
  await called
  await app.chatEvents.revoke('a', 'ada')
  held.resolve({ userId: 'ada' })
  t.match(await (await opening).take(2), [
    { event: 'refused', data: { chatId: 'a', code: 'RT_FORBIDDEN' } }, { event: 'ready', data: { chatId: 'b' } }
  ])
})
