import t from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { EventSource } from 'eventsource'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { HeldAuthorize } from '../../support/held-authorize.ts'
import { later } from './open.ts'

t.test('a grant that expires while authorize runs for another chat of the request shows nothing', async (t) => {
  const held = new HeldAuthorize()
  const { app, url } = await startApp(t, {
    authorize: (_request, chatId) => chatId === 'short' ? { expiresAt: later } : held.authorize()
  }, {
    setup: (app) => { app.get('/own', (_request, reply) => reply.sse.chats(['short', 'b'])) }
  })
  await app.chatEvents.emitChatMessage('short', { n: 1 })
  const { now } = Date
  t.teardown(() => { Date.now = now })
  const openLate = async (path: string, granted: boolean): Promise<EventStream> => {
    const called = held.nextCall()
    const opening = EventStream.open(t, `${url}${path}`)
    await called
    Date.now = () => later
    held.resolve(granted)
    const stream = await opening
    Date.now = now
    return stream
  }
  for (const path of ['/api/chats/events?chat=short&chat=b&rewind=5', '/own?rewind=5']) {
    const stream = await openLate(path, true)
    t.match(await stream.take(2), [
      { event: 'refused', id: undefined, data: { chatId: 'short', code: 'RT_FORBIDDEN' } },
      { event: 'ready', data: { chatId: 'b' } }
    ])
    await app.chatEvents.emitChatMessage('short', { n: 2 })
    await app.chatEvents.emitChatMessage('b', { n: 3 })
    t.match(await stream.next(), { data: { message: { n: 3 } } })
    const refused = await openLate(path, false)
    t.equal(refused.response.status, 403)
  }
})

t.test('when a grant expires, the client reconnects, is authorized again, and misses nothing', async (t) => {
  const asked: (string | undefined)[] = []
  const { app, url } = await startApp(t, {
    retryMs: 10,
    authorize: (request) => {
      asked.push(request.headers['last-event-id'] as string | undefined)
      return { userId: 'ada', expiresAt: Date.now() + 150 }
    }
  })
  const source = new EventSource(`${url}/api/chats/c/events`)
  t.teardown(() => source.close())
  const seen: unknown[] = []
  let resets = 0
  source.addEventListener('message', ({ data }) => seen.push(JSON.parse(data).message.n))
  source.addEventListener('reset', () => { resets++ })
  for (let n = 0; asked.length < 4; n++) {
    await app.chatEvents.emitChatMessage('c', { n })
    await delay(10)
  }
  source.close()
  t.same(seen, Array.from({ length: seen.length }, (_, n) => n + (seen[0] as number)))
  t.ok(seen.length > 5)
  t.equal(resets, 0)
  t.ok(asked.slice(1).every((id) => id !== undefined))
})
