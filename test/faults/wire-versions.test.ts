import t, { type Test } from 'tap'
import { randomInt } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import { Redis } from 'ioredis'
import { Registry } from 'prom-client'
import type { RedisPubSub } from '../../lib/index.ts'
import { startApp } from '../support/app.ts'
import { EventStream, type StreamEvent } from '../support/event-stream.ts'
import { live } from '../support/live.ts'
import { keepLog } from '../support/log.ts'
import { RedisServer } from '../support/redis-server.ts'

const CHANNEL = 'rt:{chat:c}'
const IGNORED = 'Ignored an unknown message; does another app use this keyPrefix?'

t.setTimeout(200_000)

/** An instance of another version that writes the same log: in one step, as every version must. */
class OtherVersion {
  readonly #redis: Redis
  readonly #version: number
  readonly #payload: (n: number) => string

  constructor (redis: Redis, version: number, payload = (n: number): string => `web 1 message {"message":{"n":${n}}}`) {
    this.#redis = redis
    this.#version = version
    this.#payload = payload
  }

  async publish (n: number): Promise<string> {
    const script = `
      local m = redis.call('HMGET', KEYS[1], 'e', 'l')
      local offset, tag = string.match(m[2], '(.+)-(.+)')
      local at = string.format('%.0f', offset + 1)
      local id = at .. '-' .. ARGV[2]
      redis.call('XADD', KEYS[2], id, 'k', 'd', 'p', tag, 'd', ARGV[3], 'new', 'field')
      redis.call('HSET', KEYS[1], 'l', id)
      redis.call('PUBLISH', ARGV[4], table.concat({ ARGV[1], m[1], at, ARGV[2], tag, 'zstd', 'd', ARGV[3] }, ' '))
      return m[1] .. '-' .. id`
    const args = [this.#version, randomInt(2 ** 47), this.#payload(n), CHANNEL]
    return await this.#redis.eval(script, 2, `${CHANNEL}:m`, `${CHANNEL}:s`, ...args) as string
  }
}

interface Setup {
  admin: Redis
  publish: (n: number) => Promise<string>
  streams: EventStream[]
  /** How many messages each instance could not read. */
  ignored: () => Promise<number>
  reconnect: (id: string | undefined, query?: string) => Promise<EventStream>
}

/** Two instances of this version with a client each, and a Redis for the others. */
async function start (t: Test): Promise<Setup> {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const { log, lines } = keepLog()
  const loggerInstance = log as FastifyBaseLogger // It is pino's.
  // With names of their own: otherwise they would share one connection.
  const apps = await Promise.all(['one', 'two'].map(async (instanceId) => {
    const metrics = new Registry()
    const options = { redisUrl: redis.url, instanceId, metrics }
    return { metrics, ...await startApp(t, options, { server: { loggerInstance } }) }
  }))
  const open = (url: string, id?: string, query = ''): Promise<EventStream> => {
    const headers = id === undefined ? {} : { headers: { 'last-event-id': id } }
    return EventStream.open(t, `${url}/api/chats/c/events${query}`, headers)
  }
  const streams = await Promise.all(apps.map(({ url }) => open(url)))
  for (const stream of streams) t.match(await stream.next(), { event: 'ready' })
  const [{ app }, { url }] = apps as [typeof apps[0], typeof apps[0]]
  const admin = new Redis(redis.url)
  t.teardown(() => { admin.disconnect() })
  return {
    admin,
    publish: async (n) => (await app.chatEvents.emitChatMessage('c', { n })).id as string,
    streams,
    ignored: async () => {
      // A subscription made now is confirmed after all earlier broadcasts.
      for (const { app } of apps) await live(app.pubsub as RedisPubSub)
      const counts = await Promise.all(apps.map(async ({ metrics }) => {
        return (await metrics.getSingleMetric('pubsub_messages_ignored_total')?.get())?.values[0]?.value
      }))
      t.same(counts, counts.map(() => counts[0]), 'counted by each')
      t.equal(lines.some(({ msg }) => msg === IGNORED), counts[0] as number > 0, 'and logged')
      return counts[0] as number
    },
    reconnect: (id, query) => open(url, id, query)
  }
}

const numbers = (events: StreamEvent[]): unknown[] => events.map(({ event, data }) => {
  return event === 'message' ? (data as { message: { n: number } }).message.n : event
})

t.test('events of a newer and an older version are read from the log without loss, and are counted', async (t) => {
  const { admin, publish, streams, ignored, reconnect } = await start(t)
  const [newer, older] = [new OtherVersion(admin, 2), new OtherVersion(admin, 0)]
  const ids: string[] = []
  for (let n = 1; n <= 60; n++) {
    ids.push(n % 3 === 0 ? await publish(n) : await (n % 3 === 1 ? newer : older).publish(n))
  }
  for (const stream of streams) {
    const events = await stream.take(60)
    t.same(numbers(events), Array.from({ length: 60 }, (_, n) => n + 1))
    t.same(events.map(({ id }) => id), ids)
  }
  t.equal(await ignored(), 40)
  const again = await reconnect(ids[9] as string)
  t.match(await again.next(), { event: 'ready', data: { resumed: true } })
  t.same(numbers(await again.take(50)), Array.from({ length: 50 }, (_, n) => n + 11))
})

t.test('the idle check finds an event of another version that no event of ours follows', async (t) => {
  const { admin, publish, streams, ignored } = await start(t)
  await publish(1)
  const id = await new OtherVersion(admin, 2).publish(2)
  for (const stream of streams) {
    const events = await stream.take(2)
    t.same(numbers(events), [1, 2])
    t.equal(events[1]?.id, id)
  }
  t.equal(await ignored(), 1)
})

t.test('an event that is unreadable in the log, too, is reported by a reset, and streams continue', async (t) => {
  const { admin, publish, streams, ignored, reconnect } = await start(t)
  const [before, unreadable] = [await publish(1), await new OtherVersion(admin, 2, () => '\u0000\u0001').publish(2)]
  const reset = { event: 'reset', id: unreadable, data: { chatId: 'c', reason: 'diverged', certain: true } }
  for (const stream of streams) {
    t.same(numbers(await stream.take(1)), [1])
    t.match(await stream.next(), reset)
  }
  const resumed = await (await reconnect(before)).take(2)
  t.match(resumed, [{ event: 'ready', id: before, data: { resumed: false } }, reset], 'a reconnecting client, too')
  const first = await (await reconnect(undefined, '?rewind=1')).next()
  t.match(first, { event: 'ready', id: unreadable }, 'a new client begins after it')
  const after = await publish(3)
  for (const stream of streams) t.match(await stream.next(), { id: after, data: { message: { n: 3 } } })
  t.equal(await ignored(), 1)
})
