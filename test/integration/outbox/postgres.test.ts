import t from 'tap'
import type pg from 'pg'
import type { ChatEvent } from '../../../lib/index.ts'
import { createOutbox } from '../../../lib/outbox/index.ts'
import { startApp } from '../../support/app.ts'
import { openPool, PostgresServer, queryOf } from '../../support/postgres.ts'
import { startRedis } from '../../support/redis.ts'
import { until } from '../../support/until.ts'
import { listenAt, startOutbox, transaction } from './setup.ts'

const skip = PostgresServer.skip

interface Numbered { message: { n: number } }

/** The numbers of the messages that a handler has received. */
function numbersOf (events: ChatEvent[]): number[] {
  return events.map((event) => (event as unknown as Numbered).message.n)
}

const message = (n: number): { type: 'message', message: { n: number } } => ({ type: 'message', message: { n } })

t.test('an outbox in PostgreSQL', { skip }, async (t) => {
  const redis = await startRedis(t)
  const { server, pool, outbox } = await startOutbox(t)

  await t.test('events of committed transactions are published, those of others are not', async (t) => {
    const { app } = await startApp(t, { redisUrl: redis.url, outbox })
    const received: ChatEvent[] = []
    app.chatEvents.onChatEvent('commit', (event) => { received.push(event) })
    await transaction(pool, async (client) => { await outbox.add(queryOf(client), 'commit', message(1)) })
    await t.rejects(transaction(pool, async (client) => {
      await outbox.add(queryOf(client), 'commit', message(2))
      throw new Error('rolled back')
    }), { message: 'rolled back' })
    await transaction(pool, async (client) => { await outbox.add(queryOf(client), 'commit', message(3)) })
    await until(async () => received.length, (length) => length === 2)
    t.same(numbersOf(received), [1, 3])
    t.same(await outbox.stats(), { waiting: 0, oldestSeconds: 0, setAside: 0 })
  })

  await t.test('events of a chat are published in the order of the commits', async (t) => {
    const [one, two] = [await pool.connect(), await pool.connect()]
    await one.query('BEGIN')
    await two.query('BEGIN')
    // The first transaction draws the first id of the sequence, and would commit last.
    await outbox.add(queryOf(one), 'order', message(1))
    const second = outbox.add(queryOf(two), 'order', message(2)).then(() => two.query('COMMIT'))
    await until(async () => await waitingLocks(pool), (count) => count === 1)
    await outbox.add(queryOf(one), 'order', message(3))
    await one.query('COMMIT')
    await second
    one.release()
    two.release()
    const { rows } = await pool.query('SELECT event FROM realtime_outbox ORDER BY id')
    t.same(rows.map(({ event }) => JSON.parse(event).message.n), [1, 3, 2])
    const { app } = await startApp(t, { redisUrl: redis.url })
    const received: ChatEvent[] = []
    app.chatEvents.onChatEvent('order', (event) => { received.push(event) })
    const relay = outbox.startRelay({ chatEvents: app.chatEvents, log: app.log })
    await until(async () => received.length, (length) => length === 3)
    t.same(numbersOf(received), [1, 3, 2])
    await relay.stop()
  })

  await t.test('transactions of different chats do not wait for each other', async (t) => {
    const [one, two] = [await pool.connect(), await pool.connect()]
    await one.query('BEGIN')
    await two.query('BEGIN')
    await outbox.add(queryOf(one), 'apart 1', message(1))
    await outbox.add(queryOf(two), 'apart 2', message(2))
    await two.query('ROLLBACK')
    await one.query('ROLLBACK')
    one.release()
    two.release()
    t.pass('both statements have returned')
  })

  await t.test('a row with a key is added once while it waits, and published once', async (t) => {
    await outbox.add(queryOf(pool), 'key', message(1), { key: 'a' })
    await outbox.add(queryOf(pool), 'key', message(2), { key: 'a' })
    await outbox.add(queryOf(pool), 'another', message(3), { key: 'a' })
    t.same(await outbox.stats().then(({ waiting }) => waiting), 2)
    const { app } = await startApp(t, { redisUrl: redis.url, outbox })
    const received: ChatEvent[] = []
    app.chatEvents.onChatEvent('key', (event) => { received.push(event) })
    await until(async () => received.length, (length) => length === 1)
    await outbox.add(queryOf(pool), 'key', message(4), { key: 'a' })
    await outbox.add(queryOf(pool), 'key', message(5))
    await until(async () => received.length, (length) => length === 2)
    t.same(numbersOf(received), [1, 5])
    // An app may let its clients choose the keys of other publishes.
    const { duplicate } = await app.chatEvents.emitChatMessage('key', { n: 6 }, { idempotencyKey: 'a' })
    t.equal(duplicate, false)
  })

  await t.test('two relays take turns, and a stopped one hands over at once', async (t) => {
    const query = queryOf(openPool(t, server.url))
    const outboxes = [outbox, createOutbox({ query, listen: listenAt(t, server.url), dialect: 'postgres' })]
    const { app } = await startApp(t, { redisUrl: redis.url })
    const received: ChatEvent[] = []
    app.chatEvents.onChatEvent('turns', (event) => { received.push(event) })
    const [first, second] = outboxes.map((each) => each.startRelay({ chatEvents: app.chatEvents }))
    for (let n = 1; n <= 20; n++) {
      await outbox.add(queryOf(pool), 'turns', message(n))
      if (n === 10) await first?.stop()
    }
    await until(async () => received.length, (length) => length === 20)
    t.same(numbersOf(received), Array.from({ length: 20 }, (_, n) => n + 1))
    await second?.stop()
  })
})

async function waitingLocks (pool: pg.Pool): Promise<number> {
  const { rows: [row] } = await pool.query('SELECT count(*)::int AS count FROM pg_locks WHERE NOT granted')
  return row.count
}
