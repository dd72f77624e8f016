import t, { type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import type { BotMessage, EventLog, RedisPubSub, StateStore } from '../../lib/index.ts'
import { BotMessageReader } from '../support/bot-message-reader.ts'
import { startApp } from '../support/app.ts'
import { EventStream, type StreamEvent } from '../support/event-stream.ts'
import { RedisServer } from '../support/redis-server.ts'
import { nothingUnhandled } from '../support/unhandled.ts'
import { until } from '../support/until.ts'

const LEASE = 4_000

t.beforeEach(nothingUnhandled)
t.setTimeout(120_000)

/** Losses of a chat, by the ends of its keys: evicted, deleted, or expired while the app and Redis slept. */
const losses: Record<string, string[]> = {
  nothing: [],
  fields: [':f'],
  content: [':d:answer:a'],
  leases: [':l'],
  meta: [':m'],
  log: [':s'],
  'what expires first': [':f', ':l', ':s'],
  'what expires first and the position': [':f', ':l', ':m'],
  everything: [':f', ':l', ':m', ':s']
}

interface Reader { stream: EventStream, reader: BotMessageReader, resets: unknown[] }

interface Setup { apps: [FastifyInstance, FastifyInstance], admin: Redis, open: (chatId: string) => Promise<Reader[]> }

/** Two instances, and a reader of a chat on each. */
async function start (t: Test): Promise<Setup> {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const options = { redisUrl: redis.url, botMessageWindowMs: 0, botMessageLeaseMs: LEASE }
  const sides = await Promise.all(['one', 'two'].map((instanceId) => startApp(t, { ...options, instanceId })))
  for (const { app } of sides) await until(async () => await app.pubsub.isHealthy(), (healthy) => healthy === true)
  const admin = new Redis(redis.url)
  t.teardown(() => { admin.disconnect() })
  const open = (chatId: string): Promise<Reader[]> => Promise.all(sides.map(async ({ url }) => {
    const stream = await EventStream.open(t, `${url}/api/chats/${encodeURIComponent(chatId)}/events`)
    const reader = new BotMessageReader()
    reader.take(await stream.next())
    return { stream, reader, resets: [] }
  }))
  return { apps: sides.map(({ app }) => app) as Setup['apps'], admin, open } // Two, as above.
}

/** The bot message of a process that was killed. */
async function leaveMessage (app: FastifyInstance, chatId: string): Promise<void> {
  const { state } = app.pubsub as RedisPubSub & { state: StateStore } // Redis has both.
  const draft = { field: 'answer:a', owner: 'a process that was killed', leaseMs: LEASE }
  const value = JSON.stringify({ format: 'text', startedAt: 0 })
  await state.change(`chat:${chatId}`, { operation: 'open', ...draft, value, key: 'bot_message:a' })
  const piece = { at: 0, end: 5, content: 'Once ' }
  await state.change(`chat:${chatId}`, { operation: 'append', ...draft, piece })
}

async function lose (admin: Redis, chatId: string, ends: string[]): Promise<void> {
  if (ends.length > 0) await admin.del(ends.map((end) => `rt:{chat:${encodeURIComponent(chatId)}}${end}`))
}

/** Reads on until an event is the one that is waited for. */
async function read ({ stream, reader, resets }: Reader, isLast: (event: StreamEvent) => boolean): Promise<void> {
  for (;;) {
    const event = await stream.next()
    if (event.event === 'reset') resets.push(event.data)
    reader.take(event)
    if (isLast(event)) return
  }
}

async function endsOf (app: FastifyInstance, chatId: string): Promise<BotMessage[]> {
  const { eventLog: log } = app.pubsub as RedisPubSub & { eventLog: EventLog } // Redis has one.
  const { entries } = await log.read(`chat:${chatId}`, undefined, 1_000)
  const ends = entries.filter(({ event }) => event === 'bot_message')
  return ends.map(({ json }) => JSON.parse(json.toString()) as BotMessage)
}

/** Runs each in its own chat, at the same time. */
async function forEachLoss (each: (name: string, keys: string[]) => Promise<void>): Promise<void> {
  await Promise.all(Object.entries(losses).map(([name, keys]) => each(name, keys)))
}

const isEnd = ({ event, id }: StreamEvent): boolean => event === 'bot_message' && id !== undefined

t.test('a bot message continues after any data loss in Redis, and is finalized once with its whole text', async (t) => {
  const { apps: [app, other], admin, open } = await start(t)
  await forEachLoss(async (chatId, keys) => {
    const readers = await open(chatId)
    const botMessage = await app.chatEvents.startBotMessage(chatId, { id: 'a' })
    await botMessage.append('Once ')
    for (const { stream, reader } of readers) await reader.text(stream, 'a', 'Once ')
    await lose(admin, chatId, keys)
    // The next renewal finds out, though nothing is appended.
    const fields = `rt:{chat:${encodeURIComponent(chatId)}}:f`
    await until(() => admin.hget(fields, '=answer%3Aa'), (record) => / 5 /.test(record ?? ''))
    await botMessage.append('upon ')
    for (const reader of readers) await read(reader, () => reader.reader.texts.get('a') === 'Once upon ')
    await lose(admin, chatId, keys)
    t.same(await botMessage.finish(), { status: 'finished' }, chatId)
    const end = { id: 'a', status: 'finished', text: 'Once upon ' }
    for (const reader of readers) await read(reader, isEnd)
    await other.chatEvents.emitChatMessage(chatId, {})
    for (const { stream, reader } of readers) {
      t.match(await stream.next(), { event: /^message$/ }, `${chatId}: and nothing comes after it`)
      t.match(reader.ends.get('a'), [end], chatId)
      t.same(reader.faults, [], chatId)
    }
    t.match(await endsOf(other, chatId), [end], chatId)
  })
})

t.test('after any data loss in Redis, a message without a producer ends once, or readers get a reset', async (t) => {
  const { apps: [app, other], admin, open } = await start(t)
  await forEachLoss(async (chatId, keys) => {
    const readers = await open(chatId)
    await leaveMessage(app, chatId)
    for (const { stream, reader } of readers) await reader.text(stream, 'a', 'Once ')
    await lose(admin, chatId, keys)
    const isForgotten = keys.includes(':f') && keys.includes(':m')
    for (const reader of readers) await read(reader, isForgotten ? ({ event }) => event === 'reset' : isEnd)
    await other.chatEvents.emitChatMessage(chatId, {})
    const ends = isForgotten ? [] : [{ id: 'a', status: 'interrupted', text: 'Once ' }]
    for (const { stream, reader, resets } of readers) {
      t.match(await stream.next(), { event: /^message$/ }, `${chatId}: and nothing comes after it`)
      t.match(reader.ends.get('a') ?? [], ends, chatId)
      t.match(resets, isForgotten || keys.includes(':m') ? [{ reason: 'epoch' }] : [], chatId)
      t.same(reader.faults, [], chatId)
      if (isForgotten) t.same([...reader.texts], [], `${chatId}: it shows none any more`)
    }
    t.match(await endsOf(other, chatId), ends, chatId)
  })
})

t.test('a bot message that Redis lost while the chat had no reader ends once the chat is opened', async (t) => {
  const { apps: [app], admin, open } = await start(t)
  await Promise.all([[':f'], [':f', ':l'], [':m']].map(async (keys) => {
    const chatId = keys.join('').replaceAll(':', '')
    await leaveMessage(app, chatId)
    await lose(admin, chatId, keys)
    const readers = await open(chatId)
    for (const reader of readers) await read(reader, isEnd)
    const end = { status: 'interrupted', text: keys.includes(':m') ? 'Once ' : '' }
    for (const { reader } of readers) t.match(reader.ends.get('a'), [end], chatId)
    t.equal((await endsOf(app, chatId)).length, 1, chatId)
  }))
})
