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

/** An instance of another version, which writes the same log: in one step, as every version must. */
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
    return await this.#redis.eval(script, 2, `${CHANNEL}:m`, `${CHANNEL}:s`, this.#version, randomInt(2 ** 47), this.#payload(n), CHANNEL) as string
  }
}

/** Two instances of this version with a client each, and a Redis for the others. `ignored` tells how many messages each could not read. */
async function start (t: Test): Promise<{ admin: Redis, publish: (n: number) => Promise<string>, streams: EventStream[], ignored: () => Promise<number>, comeBack: (id: string | undefined, query?: string) => Promise<EventStream> }> {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const { log, lines } = keepLog()
  const loggerInstance = log as FastifyBaseLogger // It is pino's.
  // With names of their own, or they would share one connection.
  const apps = await Promise.all(['one', 'two'].map(async (instanceId) => {
    const metrics = new Registry()
    return { metrics, ...await startApp(t, { redisUrl: redis.url, instanceId, metrics }, { server: { loggerInstance } }) }
  }))
  const open = (url: string, id?: string, query = ''): Promise<EventStream> => EventStream.open(t, `${url}/api/chats/c/events${query}`, id === undefined ? {} : { headers: { 'last-event-id': id } })
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
      // What is subscribed to now is confirmed behind all that was broadcast.
      for (const { app } of apps) await live(app.pubsub as RedisPubSub)
      const counts = await Promise.all(apps.map(async ({ metrics }) => (await metrics.getSingleMetric('pubsub_messages_ignored_total')?.get())?.values[0]?.value))
      t.same(counts, counts.map(() => counts[0]), 'counted by each')
      t.equal(lines.some(({ msg }) => msg === IGNORED), counts[0] as number > 0, 'and logged')
      return counts[0] as number
    },
    comeBack: (id, query) => open(url, id, query)
  }
}

const numbers = (events: StreamEvent[]): unknown[] => events.map(({ event, data }) => event === 'message' ? (data as { message: { n: number } }).message.n : event)

t.test('what a newer and an older version publish between ours is read from the log: nothing is lost, and what was ignored is counted', async (t) => {
  const { admin, publish, streams, ignored, comeBack } = await start(t)
  const [newer, older] = [new OtherVersion(admin, 2), new OtherVersion(admin, 0)]
  const ids: string[] = []
  for (let n = 1; n <= 60; n++) ids.push(n % 3 === 0 ? await publish(n) : await (n % 3 === 1 ? newer : older).publish(n))
  for (const stream of streams) {
    const events = await stream.take(60)
    t.same(numbers(events), Array.from({ length: 60 }, (_, n) => n + 1))
    t.same(events.map(({ id }) => id), ids)
  }
  t.equal(await ignored(), 40)
  const again = await comeBack(ids[9] as string)
  t.match(await again.next(), { event: 'ready', data: { resumed: true } })
  t.same(numbers(await again.take(50)), Array.from({ length: 50 }, (_, n) => n + 11))
})

t.test('when none of ours follows, the idle check finds it', async (t) => {
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

t.test('what can\'t be read in the log either is told, and all goes on', async (t) => {
  const { admin, publish, streams, ignored, comeBack } = await start(t)
  const [before, unreadable] = [await publish(1), await new OtherVersion(admin, 2, () => '\u0000\u0001').publish(2)]
  const reset = { event: 'reset', id: unreadable, data: { chatId: 'c', reason: 'diverged', certain: true } }
  for (const stream of streams) {
    t.same(numbers(await stream.take(1)), [1])
    t.match(await stream.next(), reset)
  }
  t.match(await (await comeBack(before)).take(2), [{ event: 'ready', id: before, data: { resumed: false } }, reset], 'who comes back, too')
  t.match(await (await comeBack(undefined, '?rewind=1')).next(), { event: 'ready', id: unreadable }, 'who is new begins behind it')
  const after = await publish(3)
  for (const stream of streams) t.match(await stream.next(), { id: after, data: { message: { n: 3 } } })
  t.equal(await ignored(), 1)
})
