import t, { type Test } from 'tap'
import type { Redis } from 'ioredis'
import type { RealtimeOptions } from '../../../lib/index.ts'
import { createOutbox, type Outbox } from '../../../lib/outbox/index.ts'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { client, startRedis } from '../../support/redis.ts'
import { openSqlite } from '../../support/sqlite.ts'
import { until } from '../../support/until.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR

const message = (text: string): { type: 'message', message: { text: string } } =>
  ({ type: 'message', message: { text } })

const empty = (outbox: Outbox): Promise<void> => until(() => outbox.stats(), ({ waiting }) => waiting === 0)

/** An outbox whose relay ends between publishing a row and deleting it. */
async function publishAndDie (t: Test, options: RealtimeOptions): Promise<{ outbox: Outbox, lastEventId: string }> {
  const { query } = openSqlite(t)
  let deletes = 0
  const outbox = createOutbox({
    dialect: 'sqlite',
    query (sql, params) {
      if (sql.startsWith('DELETE') && ++deletes > 0) throw new Error('the process has ended')
      return query(sql, params)
    }
  })
  await outbox.migrate()
  outbox.add(query, '1', message('once'), { key: 'k' })
  const { app, url } = await startApp(t, { ...options, outbox })
  const stream = await EventStream.open(t, `${url}/api/chats/1/events?rewind=10`)
  let lastEventId: string | undefined
  for (let event; event?.event !== 'message';) {
    event = await stream.next()
    lastEventId = event.id ?? lastEventId
  }
  await until(async () => deletes, (count) => count > 0)
  await app.close()
  t.equal((await outbox.stats()).waiting, 1)
  // The same table, as the next process opens it.
  return { outbox: createOutbox({ query, dialect: 'sqlite', pollMs: 20 }), lastEventId: lastEventId as string }
}

/** Changes all keys of a Redis as if so much time had passed. */
async function passTime (redis: Redis, ms: number): Promise<void> {
  for (const key of await redis.keys('*')) {
    const left = await redis.pttl(key) - ms
    if (left > 0) await redis.pexpire(key, left)
    else await redis.del(key)
  }
}

t.test('a relay that returns a day later publishes no row twice', async (t) => {
  const { url: redisUrl } = await startRedis(t)
  const redis = client(t, redisUrl)
  const { outbox } = await publishAndDie(t, { redisUrl })
  const keys = await redis.keys('*:o:*')
  t.equal(keys.length, 1)
  const ttl = await redis.pttl(keys[0] as string)
  t.ok(ttl > 47 * HOUR && ttl <= 2 * DAY, 'two days, by default')
  await passTime(redis, 25 * HOUR)
  t.same(await redis.keys('*:s'), [], 'the event itself has expired')

  const { app } = await startApp(t, { redisUrl, outbox })
  const received: unknown[] = []
  app.chatEvents.onChatEvent('1', (event) => { received.push((event as { message?: unknown }).message) })
  await empty(outbox)
  await app.chatEvents.emitChatMessage('1', { text: 'next' })
  await until(async () => received.length, (length) => length > 0)
  t.same(received, [{ text: 'next' }])
})

t.test('a relay that returns after keyTtlMs publishes it again', async (t) => {
  const { url: redisUrl } = await startRedis(t)
  const { outbox } = await publishAndDie(t, { redisUrl })
  await passTime(client(t, redisUrl), 2 * DAY)
  const { app } = await startApp(t, { redisUrl, outbox })
  await empty(outbox)
  const { events } = await app.chatEvents.history('1')
  t.match(events.map(({ event }) => event), [{ message: { text: 'once' } }])
})

t.test('without Redis, a row is published again after a restart, but after the reset of each client', async (t) => {
  const { outbox, lastEventId } = await publishAndDie(t, {})
  const { app, url } = await startApp(t, {})
  const headers = { 'last-event-id': lastEventId }
  const stream = await EventStream.open(t, `${url}/api/chats/1/events`, { headers })
  const relay = outbox.startRelay({ chatEvents: app.chatEvents })
  t.teardown(() => relay.stop())
  t.match(await stream.next(), { event: 'ready' })
  t.match(await stream.next(), { event: 'reset' })
  t.match(await stream.next(), { event: 'message', data: { message: { text: 'once' } } })
})
