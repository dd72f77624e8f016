import t, { type Test } from 'tap'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { EventSource } from 'eventsource'
import type { LocalPubSub, PublishReceipt, RealtimeOptions } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { EventStream, type StreamEvent } from '../../support/event-stream.ts'
import { RedisServer } from '../../support/redis-server.ts'

const ID = /^[A-Za-z0-9]{1,32}-\d{1,15}-\d{1,15}$/

/** An app with one chat, which is opened and published to. */
class Chat {
  readonly app: FastifyInstance
  readonly url: string
  readonly #t: Test
  #count = 0

  private constructor (t: Test, app: FastifyInstance, url: string) {
    this.#t = t
    this.app = app
    this.url = `${url}/api/chats/c/events`
  }

  static async start (t: Test, options: RealtimeOptions = {}): Promise<Chat> {
    const { app, url } = await startApp(t, options)
    return new Chat(t, app, url)
  }

  open (query = '', lastEventId?: string): Promise<EventStream> {
    return EventStream.open(
      this.#t, this.url + query, lastEventId === undefined ? {} : { headers: { 'last-event-id': lastEventId } }
    )
  }

  /** Publishes messages that are numbered through. Returns their ids. */
  async publish (count: number, text = ''): Promise<string[]> {
    const publish = (): Promise<PublishReceipt> => this.app.chatEvents.emitChatMessage('c', { n: ++this.#count, text })
    const receipts = await Promise.all(Array.from({ length: count }, publish))
    return receipts.map(({ id }) => id as string)
  }

  /** Reconnects with a cursor. The first events must be `ready` and, if the client can't resume there, a reset. */
  async reset (lastEventId: string): Promise<[StreamEvent, StreamEvent]> {
    const stream = await this.open('', lastEventId)
    return [await stream.next(), await stream.next()]
  }
}

const numbers = (events: StreamEvent[]): number[] => {
  return events.map(({ data }) => (data as { message: { n: number } }).message.n)
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, n) => from + n)

t.test('a client that reconnects gets the events that it missed, in order and once', async (t) => {
  const chat = await Chat.start(t)
  const first = await chat.open()
  await first.next()
  await chat.publish(5)
  const seen = await first.take(5)
  first.close()
  await chat.publish(800)
  const second = await chat.open('', seen[4]?.id)
  t.match(await second.next(), { event: 'ready', id: seen[4]?.id, data: { chatId: 'c', resumed: true } })
  chat.publish(50)
  t.same(numbers(await second.take(850)), range(6, 855))
})

t.test('the id of every event is the id of the publisher\'s receipt, too', async (t) => {
  const chat = await Chat.start(t)
  const stream = await chat.open()
  t.match(await stream.next(), { event: 'ready', id: ID })
  const ids = await chat.publish(3)
  const events = await stream.take(3)
  t.same(events.map(({ id }) => id), ids)
  for (const id of ids) t.match(id, ID)
})

t.test('a drop before any event loses nothing, because ready carries a position', async (t) => {
  const chat = await Chat.start(t)
  const first = await chat.open()
  const { id } = await first.next()
  first.close()
  await chat.publish(2)
  const second = await chat.open('', id)
  t.match(await second.next(), { event: 'ready', id, data: { resumed: true } })
  t.same(numbers(await second.take(2)), [1, 2])
})

t.test('the cursor may be in the query, and the header takes precedence', async (t) => {
  const chat = await Chat.start(t)
  const ids = await chat.publish(4)
  const byQuery = await chat.open(`?lastEventId=${ids[2]}`)
  t.match(await byQuery.next(), { id: ids[2], data: { resumed: true } })
  t.same(numbers(await byQuery.take(1)), [4])
  const byBoth = await chat.open(`?lastEventId=${ids[2]}&rewind=1`, ids[0])
  t.match(await byBoth.next(), { id: ids[0], data: { resumed: true } })
  t.same(numbers(await byBoth.take(3)), [2, 3, 4])
})

t.test('a new client may request the last events', async (t) => {
  const chat = await Chat.start(t, { maxRewind: 999_999 })
  const ids = await chat.publish(4)
  const some = await chat.open('?rewind=3')
  t.match(await some.next(), { event: 'ready', id: ids[0], data: { resumed: false } })
  const all = await chat.open('?rewind=999999')
  const none = await chat.open('?rewind=0')
  t.match(await all.next(), { event: 'ready', data: { resumed: false } })
  t.match(await none.next(), { event: 'ready', id: ids[3], data: { resumed: false } })
  await chat.publish(1)
  t.same(numbers(await some.take(4)), [2, 3, 4, 5])
  t.same(numbers(await all.take(5)), [1, 2, 3, 4, 5])
  t.same(numbers(await none.take(1)), [5])
})

t.test('an invalid number of events is refused', async (t) => {
  const chat = await Chat.start(t)
  for (const rewind of ['', '-1', '1.5', '1e3', 'x', '1000000', ' 1', '1&rewind=2']) {
    const response = await fetch(`${chat.url}?rewind=${rewind}`)
    t.equal(response.status, 400, rewind)
    t.match(await response.json(), { code: 'RT_REWIND_INVALID' })
  }
  t.equal(chat.app.chatEvents.stats().localChats, 0)
})

t.test('a rewind above maxRewind is refused, with the limit and the fix', async (t) => {
  for (const [options, most] of [[{}, 1_000], [{ maxRewind: 2 }, 2], [{ maxRewind: 0 }, 0]] as const) {
    const chat = await Chat.start(t, options)
    const response = await fetch(`${chat.url}?rewind=${most + 1}`)
    t.equal(response.status, 400)
    const message = 'rewind in the query must be a number of events, given once or once for each chat, ' +
      `from 0 to ${most}, got ${most + 1}. Request fewer events, or raise maxRewind.`
    t.match(await response.json(), { message })
    t.match(await (await chat.open(`?rewind=${most}`)).next(), { event: 'ready' })
  }
})

t.test('a rewind over many pages delivers every event once and in order, even ones published meanwhile', async (t) => {
  const server = await RedisServer.start()
  t.teardown(() => server.stop())
  for (const options of [{ redisUrl: server.url }, {}]) {
    const chat = await Chat.start(t, options)
    await chat.publish(400, 'x'.repeat(4_000))
    const streams = [await chat.open('?rewind=390'), await chat.open('?rewind=1000')]
    for (const stream of streams) t.match(await stream.next(), { event: 'ready', data: { resumed: false } })
    const later = chat.publish(50, 'x'.repeat(4_000))
    t.same(numbers(await (streams[0] as EventStream).take(440)), range(11, 450))
    t.same(numbers(await (streams[1] as EventStream).take(450)), range(1, 450))
    await later
  }
})

t.test('a client with an invalid cursor gets a reset, and continues from now', async (t) => {
  const chat = await Chat.start(t)
  const [id] = await chat.publish(1)
  for (const lastEventId of ['x', `${id}x`, 'e-1-1234567890123456', '{"a":1}']) {
    const stream = await chat.open('', lastEventId)
    t.match(await stream.take(2), [
      { event: 'ready', id, data: { resumed: false } },
      { event: 'reset', id, data: { reason: 'invalid', certain: false } }
    ])
  }
  for (const query of [`?lastEventId=${id}&lastEventId=${id}`, '?lastEventId=&lastEventId=']) {
    const stream = await chat.open(query)
    t.match(
      await stream.take(2),
      [
        { event: 'ready', id, data: { resumed: false } },
        { event: 'reset', id, data: { reason: 'invalid', certain: false } }
      ],
      query
    )
  }
  const goesOn = await chat.open('?lastEventId=x')
  await goesOn.take(2)
  await chat.publish(1)
  t.same(numbers(await goesOn.take(1)), [2])
})

t.test('a position that is not a string is invalid, with any query parser of the app', async (t) => {
  for (const lastEventId of [{ a: '1' }, ['a', 'b'], null, 5, Object.create(null)]) {
    const { url } = await startApp(t, {}, {
      server: { routerOptions: { querystringParser: () => ({ lastEventId, chat: ['c', 'd'] }) } }
    })
    const stream = await EventStream.open(t, `${url}/api/chats/c/events?`)
    t.match(await stream.take(2), [{ event: 'ready' }, { event: 'reset', data: { reason: 'invalid' } }])
    const several = await EventStream.open(t, `${url}/api/chats/events?`)
    t.same((await several.take(4)).map(({ event }) => event), ['ready', 'reset', 'ready', 'reset'])
  }
})

t.test('a client that reconnects after a restart gets a reset', async (t) => {
  const before = await Chat.start(t)
  const [id = ''] = await before.publish(1)
  await before.app.close()
  const after = await Chat.start(t)
  const [newId] = await after.publish(1)
  t.match(await after.reset(id), [
    { event: 'ready', id, data: { resumed: false } },
    { event: 'reset', id: newId, data: { reason: 'epoch', certain: false } }
  ])
})

t.test('a client that is ahead of the log, or followed another log, gets a reset', async (t) => {
  const chat = await Chat.start(t)
  const ids = await chat.publish(3)
  const [epoch, , tag] = (ids[1] as string).split('-')
  t.match(await chat.reset(`${epoch}-9-${tag}`), [
    { event: 'ready', id: `${epoch}-9-${tag}`, data: { resumed: false } },
    { event: 'reset', id: ids[2], data: { reason: 'ahead', certain: false } }
  ])
  for (const forged of [`${epoch}-2-1`, `${epoch}-3-${tag}`]) {
    t.match(await chat.reset(forged), [
      { event: 'ready', id: forged, data: { resumed: false } },
      { event: 'reset', id: ids[2], data: { reason: 'diverged', certain: true } }
    ])
  }
})

t.test('a client that was away for more events than the history keeps gets a reset', async (t) => {
  const chat = await Chat.start(t, { history: { size: 3 } })
  const ids = await chat.publish(10)
  t.match(await chat.reset(ids[5] as string), [
    { event: 'ready', id: ids[5] }, { event: 'reset', id: ids[9], data: { reason: 'trimmed', certain: true } }
  ])
  const stream = await chat.open('', ids[6])
  t.match(await stream.next(), { data: { resumed: true } })
  t.same(numbers(await stream.take(3)), [8, 9, 10])
})

t.test('a client that was away for longer than the history keeps events gets a reset', async (t) => {
  const chat = await Chat.start(t, { history: { ttlMs: 50 } })
  const ids = await chat.publish(2)
  const { eventLog: log } = chat.app.pubsub as LocalPubSub
  while ((await log?.read('chat:c', undefined, 1))?.entries.length !== 0) await new Promise(setImmediate)
  t.match(await chat.reset(ids[0] as string), [
    { event: 'ready', id: ids[0] }, { event: 'reset', id: ids[1], data: { reason: 'expired', certain: true } }
  ])
  const atTop = await chat.open('', ids[1])
  t.match(await atTop.next(), { id: ids[1], data: { resumed: true } }, 'a client that missed nothing gets no event')
})

t.test('ephemeral events have no id and are not replayed', async (t) => {
  const chat = await Chat.start(t)
  const stream = await chat.open()
  const { id } = await stream.next()
  await chat.app.chatEvents.emitBotAction('c', { actionType: 'typing' }, { ephemeral: true })
  chat.app.chatEvents.emit('c', { type: 'bot_action', action: { actionType: 'here' } })
  t.match((await stream.take(2)).map(({ event, id }) => [event, id]), [
    ['bot_action', undefined], ['bot_action', undefined]
  ])
  stream.close()
  await chat.publish(1)
  const again = await chat.open('', id)
  t.match(await again.next(), { id, data: { resumed: true } })
  t.same(numbers(await again.take(1)), [1])
})

t.test('without history there are no ids, and each client starts now', async (t) => {
  const chat = await Chat.start(t, { history: false })
  t.same(await chat.publish(1), [undefined])
  const streams = [await chat.open('', 'e-1-1'), await chat.open('?rewind=5'), await chat.open('', 'x')]
  for (const stream of streams) {
    t.match(await stream.next(), { event: 'ready', id: undefined, data: { resumed: false } })
  }
  await chat.publish(1)
  for (const stream of streams) {
    const event = await stream.next()
    t.equal(event.id, undefined)
    t.same(numbers([event]), [2])
  }
})

t.test('the eventsource package resumes by itself after its connection was cut', async (t) => {
  const chat = await Chat.start(t, { retryMs: 0 })
  const sockets = new Set<Socket>()
  chat.app.server.on('connection', (socket: Socket) => { sockets.add(socket) })
  const source = new EventSource(chat.url)
  t.teardown(() => source.close())
  const seen: number[] = []
  const resumed: boolean[] = []
  let changed = (): void => {}
  source.addEventListener('ready', ({ data }) => { resumed.push(JSON.parse(data).resumed) })
  source.addEventListener('reset', () => t.fail('nothing is lost'))
  source.addEventListener('message', ({ data }) => { seen.push(JSON.parse(data).message.n); changed() })
  await once(source, 'ready')
  for (let cut = 0; cut < 4; cut++) {
    await chat.publish(10)
    for (const socket of sockets) socket.destroy()
    sockets.clear()
    await chat.publish(10)
    while (seen.length < 20 * (cut + 1)) await new Promise<void>((resolve) => { changed = resolve })
  }
  t.same(seen, range(1, 80))
  t.same(resumed, [false, true, true, true, true])
})
