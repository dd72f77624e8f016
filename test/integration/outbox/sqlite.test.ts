import t, { type Test } from 'tap'
import { ChatEvents, LocalPubSub, type ChatEvent } from '../../../lib/index.ts'
import { createOutbox, type Outbox, type OutboxOptions } from '../../../lib/outbox/index.ts'
import { startApp } from '../../support/app.ts'
import { keepLog, type KeptLog } from '../../support/log.ts'
import { openSqlite } from '../../support/sqlite.ts'
import { logged } from './setup.ts'
import { until } from '../../support/until.ts'

interface Stage extends KeptLog {
  query: (sql: string, params?: unknown[]) => object[]
  outbox: Outbox<'sqlite'>
  /** Publishes as the test says. */
  chatEvents: ChatEvents
  published: string[]
  /** Called before each publish with the chat and the text. */
  before: (chatId: string, text: string) => Promise<void> | void
}

/** An outbox in a SQLite of its own, and chat events that keep what was published. */
async function stage (t: Test, options: Partial<OutboxOptions> = {}): Promise<Stage> {
  const { query } = openSqlite(t)
  const kept = keepLog()
  const outbox = createOutbox({ query, pollMs: 20, ...options, dialect: 'sqlite' })
  await outbox.migrate()
  const chatEvents = new ChatEvents(new LocalPubSub({ log: kept.log }), { log: kept.log })
  const made: Stage = { ...kept, query, outbox, chatEvents, published: [], before: () => {} }
  const publish = chatEvents.publish.bind(chatEvents)
  chatEvents.publish = async (chatId, event, given) => {
    const { text = '' } = (event as unknown as { message?: { text?: string } }).message ?? {}
    await made.before(chatId, text)
    const receipt = await publish(chatId, event, given)
    if (!receipt.duplicate) made.published.push(`${chatId} ${text}`)
    return receipt
  }
  return made
}

const message = (text: string): { type: 'message', message: { text: string } } =>
  ({ type: 'message', message: { text } })

function run (t: Test, { outbox, chatEvents, log }: Stage): void {
  const relay = outbox.startRelay({ chatEvents, log })
  t.teardown(() => relay.stop())
}

const empty = (outbox: Outbox): Promise<void> => until(() => outbox.stats(), ({ waiting }) => waiting === 0)

t.test('events of committed transactions reach the app, those of others do not', async (t) => {
  const { query } = openSqlite(t)
  const outbox = createOutbox({ query, dialect: 'sqlite' })
  await Promise.all([outbox.migrate(), outbox.migrate()])
  const { app } = await startApp(t, { outbox })
  const received: ChatEvent[] = []
  app.chatEvents.onChatEvent('1', (event) => { received.push(event) })
  query('BEGIN')
  outbox.add(query, '1', message('rolled back'))
  query('ROLLBACK')
  query('BEGIN')
  outbox.add(query, '1', message('committed'))
  query('COMMIT')
  await empty(outbox)
  t.same(received.map((event) => (event as { message?: unknown }).message), [{ text: 'committed' }])
})

t.test('a transaction that the app keeps open is not read: its rows may be rolled back', async (t) => {
  const here = await stage(t)
  run(t, here)
  here.query('BEGIN')
  here.outbox.add(here.query, '1', message('open'))
  await logged(here, 'The outbox cannot use its database')
  here.query('ROLLBACK')
  here.outbox.add(here.query, '1', message('later'))
  await empty(here.outbox)
  t.same(here.published, ['1 later'])
  await logged(here, 'The outbox can use its database again')
})

t.test('what could never be published is refused before the insert', async (t) => {
  const { outbox, query } = await stage(t, { maxPayloadBytes: 100 })
  const refused: [code: string, chatId: string, event: object, key?: string][] = [
    ['RT_CHAT_ID_INVALID', '', message('a')],
    ['RT_CHAT_ID_INVALID', 'a\0', message('a')],
    ['RT_EVENT_TYPE_INVALID', '1', { type: 'ready' }],
    ['RT_PAYLOAD_INVALID', '1', { type: 'message', message: 1 }],
    ['RT_PAYLOAD_TOO_LARGE', '1', message('a'.repeat(100))],
    ['RT_IDEMPOTENCY_KEY_INVALID', '1', message('a'), ''],
    ['RT_IDEMPOTENCY_KEY_INVALID', '1', message('a'), 'a\0']
  ]
  for (const [code, chatId, event, key] of refused) {
    t.throws(() => outbox.add(query, chatId, event as never, key === undefined ? undefined : { key }), { code })
  }
  for (const answer of [async () => {}, async () => { throw new Error('unhandled') }]) {
    const slow = (sql: string, params: unknown[]): Promise<object[]> => {
      const rows = query(sql, params)
      return answer().then(() => rows)
    }
    t.throws(() => outbox.add(slow, '1', message('a')), { code: 'RT_OPTION_INVALID' })
  }
  t.equal((await outbox.stats()).waiting, 0)
})

t.test('a row that can never be published is set aside, and holds up no other one', async (t) => {
  const here = await stage(t)
  const insert = (chat: string, event: string, key: string): void => {
    here.query('INSERT INTO realtime_outbox (chat, event, key, added) VALUES (?, ?, ?, 0)', [chat, event, key])
  }
  insert('1', '{"secret', 'a')
  insert('1', '{"type":"ready"}', 'b')
  insert('', '{"type":"message","message":{}}', 'c')
  insert('1', '{"type":"message","message":{}}', '')
  insert('1', JSON.stringify(message('x'.repeat(70_000))), 'd')
  here.outbox.add(here.query, '1', message('next'))
  run(t, here)
  await empty(here.outbox)
  t.same(here.published, ['1 next'])
  t.equal((await here.outbox.stats()).setAside, 5)
  const rows = here.query('SELECT error FROM realtime_outbox ORDER BY id') as { error: string }[]
  t.same(rows.map(({ error }) => error.split(':')[0]), [
    'RT_PAYLOAD_INVALID', 'RT_EVENT_TYPE_INVALID', 'RT_CHAT_ID_INVALID', 'RT_IDEMPOTENCY_KEY_INVALID',
    'RT_PAYLOAD_TOO_LARGE'
  ])
  await logged(here, 'A row of the outbox can never be published, so it was set aside')
  t.notMatch(here.text(), /secret/)
  // Its key can be added again.
  here.outbox.add(here.query, '1', message('again'), { key: 'a' })
  await empty(here.outbox)
  t.same(here.published, ['1 next', '1 again'])
})

t.test('a temporary failure keeps the order of a chat, and holds up no other one', async (t) => {
  const here = await stage(t)
  let failures = 2
  here.before = (chatId) => {
    if (chatId === 'fails' && failures-- > 0) throw new Error('for now')
  }
  for (const text of ['1', '2', '3']) here.outbox.add(here.query, 'fails', message(text))
  here.outbox.add(here.query, 'works', message('1'))
  run(t, here)
  await empty(here.outbox)
  t.same(here.published, ['works 1', 'fails 1', 'fails 2', 'fails 3'])
})

t.test('a chat that is slow holds up no other one, and keeps its order', async (t) => {
  const here = await stage(t)
  let release = (): void => {}
  const held = new Promise<void>((resolve) => { release = resolve })
  here.before = (_chatId, text) => text === 'slow' ? held : undefined
  here.outbox.add(here.query, 'a', message('slow'))
  run(t, here)
  await until(() => here.outbox.stats(), ({ waiting }) => waiting === 1)
  here.outbox.add(here.query, 'a', message('after'))
  here.outbox.add(here.query, 'b', message('quick'))
  await until(async () => here.published.length, (length) => length === 1)
  t.same(here.published, ['b quick'])
  release()
  await empty(here.outbox)
  t.same(here.published, ['b quick', 'a slow', 'a after'])
})

t.test('a row that was published, but could not be deleted, is published once', async (t) => {
  const { query } = openSqlite(t)
  let broken = true
  const flaky = (sql: string, params: unknown[]): object[] => {
    if (broken && sql.startsWith('DELETE')) throw Object.assign(new Error('secret'), { code: 'SQLITE_BUSY' })
    return query(sql, params)
  }
  const here = await stage(t, { query: flaky })
  const own = createOutbox({ query: flaky, dialect: 'sqlite', pollMs: 20 })
  await own.migrate()
  own.add(query, '1', message('once'))
  const first = own.startRelay(here)
  await logged(here, 'The outbox cannot use its database')
  await first.stop()
  t.equal((await own.stats()).waiting, 1)
  broken = false
  const second = own.startRelay(here)
  await empty(own)
  await second.stop()
  t.same(here.published, ['1 once'])
  t.notMatch(here.text(), /secret/)
})

t.test('the key of a row outlives idempotencyTtlMs, and is none that a client may choose', async (t) => {
  const kept = keepLog()
  const pubsub = new LocalPubSub({ idempotencyTtlMs: 1 })
  const chatEvents = new ChatEvents(pubsub, kept)
  const { query } = openSqlite(t)
  const outbox = createOutbox({ query, dialect: 'sqlite', pollMs: 20 })
  await outbox.migrate()
  const relay = outbox.startRelay({ chatEvents })
  for (let n = 0; n < 2; n++) {
    outbox.add(query, '1', message('once'), { key: 'a' })
    await empty(outbox)
    await until(async () => Date.now(), (now) => now % 5 === 0)
  }
  t.equal((await chatEvents.history('1')).events.length, 1)
  t.equal((await chatEvents.publish('1', message('own'), { idempotencyKey: 'a' })).duplicate, false)
  await relay.stop()
  await pubsub.close()
})

t.test('an outbox is refused where rows could be published twice', async (t) => {
  const { outbox, log } = await stage(t)
  await t.rejects(startApp(t, { outbox, history: false }), { code: 'RT_OPTION_INVALID' })
  const local = new LocalPubSub()
  const own = { ...local, name: 'own', eventLog: local.eventLog, publish: local.publish.bind(local) }
  for (const pubsub of [new LocalPubSub({ history: false }), Object.setPrototypeOf(own, local)]) {
    const chatEvents = new ChatEvents(pubsub, { log, features: [] })
    t.throws(() => outbox.startRelay({ chatEvents }), { code: 'RT_OPTION_INVALID' })
  }
  t.throws(() => outbox.startRelay({} as never), { code: 'RT_OPTION_INVALID' })
})

t.test('wrong options are refused', async (t) => {
  const query = (): object[] => []
  const wrong: object[] = [
    {}, { query }, { dialect: 'sqlite' }, { query, dialect: 'mysql' }, { query, dialect: 1 },
    { query, dialect: 'sqlite', table: 'a"b' }, { query, dialect: 'sqlite', keyTtlMs: 1_000 },
    { query, dialect: 'sqlite', other: 1 }
  ]
  for (const options of wrong) {
    t.throws(() => createOutbox(options as OutboxOptions), { code: 'RT_OPTION_INVALID' })
  }
  const outbox = createOutbox({ query: (() => ({ rows: [] })) as never, dialect: 'postgres' })
  await t.rejects(outbox.stats(), { code: 'RT_OPTION_INVALID' })
})
