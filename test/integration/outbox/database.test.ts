import t, { type Test } from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import { timing } from '../../../lib/core/timing.ts'
import { ChatEvents, LocalPubSub } from '../../../lib/index.ts'
import { createOutbox, type Listen, type Query } from '../../../lib/outbox/index.ts'
import { FakeTimers } from '../../support/fake-timers.ts'
import { keepLog } from '../../support/log.ts'
import { startApp } from '../../support/app.ts'
import { logged } from './setup.ts'
import { until } from '../../support/until.ts'

interface FakeRow { id: string, chat: string, event: string, key: string }

/** A database of one table, whose answers the test controls: what matters here is when they come, if at all. */
function fakeDatabase (): { query: Query, rows: FakeRow[], reads: number, claims: number, answer: Query | undefined } {
  const made = {
    rows: [] as FakeRow[],
    reads: 0,
    claims: 0,
    answer: undefined as Query | undefined,
    query: async (sql: string, params: unknown[]): Promise<readonly object[]> => {
      if (made.answer !== undefined) return await made.answer(sql, params)
      if (sql.startsWith('DELETE')) {
        const ids = JSON.parse(String(params[0])) as string[]
        made.rows = made.rows.filter(({ id }) => !ids.includes(id))
      } else if (sql.includes('SKIP LOCKED')) {
        made.claims++
        return [{ name: 'relay' }]
      } else if (sql.includes('sum(octet_length')) {
        made.reads++
        const except = JSON.parse(String(params[2])) as string[]
        return made.rows.filter(({ chat }) => !except.includes(chat))
      }
      return []
    }
  }
  return made
}

function chatEventsOf (t: Test): ChatEvents {
  const pubsub = new LocalPubSub()
  t.teardown(() => pubsub.close())
  return new ChatEvents(pubsub, keepLog())
}

const row = (id: string): FakeRow => ({ id, chat: '1', event: '{"type":"message","message":{}}', key: id })

t.test('a relay that is notified publishes, and listens again when its connection has ended', async (t) => {
  const database = fakeDatabase()
  const calls: { onNotify: () => void, onLost: () => void }[] = []
  let stops = 0
  const listen: Listen = async (_channel, onNotify, onLost) => {
    calls.push({ onNotify, onLost })
    if (calls.length === 2) throw new Error('secret')
    return () => {
      stops++
      throw new Error('already ended')
    }
  }
  const kept = keepLog()
  const outbox = createOutbox({ query: database.query, listen, dialect: 'postgres', pollMs: 60_000, leaseMs: 600_000 })
  const relay = outbox.startRelay({ chatEvents: chatEventsOf(t), log: kept.log })
  await until(async () => database.reads, (reads) => reads > 0)
  database.rows.push(row('1'))
  calls[0]?.onNotify()
  await until(async () => database.rows.length, (length) => length === 0)
  calls[0]?.onLost()
  calls[0]?.onLost()
  await logged(kept, 'The outbox cannot listen to its database, so it polls')
  await logged(kept, 'The outbox listens to its database again')
  t.equal(calls.length, 3)
  database.rows.push(row('2'))
  calls[2]?.onNotify()
  await until(async () => database.rows.length, (length) => length === 0)
  await relay.stop()
  t.equal(stops, 2)
  t.notMatch(kept.text(), /secret/)
})

t.test('while it cannot listen, a relay polls', async (t) => {
  const database = fakeDatabase()
  let stopped = false
  let listening = (_stop: () => void): void => {}
  const listen: Listen = () => new Promise((resolve) => { listening = resolve })
  const outbox = createOutbox({ query: database.query, listen, dialect: 'postgres', pollMs: 60_000 })
  const relay = outbox.startRelay({ chatEvents: chatEventsOf(t) })
  await until(async () => database.reads, (reads) => reads > 1)
  await relay.stop()
  // It began to listen too late.
  listening(() => { stopped = true })
  await until(async () => stopped, (isStopped) => isStopped)
})

t.test('an app closes while its database hangs', async (t) => {
  const database = fakeDatabase()
  const outbox = createOutbox({ query: database.query, dialect: 'postgres' })
  const { app } = await startApp(t, { outbox })
  database.answer = () => new Promise(() => {})
  await until(async () => database.reads, (reads) => reads > 0)
  await app.close()
  t.pass('it has closed')
})

t.test('a relay that stops waits longer for a database that hangs if it has to delete published rows', async (t) => {
  for (const [hanging, ms] of [['SELECT', timing.outboxRelease], ['DELETE', timing.outboxStop]] as const) {
    const database = fakeDatabase()
    database.rows.push(row('1'))
    let hasBegun = false
    const query: Query = async (sql, params) => {
      const isFirst = hanging === 'SELECT' && database.reads === 0
      if (isFirst || !sql.startsWith(hanging)) return await database.query(sql, params)
      hasBegun = true
      return await new Promise(() => {})
    }
    const relay = createOutbox({ query, dialect: 'postgres' }).startRelay({ chatEvents: chatEventsOf(t) })
    await until(async () => hasBegun, (has) => has)
    const timers = new FakeTimers()
    timers.install()
    const stopped = relay.stop()
    await turn()
    timers.fire()
    timers.uninstall()
    await stopped
    t.same(timers.delays, [timing.outboxStop, ms])
  }
})

t.test('a database that fails is asked again, and causes no unhandled rejection', async (t) => {
  const database = fakeDatabase()
  const kept = keepLog()
  const coded = Object.assign(new Error('secret'), { code: '57P01' })
  const failures: unknown[] = [new Error('secret'), 'secret', null, coded]
  database.answer = async () => { throw failures.shift() }
  const outbox = createOutbox({ query: database.query, dialect: 'postgres' })
  const relay = outbox.startRelay({ chatEvents: chatEventsOf(t), log: kept.log })
  await until(async () => failures.length, (length) => length === 0)
  database.answer = undefined
  database.rows.push(row('1'))
  await until(async () => database.rows.length, (length) => length === 0)
  await logged(kept, 'The outbox can use its database again')
  t.notMatch(kept.text(), /secret/)
  await relay.stop()
})

t.test('a row that cannot be set aside is tried again', async (t) => {
  const database = fakeDatabase()
  let fails = true
  let tries = 0
  const query: Query = async (sql, params) => {
    if (!sql.startsWith('UPDATE') || !sql.includes('SET error')) return await database.query(sql, params)
    tries++
    if (fails) throw new Error('for now')
    database.rows = []
    return []
  }
  database.rows.push({ ...row('1'), event: '{' })
  const kept = keepLog()
  const outbox = createOutbox({ query, dialect: 'postgres' })
  const relay = outbox.startRelay({ chatEvents: chatEventsOf(t), log: kept.log })
  await until(async () => tries, (count) => count > 0)
  fails = false
  await logged(kept, 'A row of the outbox can never be published, so it was set aside')
  await relay.stop()
})

t.test('while many bytes are being published, no more rows are read', async (t) => {
  const database = fakeDatabase()
  const chatEvents = chatEventsOf(t)
  let release = (): void => {}
  const released = new Promise<void>((resolve) => { release = resolve })
  chatEvents.publish = async (chatId) => {
    if (chatId === 'large') await released
    return { duplicate: false }
  }
  const event = `{"text":"${'x'.repeat(300_000)}"}`
  database.rows.push({ id: '1', chat: 'large', event, key: '1' }, { id: '2', chat: 'small', event: '{}', key: '2' })
  const relay = createOutbox({ query: database.query, dialect: 'postgres' }).startRelay({ chatEvents })
  // The turn that deletes this row would read the next ones.
  await until(async () => database.rows.length, (length) => length === 1)
  database.rows.push({ id: '3', chat: 'small', event: '{}', key: '3' })
  await turn()
  t.equal(database.reads, 1)
  release()
  await until(async () => database.rows.length, (length) => length === 0)
  await relay.stop()
})

t.test('a relay that stops publishes no further row of a chat', async (t) => {
  const database = fakeDatabase()
  const chatEvents = chatEventsOf(t)
  let publishing = (): void => {}
  let release = (): void => {}
  const begun = new Promise<void>((resolve) => { publishing = resolve })
  const released = new Promise<void>((resolve) => { release = resolve })
  chatEvents.publish = async () => {
    publishing()
    await released
    return { duplicate: false }
  }
  database.rows.push(row('1'), row('2'))
  const relay = createOutbox({ query: database.query, dialect: 'postgres' }).startRelay({ chatEvents })
  await begun
  const stopped = relay.stop()
  release()
  await stopped
  t.same(database.rows.map(({ id }) => id), ['2'])
})
