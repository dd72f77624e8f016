import t from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { createOutbox } from '../../../lib/outbox/index.ts'
import { openPool, PostgresServer, queryOf } from '../../support/postgres.ts'
import { RedisSentinel } from '../../support/redis-sentinel.ts'
import { client } from '../../support/redis.ts'
import { until } from '../../support/until.ts'
import { ProcessGroup } from '../process-group.ts'
import { Random } from '../random.ts'
import { Reader } from './reader.ts'

const CHATS = ['a', 'b', 'c', 'd']
const INSTANCES = 2
const RELAYS = 2
const WRITERS = 3
const READERS_PER_CHAT = 4
/** With `LONG=1`, as in `npm run test:long`, five minutes; in CI one. */
const RUN_MS = 1_000 * Number(process.env.LONG === undefined ? process.env.DATABASE_SECONDS ?? 30 : 300)
const PATIENCE_MS = 60_000
const LEASE_MS = 1_000
const TTL_MS = 3_000

type Fault =
  'kill writer' | 'kill relay' | 'freeze relay' | 'kill instance' | 'cut database' | 'restart redis' | 'flush redis' |
  'fail over' | 'leave'
const FAULTS: Fault[] = [
  'kill writer', 'kill relay', 'freeze relay', 'kill instance', 'cut database', 'restart redis', 'flush redis',
  'fail over', 'leave', 'leave'
]

t.setTimeout(RUN_MS + 3 * PATIENCE_MS)

t.test('what is in the database is on every screen, despite all faults', { skip: PostgresServer.skip }, async (t) => {
  const random = new Random()
  t.comment(`SEED=${random.seed}`)
  const database = await PostgresServer.start(t)
  const sentinel = await RedisSentinel.start()
  t.teardown(() => sentinel.stop())
  const pool = openPool(t, database.url)
  await pool.query('CREATE TABLE items (id bigserial PRIMARY KEY, chat text, body text, version int)')
  await pool.query('CREATE TABLE audit (id bigint, version int)')
  const outbox = createOutbox({ dialect: 'postgres', query: queryOf(pool) })
  await outbox.migrate()

  const env = {
    DATABASE_URL: database.url,
    REDIS_SENTINEL: JSON.stringify(sentinel.options),
    REALTIME: JSON.stringify({ history: { size: 100, ttlMs: TTL_MS } }),
    LEASE_MS: String(LEASE_MS),
    CHATS: CHATS.join(','),
    PACE_MS: '20'
  }
  const start = (name: string, count: number): Promise<ProcessGroup> =>
    ProcessGroup.start(t, count, new URL(`./${name}.js`, import.meta.url), env)
  const instances = await start('instance', INSTANCES)
  const relays = await start('relay', RELAYS)
  const writers = await start('writer', WRITERS)
  const readers = CHATS.flatMap((chatId) => Array.from({ length: READERS_PER_CHAT }, (_, n) => {
    const draws = random.of(`reader ${chatId} ${n}`)
    const reader = new Reader(chatId, () => draws.pick(instances.all).url)
    t.teardown(() => reader.close())
    return reader
  }))

  const suffer = async (fault: Fault): Promise<void> => {
    const one = (group: ProcessGroup): number => Math.floor(random.next() * group.all.length)
    switch (fault) {
      case 'kill writer': return await writers.kill(one(writers))
      case 'kill relay': return await relays.kill(one(relays))
      case 'kill instance': return await instances.kill(one(instances))
      case 'freeze relay': {
        // All of them, since only one has the lease: others take over meanwhile.
        for (const process of [...relays.all, ...instances.all]) {
          process.freeze()
          await delay(2 * LEASE_MS)
          process.thaw()
        }
        return
      }
      case 'cut database':
        await pool.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()')
        return
      case 'restart redis':
        return await (await sentinel.primary()).restart()
      case 'flush redis':
        // While a failover is under way, the Sentinels may still name a Redis that has become a replica.
        return await until(
          async () => await client(t, (await sentinel.primary()).url).flushall().catch(({ message }) => message),
          (answer) => answer === 'OK'
        )
      case 'fail over': {
        const switched = sentinel.switched()
        await (await sentinel.primary()).loseReplicas()
        await delay(200)
        await (await sentinel.primary()).kill()
        await switched
        return
      }
      case 'leave':
        for (const reader of readers) {
          if (random.next() < 0.5) reader.leave(random.pick([100, TTL_MS + 1_000]))
        }
    }
  }

  const end = performance.now() + RUN_MS
  const counts: Partial<Record<Fault, number>> = {}
  while (performance.now() < end) {
    for (const fault of random.shuffled(FAULTS)) {
      // The second failover would leave no primary.
      if (fault === 'fail over' && counts[fault] !== undefined) continue
      await delay(500 + random.next() * 1_000)
      await suffer(fault)
      counts[fault] = (counts[fault] ?? 0) + 1
    }
  }
  await Promise.all(writers.all.map((writer) => writer.stop()))
  await until(() => outbox.stats(), ({ waiting }) => waiting === 0, PATIENCE_MS)

  const totals = { readers: readers.length, rows: 0, changes: 0, loads: 0, reasons: {} as Record<string, number> }
  const { rows: audit } = await pool.query('SELECT id, version FROM audit')
  const committed = new Set(audit.map(({ id, version }) => `${id} ${version}`))
  for (const chatId of CHATS) {
    const { rows } = await pool.query('SELECT id, body, version FROM items WHERE chat = $1 ORDER BY id', [chatId])
    totals.rows += rows.length
    for (const reader of readers.filter((reader) => reader.chatId === chatId)) {
      const isSame = (): boolean => JSON.stringify(reader.items) === JSON.stringify(rows)
      await until(async () => isSame(), (same) => same, PATIENCE_MS).catch(() => {})
      t.same(reader.items, rows, `a page of ${chatId} shows the rows of the database`)
      const strangers = reader.changes.filter(({ id, version }) => !committed.has(`${id} ${version}`))
      t.same(strangers, [], 'it received only what was committed')
      const ids = reader.changes.map(({ eventId }) => eventId)
      t.equal(new Set(ids).size, ids.length, 'it received each event once')
      t.same(disorders(reader), [], 'between two loads, each item had one version after another')
      totals.changes += ids.length
      totals.loads += reader.reasons.length
      for (const reason of reader.reasons) totals.reasons[reason] = (totals.reasons[reason] ?? 0) + 1
    }
  }
  t.comment(JSON.stringify({ ...totals, committed: committed.size, counts }))
  t.equal((await outbox.stats()).setAside, 0, 'no row was set aside')
  t.ok(totals.changes > 0 && totals.loads > readers.length, 'there were events and resets')
})

/** The changes of an item that were not newer than the one before, without a load between them. */
function disorders ({ changes }: Reader): unknown[] {
  const last = new Map<string, { version: number, loads: number }>()
  return changes.filter(({ id, version, loads }) => {
    const before = last.get(id)
    last.set(id, { version, loads })
    return before?.loads === loads && version <= before.version
  })
}
