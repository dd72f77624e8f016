import t, { type Test } from 'tap'
import { ChatEvents, LocalPubSub } from '../../../lib/index.ts'
import { createOutbox, type Outbox, type OutboxOptions, type Query } from '../../../lib/outbox/index.ts'
import { keepLog } from '../../support/log.ts'
import { openPool, PostgresServer, queryOf } from '../../support/postgres.ts'
import { openSqlite } from '../../support/sqlite.ts'
import { until } from '../../support/until.ts'
import { startOutbox, type PostgresOutbox } from './setup.ts'

/** A relay whose statements and publishes the test sees and holds back. */
interface ControlledRelay {
  /** The kinds of the statements that have returned. */
  ran: Kind[]
  /** The texts of the publishes that have begun. Relays do not share a log here, so a duplicate shows. */
  published: string[]
  /** Called before each statement. */
  before: (kind: Kind) => Promise<void> | void
  /** Called before each publish. */
  beforePublish: () => Promise<void> | void
  stop (): Promise<void>
}

type Kind = 'migrate' | 'claim' | 'release' | 'read' | 'delete' | 'set aside' | 'stats'

/** The kind of a statement of the relay, in PostgreSQL and in SQLite. */
function kindOf (sql: string): Kind {
  if (sql.startsWith('DELETE')) return 'delete'
  if (sql.includes('sum(')) return 'read'
  if (sql.includes('SET error')) return 'set aside'
  if (/^UPDATE .* SET owner/.test(sql)) return 'claim'
  if (/^(UPDATE|WITH released)/.test(sql)) return 'release'
  return sql.includes('AS waiting') ? 'stats' : 'migrate'
}

/** A lease that runs out during a test, and one that does not. */
const [SHORT, LONG] = [500, 60_000]

/** Starts a relay. All relays of a test use the same table. */
function startRelay (t: Test, options: Pick<OutboxOptions, 'query' | 'dialect'>, leaseMs: number): ControlledRelay {
  const made: ControlledRelay = {
    ran: [], published: [], before: () => {}, beforePublish: () => {}, stop: async () => await relay.stop()
  }
  const kept = keepLog()
  const pubsub = new LocalPubSub({ log: kept.log })
  t.teardown(() => pubsub.close())
  const chatEvents = new ChatEvents(pubsub, kept)
  chatEvents.publish = async (_chatId, event) => {
    made.published.push((event as unknown as { message: { text: string } }).message.text)
    await made.beforePublish()
    return { duplicate: false }
  }
  const outbox = createOutbox({ ...options, query: spied(options, made), leaseMs, pollMs: 20 })
  const relay = outbox.startRelay({ chatEvents, log: kept.log })
  t.teardown(() => relay.stop())
  return made
}

/** For SQLite, `before` must not return a promise. */
function spied ({ query, dialect }: Pick<OutboxOptions, 'query' | 'dialect'>, made: ControlledRelay): Query {
  if (dialect === 'sqlite') {
    return (sql, params) => {
      made.before(kindOf(sql))
      const rows = query(sql, params)
      made.ran.push(kindOf(sql))
      return rows
    }
  }
  return async (sql, params) => {
    await made.before(kindOf(sql))
    const rows = await query(sql, params)
    made.ran.push(kindOf(sql))
    return rows
  }
}

const message = (text: string): { type: 'message', message: { text: string } } =>
  ({ type: 'message', message: { text } })

function gate (): { open: () => void, opened: Promise<void> } {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => { open = resolve })
  return { open, opened }
}

/** Resolves once a statement of this kind has returned. */
const returned = (relay: ControlledRelay, kind: Kind): Promise<void> =>
  until(async () => relay.ran, (ran) => ran.includes(kind))

/** Resolves once so many publishes have begun. */
const begun = (relay: ControlledRelay, count: number): Promise<void> =>
  until(async () => relay.published.length, (length) => length === count)

const empty = (outbox: Outbox): Promise<void> => until(() => outbox.stats(), ({ waiting }) => waiting === 0)

interface SharedDatabase {
  outbox: Outbox
  add: (chatId: string, text: string) => Promise<void>
  /** Starts a relay that ends with the test. */
  start: (t: Test, leaseMs: number) => ControlledRelay
}

async function openPostgres (t: Test): Promise<SharedDatabase & PostgresOutbox> {
  const made = await startOutbox(t)
  const { server, pool, outbox } = made
  return {
    ...made,
    add: async (chatId, text) => { await outbox.add(queryOf(pool), chatId, message(text)) },
    start: (t, leaseMs) => startRelay(t, { dialect: 'postgres', query: queryOf(openPool(t, server.url)) }, leaseMs)
  }
}

async function openMemory (t: Test): Promise<SharedDatabase> {
  const { query } = openSqlite(t)
  const outbox = createOutbox({ query, dialect: 'sqlite' })
  await outbox.migrate()
  return {
    outbox,
    add: async (chatId, text) => { outbox.add(query, chatId, message(text)) },
    start: (t, leaseMs) => startRelay(t, { dialect: 'sqlite', query }, leaseMs)
  }
}

async function check (t: Test, { outbox, add, start }: SharedDatabase): Promise<void> {
  await t.test('while a relay has the lease, another one neither reads nor publishes', async (t) => {
    const first = start(t, LONG)
    await returned(first, 'read')
    const second = start(t, LONG)
    await returned(second, 'claim')
    for (const text of ['a', 'b']) {
      await add('1', text)
      await empty(outbox)
    }
    t.same(first.published, ['a', 'b'])
    t.same(second.published, [])
    t.notOk(second.ran.includes('read'))
  })

  await t.test('a relay that has lost its lease during a publish publishes no further row', async (t) => {
    const first = start(t, SHORT)
    const { open: release, opened } = gate()
    first.beforePublish = () => opened
    await add('1', 'a')
    await add('1', 'b')
    await begun(first, 1)
    // It cannot extend its lease.
    first.before = (kind) => { if (kind === 'claim') throw new Error('unavailable') }
    const second = start(t, SHORT)
    await empty(outbox)
    t.same(second.published, ['a', 'b'])
    release()
    first.before = () => {}
    await second.stop()
    await add('1', 'c')
    await empty(outbox)
    t.same(first.published, ['a', 'c'])
  })

  await t.test('a row is deleted once its publish is acknowledged, not before', async (t) => {
    const relay = start(t, LONG)
    const { open: release, opened } = gate()
    relay.beforePublish = () => opened
    await add('1', 'a')
    await begun(relay, 1)
    // Its next turn deletes what was acknowledged, and reads this row.
    await add('2', 'b')
    await begun(relay, 2)
    t.equal((await outbox.stats()).waiting, 2)
    release()
    await empty(outbox)
  })
}

t.test('two relays in SQLite', async (t) => {
  await check(t, await openMemory(t))
})

t.test('two relays in PostgreSQL', { skip: PostgresServer.skip }, async (t) => {
  const database = await openPostgres(t)
  await check(t, database)

  await t.test('a lease that a hanging transaction has locked does not block a relay', async (t) => {
    const { pool, outbox, add, start } = database
    const client = await pool.connect()
    await client.query('BEGIN')
    await client.query('SELECT FROM realtime_outbox_lease FOR UPDATE')
    const relay = start(t, SHORT)
    await returned(relay, 'claim')
    t.notOk(relay.ran.includes('read'))
    await client.query('ROLLBACK')
    client.release()
    await add('1', 'a')
    await empty(outbox)
    t.same(relay.published, ['a'])
  })
})
