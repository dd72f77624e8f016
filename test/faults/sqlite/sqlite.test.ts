import t from 'tap'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { ChatEvents, type ChatEvent } from '../../../lib/index.ts'
import { createOutbox } from '../../../lib/outbox/index.ts'
import { keepLog } from '../../support/log.ts'
import { open, startRedis } from '../../support/redis.ts'
import { openSqlite } from '../../support/sqlite.ts'
import { until } from '../../support/until.ts'
import { ProcessGroup } from '../process-group.ts'
import { Random } from '../random.ts'

const CHATS = ['a', 'b', 'c', 'd']
const WRITERS = 2
const RELAYS = 2
/** With `LONG=1`, as in `npm run test:long`, five minutes; in CI one. */
const RUN_MS = 1_000 * Number(process.env.LONG === undefined ? process.env.DATABASE_SECONDS ?? 20 : 300)
const PATIENCE_MS = 60_000
const LEASE_MS = 500

type Fault = 'kill writer' | 'kill relay' | 'freeze relay'
const FAULTS: Fault[] = ['kill writer', 'kill relay', 'kill relay', 'freeze relay']

t.setTimeout(RUN_MS + 2 * PATIENCE_MS)

t.test('what was committed to SQLite is published once and in order, despite all faults', async (t) => {
  const random = new Random()
  t.comment(`SEED=${random.seed}`)
  const folder = await mkdtemp(join(tmpdir(), 'sqlite-'))
  t.teardown(() => rm(folder, { recursive: true }))
  const file = join(folder, 'app.db')
  const { query } = openSqlite(t, file)
  for (const setting of ['busy_timeout = 10000', 'journal_mode = WAL']) query(`PRAGMA ${setting}`)
  query('CREATE TABLE items (id INTEGER PRIMARY KEY AUTOINCREMENT, chat TEXT, body TEXT)')
  const outbox = createOutbox({ dialect: 'sqlite', query })
  await outbox.migrate()

  const redis = await startRedis(t)
  const chatEvents = new ChatEvents(open(t, { url: redis.url }), keepLog())
  const received = new Map<string, unknown[]>()
  for (const chatId of CHATS) {
    const messages: unknown[] = []
    received.set(chatId, messages)
    chatEvents.onChatEvent(chatId, (event: ChatEvent) => { messages.push((event as { message?: unknown }).message) })
    // Nothing is published before it listens.
    await until(() => chatEvents.emitChatMessage(chatId, {}).then(() => messages.length), (length) => length > 0)
  }

  const env = {
    DATABASE_FILE: file, REDIS_URL: redis.url, LEASE_MS: String(LEASE_MS), CHATS: CHATS.join(',')
  }
  const start = (name: string, count: number): Promise<ProcessGroup> =>
    ProcessGroup.start(t, count, new URL(`./${name}.js`, import.meta.url), env)
  const writers = await start('writer', WRITERS)
  const relays = await start('relay', RELAYS)

  const suffer = async (fault: Fault): Promise<void> => {
    const index = Math.floor(random.next() * 2)
    if (fault === 'kill writer') return await writers.kill(index)
    if (fault === 'kill relay') return await relays.kill(index)
    for (const process of relays.all) {
      process.freeze()
      await delay(2 * LEASE_MS)
      process.thaw()
    }
  }

  const end = performance.now() + RUN_MS
  const counts: Partial<Record<Fault, number>> = {}
  while (performance.now() < end) {
    for (const fault of random.shuffled(FAULTS)) {
      await delay(random.next() * 1_000)
      await suffer(fault)
      counts[fault] = (counts[fault] ?? 0) + 1
    }
  }
  await Promise.all(writers.all.map((writer) => writer.stop()))
  // The others may have ended.
  const relay = outbox.startRelay({ chatEvents })
  t.teardown(() => relay.stop())
  await until(() => outbox.stats(), ({ waiting }) => waiting === 0, PATIENCE_MS)

  let total = 0
  for (const [chatId, messages] of received) {
    const rows = query('SELECT id, body FROM items WHERE chat = ? ORDER BY id', [chatId]).map((row) => ({ ...row }))
    const published = (): unknown[] => messages.filter((message) => Object.hasOwn(message as object, 'id'))
    await until(async () => published().length, (length) => length >= rows.length, PATIENCE_MS)
    t.same(published(), rows, `the rows of ${chatId} were published once, in the order of their commits`)
    total += rows.length
  }
  t.equal((await outbox.stats()).setAside, 0, 'no row was set aside')
  t.ok(total > 0, 'there were rows')
  t.comment(JSON.stringify({ rows: total, counts }))
})
