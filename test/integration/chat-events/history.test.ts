import t, { type Test } from 'tap'
import {
  ChatEvents, LocalPubSub, RedisPubSub, type EventLog, type HistoryPage, type HistoryQuery,
  type PubSubProvider
} from '../../../lib/index.ts'
import { budgets } from '../../../lib/core/budgets.ts'
import { keepLog } from '../../support/log.ts'
import { client } from '../../support/redis.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { wrongValues } from './history-values.ts'

t.beforeEach(nothingUnhandled)

const server = await RedisServer.start()
t.teardown(() => server.stop())
let count = 0

type LogProvider = PubSubProvider & { eventLog: EventLog | undefined }

const makers: Record<string, (options: { history?: false | { size: number } }) => LogProvider[]> = {
  LocalPubSub: (options) => Array<LogProvider>(2).fill(new LocalPubSub(options)),
  RedisPubSub: (options) => {
    const keyPrefix = `history${count++}:`
    return [1, 2].map(() => new RedisPubSub({ url: server.url, keyPrefix, ...options }))
  }
}

/** Two instances; over Redis they share only that. */
function open (t: Test, name: string, options: { history?: false | { size: number } } = {}): ChatEvents[] {
  return (makers[name] as (typeof makers)[string])(options).map((pubsub) => {
    t.teardown(() => pubsub.close())
    return new ChatEvents(pubsub, { ...keepLog(), retryMs: 0 })
  })
}

/** Publishes messages with the numbers from 1 on. Returns their ids, at the index of their number. */
async function fill (chatEvents: ChatEvents, chatId: string, most: number): Promise<string[]> {
  const ids = [await chatEvents.lastEventId(chatId)]
  for (let n = 1; n <= most; n++) ids.push((await chatEvents.emitChatMessage(chatId, { n })).id as string)
  return ids
}

const numbersOf = ({ events }: HistoryPage): unknown[] =>
  events.map(({ event }) => event.type === 'message' && (event.message as { n: number }).n)

for (const name of Object.keys(makers)) {
  t.test(`${name}: an instance that does not follow a chat knows the id of its last event`, async (t) => {
    const [one, two] = open(t, name) as [ChatEvents, ChatEvents]
    const start = await two.lastEventId('c')
    t.match(start, /^\w+-0-0$/, 'in an empty chat, the position before the first event')
    const [first, second] = (await fill(one, 'c', 2)).slice(1)
    t.equal(await two.lastEventId('c'), second)
    t.same(await two.stats(), { localChats: 0, remoteSubscriptions: 0, pubsubProvider: name.slice(0, 5).toLowerCase() })
    const page = await two.history('c', { after: start })
    t.same(page.events.map(({ id }) => id), [first, second], 'and the first event follows the empty chat')
  })

  t.test(`${name}: a page has the events as they were published, with their ids and times`, async (t) => {
    const [one, two] = open(t, name) as [ChatEvents, ChatEvents]
    const before = Date.now()
    const { id } = await one.emitChatMessage('c', { text: 'é€\n\u2028' })
    const { events, lastEventId, gap } = await two.history('c')
    t.same([lastEventId, gap], [id, null])
    t.match(events, [{ id, event: { type: 'message', chatId: 'c', message: { text: 'é€\n\u2028' } } }])
    const timestamp = events[0]?.timestamp as number
    t.ok(timestamp >= before && timestamp <= Date.now())
    t.same(Object.keys(events[0] ?? {}), ['id', 'timestamp', 'event'])
  })

  t.test(`${name}: pages are read from both ends, and between two events`, async (t) => {
    const [one, two] = open(t, name) as [ChatEvents, ChatEvents]
    const ids = await fill(one, 'c', 9)
    const page = async (query?: HistoryQuery): Promise<unknown[]> => {
      const read = await two.history('c', query)
      t.same([read.lastEventId, read.gap], [ids[9], null])
      return numbersOf(read)
    }
    t.same(await page(), [1, 2, 3, 4, 5, 6, 7, 8, 9])
    t.same(await page({ limit: 2 }), [8, 9])
    t.same(await page({ after: ids[0] as string, limit: 2 }), [1, 2])
    t.same(await page({ after: ids[7] as string }), [8, 9])
    t.same(await page({ after: ids[9] as string }), [])
    t.same(await page({ before: ids[3] as string }), [1, 2])
    t.same(await page({ before: ids[9] as string, limit: 2 }), [7, 8])
    t.same(await page({ before: ids[1] as string }), [])
    t.same(await page({ after: ids[2] as string, before: ids[8] as string, limit: 3 }), [3, 4, 5])
    t.same(await page({ after: ids[5] as string, before: ids[8] as string, limit: 3 }), [6, 7])
    t.same(await page({ after: ids[7] as string, before: ids[8] as string }), [])
  })

  t.test(`${name}: without a limit, a page has a hundred events`, async (t) => {
    const [one] = open(t, name) as [ChatEvents]
    await Promise.all(Array.from({ length: 101 }, (_, n) => one.emitChatMessage('c', { n })))
    t.equal((await one.history('c')).events.length, 100)
    t.equal((await one.history('c', { limit: 1_000 })).events.length, 101)
  })

  t.test(`${name}: an event id that cannot be followed gives the reason and no events`, async (t) => {
    const [one] = open(t, name) as [ChatEvents]
    const ids = await fill(one, 'c', 2)
    const [epoch] = String(ids[0]).split('-')
    for (const [gap, id] of [
      ['epoch', 'another-1-1'], ['ahead', `${epoch}-3-1`], ['diverged', `${epoch}-2-1`]
    ] as const) {
      const expected = { events: [], lastEventId: ids[2], gap }
      t.same(await one.history('c', { after: id }), expected)
      t.same(await one.history('c', { before: id }), expected)
      t.same(await one.history('c', { after: ids[0], before: id }), expected)
    }
  })

  t.test(`${name}: several chats are read at once, in the order in which they were given`, async (t) => {
    const [one, two] = open(t, name) as [ChatEvents, ChatEvents]
    const [a, b] = [await fill(one, 'a', 3), await fill(one, 'b', 2)]
    t.same(await two.lastEventId(['b', 'a', 'b']), [b[2], a[3], b[2]])
    t.match((await two.lastEventId(['a', 'none']))[1], /^\w+-0-0$/)
    const pages = await two.history(['b', 'a', 'none'], { limit: 2 })
    t.same(pages.map(numbersOf), [[1, 2], [2, 3], []])
    t.same(pages.slice(0, 2).map(({ lastEventId }) => lastEventId), [b[2], a[3]])
    const between = await two.history(['b', 'a'], { after: [b[1], a[0]], before: [undefined, a[3]] })
    t.same(between.map(numbersOf), [[2], [1, 2]])
    t.same((await two.history(['b', 'a'], { before: [a[1], a[3]] })).map(({ gap }) => gap), ['epoch', null])
    t.same([await two.lastEventId([]), await two.history([])], [[], []])
  })

  t.test(`${name}: the pages of several chats share the bytes of one, but each has an event`, async (t) => {
    const [one] = open(t, name) as [ChatEvents]
    const chats = Array.from({ length: 20 }, (_, n) => `c${n}`)
    const text = 'x'.repeat(30_000)
    await Promise.all(chats.flatMap((chatId) => [1, 2, 3].map((n) => one.emitChatMessage(chatId, { n, text }))))
    t.same((await one.history(chats)).map(numbersOf), chats.map(() => [3]))
    t.same(numbersOf(await one.history('c0')), [1, 2, 3])
    const four = await one.history(chats.slice(0, 4))
    t.same(four.map(numbersOf), [[2, 3], [2, 3], [2, 3], [2, 3]])
    t.ok(Buffer.byteLength(JSON.stringify(four.map(({ events }) => events))) <= budgets.page)
  })

  t.test(`${name}: a query that is wrong is refused with the place and the fix`, async (t) => {
    const [one] = open(t, name) as [ChatEvents]
    for (const [query, message] of wrongValues) {
      const expected = { code: 'RT_HISTORY_INVALID', statusCode: 400, message }
      await t.rejects(one.history('c', query), expected)
    }
    await t.rejects(one.history('c', null as never), { code: 'RT_OPTION_INVALID' })
    await t.rejects(one.history(['c'], 5 as never), { code: 'RT_OPTION_INVALID' })
    for (const after of ['e-1-1', [], ['e-1-1', 'e-2-2'], { length: 1 }, ['nonsense']]) {
      await t.rejects(one.history(['c'], { after } as never), { code: 'RT_HISTORY_INVALID', message: /`after` / })
    }
    const many = Array<string>(101).fill('c')
    const tooMany = { code: 'RT_HISTORY_INVALID', message: /At most 100 chats can be read at once, got 101/ }
    await t.rejects(one.history(many), tooMany)
    await t.rejects(one.lastEventId(many), tooMany)
    t.equal((await one.lastEventId(many.slice(1))).length, 100)
    for (const chatId of ['', 5, null, undefined, {}, '\ud800', 'x'.repeat(1_025)] as string[]) {
      for (const given of [chatId, [chatId], ['c', chatId]] as string[]) {
        await t.rejects(one.history(given), { code: 'RT_CHAT_ID_INVALID' })
        await t.rejects(one.lastEventId(given), { code: 'RT_CHAT_ID_INVALID' })
      }
    }
  })

  t.test(`${name}: without history there is no log to read`, async (t) => {
    const [one] = open(t, name, { history: false }) as [ChatEvents]
    const expected = { code: 'RT_HISTORY_UNAVAILABLE', message: /Turn on the option history/ }
    await t.rejects(one.lastEventId('c'), expected)
    await t.rejects(one.history('c'), expected)
  })
}

t.test('after a failover, the last event id is a marker, so that a stream from there misses nothing', async (t) => {
  const [one, two] = open(t, 'RedisPubSub') as [ChatEvents, ChatEvents]
  const ids = await fill(one, 'c', 2)
  const admin = client(t, server.url)
  const [meta] = await admin.keys(`history${count - 1}:{chat:c}:m`)
  await admin.hset(String(meta), 'r', 'of another Redis')
  const marker = await two.lastEventId('c')
  t.match(marker, /^\w+-3-\d+$/)
  t.same(numbersOf(await two.history('c', { after: marker })), [])
  t.same(await two.history('c', { after: ids[2] }), { events: [], lastEventId: marker, gap: 'failover' })
  const { id } = await one.emitChatMessage('c', { n: 3 })
  const after = await two.history('c', { after: ids[1] })
  t.same([numbersOf(after), after.gap, after.lastEventId], [[2, 3], 'failover', id])
  const before = await two.history('c', { before: id as string, limit: 1 })
  t.same([numbersOf(before), before.gap], [[2], 'failover'])
  t.same(numbersOf(await two.history('c', { after: marker })), [3], 'a page can begin behind the marker')
})

t.test('an event that this version cannot read makes a page that is not whole', async (t) => {
  const [one] = open(t, 'RedisPubSub') as [ChatEvents]
  const ids = await fill(one, 'c', 2)
  const admin = client(t, server.url)
  const key = `history${count - 1}:{chat:c}`
  await admin.xadd(`${key}:s`, '3-1', 'k', 'd', 'p', String(ids[2]).split('-')[2] as string, 'd', 'of a later version')
  const [epoch] = String(ids[2]).split('-')
  await admin.hset(`${key}:m`, 'l', '3-1')
  const last = await one.history('c', { limit: 2 })
  t.same([numbersOf(last), last.gap], [[2], 'diverged'])
  const only = await one.history('c', { limit: 1 })
  t.same([numbersOf(only), only.gap], [[], 'diverged'])
  t.same(await one.history('c', { after: ids[2] }), { events: [], lastEventId: `${epoch}-3-1`, gap: 'diverged' })
  const { id } = await one.emitChatMessage('c', { n: 4 })
  t.same(await one.history('c', { before: id as string }), { events: [], lastEventId: id, gap: 'diverged' })
  t.same(numbersOf(await one.history('c', { before: `${epoch}-3-1` })), [1, 2])
})

t.test('while a restarted Redis refuses to mark the log, what comes before an event can still be read', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const pubsub = new RedisPubSub({ url: redis.url })
  t.teardown(() => pubsub.close())
  const chatEvents = new ChatEvents(pubsub, { ...keepLog(), retryMs: 0 })
  const ids = await fill(chatEvents, 'c', 3)
  const admin = client(t, redis.url)
  await admin.hset('rt:{chat:c}:m', 'r', 'of another Redis')
  await admin.config('SET', 'maxmemory', '1')
  const newest = await chatEvents.history('c')
  t.same([numbersOf(newest), newest.gap], [[1, 2, 3], 'failover'])
  t.same(await chatEvents.history('c', { after: ids[1] }), { events: [], lastEventId: ids[3], gap: 'failover' })
  t.same(numbersOf(await chatEvents.history('c', { before: ids[3] })), [1, 2])
  t.equal((await chatEvents.history('c', { before: ids[3] })).gap, null)
  t.equal(await chatEvents.lastEventId('c'), ids[3])
  await redis.stop()
  await t.rejects(chatEvents.history('c'), { code: 'RT_LOG_UNAVAILABLE' })
  await t.rejects(chatEvents.lastEventId(['c']), { code: 'RT_LOG_UNAVAILABLE' })
})
