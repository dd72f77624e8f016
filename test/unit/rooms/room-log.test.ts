import t, { type Test } from 'tap'
import { copyCursor, formatCursor, type Cursor } from '../../../lib/pubsub/cursor.ts'
import { keepLog } from '../../support/log.ts'
import { Fixture } from './fixture.ts'
import { budgets } from '../../../lib/core/budgets.ts'
import { timing } from '../../../lib/core/timing.ts'

/** A room with a stream that has missed an event. Its log does not answer reads yet. */
async function whileReading (t: Test): Promise<{ f: Fixture, stream: ReturnType<Fixture['join']> }> {
  const f = new Fixture(t)
  const stream = f.join()
  f.room.chatLog.live()
  await f.rest()
  f.log.prompt = false
  f.publish(1, { lost: true })
  return { f, stream }
}

t.test('a message that arrives twice causes no read', async (t) => {
  const f = new Fixture(t)
  const stream = f.join()
  f.room.chatLog.live()
  await f.rest()
  const [logged] = f.log.append({})
  f.log.prompt = false
  for (let n = 0; n < 3; n++) f.room.chatLog.receive(logged as NonNullable<typeof logged>, true)
  await f.rest()
  t.equal(f.log.pending, 0)
  t.same(stream.names, ['ready', 'message'])
})

t.test('while a log with possible loss cannot be marked, each stream and reconnect gets one reset', async (t) => {
  const f = new Fixture(t)
  const stream = f.join()
  f.room.chatLog.live()
  await f.rest()
  f.publish(2)
  const second = copyCursor(f.log.top as Cursor)
  f.publish()
  await f.rest()
  const { log } = f
  const top = copyCursor(log.top as Cursor)
  const read = log.read.bind(log)
  log.read = async (channel, after, limit) => {
    const page = await read(channel, after, limit)
    return { ...page, head: { ...page.head, unproven: true }, gap: 'failover', entries: [] }
  }
  for (let n = 0; n < 3; n++) {
    f.room.chatLog.reconcile({ ...top, unproven: true })
    await f.rest()
  }
  t.same(stream.names, ['ready', 'message', 'message', 'message', 'reset'])
  t.match(stream.data('reset'), [{ reason: 'failover', certain: false }])
  for (const after of [top, second]) {
    const back = f.join({ after })
    await f.rest()
    t.same(back.names, ['ready', 'reset'])
    t.match([back.data('ready'), back.data('reset')], [[{ resumed: false }], [{ reason: 'failover' }]])
  }
  const fresh = f.join({ rewind: 2 })
  await f.rest()
  t.same(fresh.names, ['ready'], 'a new client has missed nothing')
  log.read = read
  f.room.chatLog.reconcile({ ...top, unproven: true })
  await f.rest()
  const late = f.join({ after: top })
  await f.rest()
  t.match(late.data('ready'), [{ resumed: true }])
  t.same(late.names, ['ready'])
})

t.test('many messages that arrive during a read are read from the log instead of held', async (t) => {
  const { f, stream } = await whileReading(t)
  f.publish(2_500)
  f.log.heal()
  for (let n = 0; n < 2; n++) await f.rest()
  t.equal(stream.frames.length, 2_502)
  t.same(stream.ids.at(-1), formatCursor(f.log.top as Cursor))
})

t.test('messages that are held during a read are bounded by bytes', async (t) => {
  const { f, stream } = await whileReading(t)
  const payload = { pad: 'x'.repeat(budgets.held / 4) }
  f.publish(30, { payload })
  f.log.trim(0)
  f.log.heal()
  await f.rest()
  t.same(stream.names, ['ready', 'reset'], 'they were let go of: the log has to have them')
})

t.test('a failed read is retried with growing delays, and logged once with the chat and the reason', async (t) => {
  const { log, lines } = keepLog()
  const f = new Fixture(t, { logger: log })
  f.log.prompt = false
  const stream = f.join()
  f.room.chatLog.live()
  for (let n = 0; n < 10; n++) {
    f.log.step(0, true)
    await f.rest()
    t.equal(f.log.pending, 0, 'not at once')
    f.timers.fire()
  }
  const stuck = lines.filter(({ msg }) => /client-output-buffer-limit/.test(String(msg)))
  t.match(stuck, [{ reason: 'The log can\'t be read now', chatId: 'chat' }])
  t.equal(stuck.length, 1)
  t.same(
    f.timers.delays.filter((ms) => ms < timing.repeatedLog),
    [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000, 15_000, 15_000]
  )
  t.same(stream.names, [])
  f.log.heal()
  await f.rest()
  t.same(stream.names, ['ready'])
})

t.test('a message that arrives at any moment while a read ends is delivered at once', async (t) => {
  const f = new Fixture(t)
  f.log.prompt = true
  const stream = f.join()
  f.room.chatLog.live()
  await f.rest()
  for (let moment = 0; moment < 30; moment++) {
    f.room.chatLog.sync()
    for (let n = 0; n < moment; n++) await Promise.resolve()
    f.publish()
    await f.rest()
    t.equal(stream.data('message').length, moment + 1)
  }
})

t.test('the positions of a custom log may be objects of any class', async (t) => {
  const f = new Fixture(t)
  const read = f.log.read.bind(f.log)
  f.log.read = async (...args) => {
    const page = await read(...args)
    return { ...page, head: Object.create(page.head) }
  }
  const stream = f.join()
  f.room.chatLog.live()
  await f.rest()
  f.publish(2)
  await f.rest()
  t.same(stream.names, ['ready', 'message', 'message'])
})

t.test('closing ends a read that is running, and the retry of one that failed', async (t) => {
  const f = new Fixture(t)
  f.log.prompt = false
  for (const fails of [false, true]) {
    const stream = f.join({ rewind: 3 })
    f.room.chatLog.live()
    f.room.close()
    f.log.step(0, fails)
    f.log.step(0, fails)
    await f.rest()
    t.ok(stream.connection.closed)
    t.same(stream.names, [])
  }
  t.notOk(f.room.chatLog.inSync)
  await f.room.chatLog.sync()
  t.equal(f.log.pending, 0, 'a closed room reads nothing')
  t.equal(f.timers.size, 0)
})

t.test('an entry that cannot be decoded is a gap, and is never skipped', async (t) => {
  const f = new Fixture(t)
  f.publish(9, { lost: true })
  const read = f.log.read.bind(f.log)
  f.log.read = async (channel, after, limit) => {
    const page = await read(channel, after, limit)
    return { ...page, entries: page.entries.filter(({ position }) => position.offset !== 5) }
  }
  f.room.chatLog.live()
  await f.rest()
  const places = [...f.log.records.values()].map(({ position }) => copyCursor(position))
  const streams = [2, 4, 5].map((offset) => f.join({ after: places[offset - 1] }))
  await f.rest()
  t.same(streams.map(({ names }) => names), [
    ['ready', 'message', 'message', 'reset'], ['ready', 'reset'], ['ready', 'message', 'message', 'message', 'message']
  ])
  t.same(streams[0]?.data('reset'), [{ chatId: 'chat', reason: 'diverged', certain: true }])
})

t.test('a follower that misses an entry which cannot be decoded gets a reset', async (t) => {
  const f = new Fixture(t)
  f.room.chatLog.live()
  await f.rest()
  const stream = f.join()
  const read = f.log.read.bind(f.log)
  f.log.read = async (channel, after, limit) => {
    const page = await read(channel, after, limit)
    return { ...page, entries: page.entries.filter(({ position }) => position.offset !== 2) }
  }
  f.publish(1)
  f.publish(1, { lost: true })
  f.publish(1)
  await f.rest()
  t.same(stream.names, ['ready', 'message', 'reset'])
  t.same(stream.ids.at(-1), formatCursor(f.log.top as Cursor))
})
