import t, { type Test } from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import { copyCursor, formatCursor, type Cursor } from '../../../lib/pubsub/cursor.ts'
import { keepLog } from '../../support/log.ts'
import { Fixture, forged } from './fixture.ts'
import { budgets } from '../../../lib/core/budgets.ts'
import { timing } from '../../../lib/core/timing.ts'

/** A room with a stream that has missed an event, and whose log answers no reading yet. */
async function whileReading (t: Test): Promise<{ f: Fixture, stream: ReturnType<Fixture['join']> }> {
  const f = new Fixture(t)
  const stream = f.join()
  f.room.chatLog.live()
  await f.rest()
  f.log.prompt = false
  f.publish(1, { lost: true })
  return { f, stream }
}

t.test('a stream gets ready once the subscription holds, then every event', async (t) => {
  const f = new Fixture(t)
  const stream = f.join()
  await f.rest()
  t.same(stream.names, [])
  f.room.chatLog.live()
  await f.rest()
  f.publish(2)
  await f.rest()
  t.same(stream.names, ['ready', 'message', 'message'])
  t.same(stream.ids[2], formatCursor(f.log.top as Cursor))
  t.ok(f.room.chatLog.inSync)
})

t.test('a stream that came while the subscription was interrupted waits for it, the others go on', async (t) => {
  const f = new Fixture(t)
  const early = f.join()
  f.room.chatLog.live()
  await f.rest()
  f.room.chatLog.lost()
  t.notOk(f.room.chatLog.inSync)
  const late = f.join()
  const gone = f.join()
  gone.connection.destroy()
  f.publish(1, { lost: true })
  await f.rest()
  t.same([early.names, late.names], [['ready'], []])
  f.room.chatLog.live()
  await f.rest()
  t.same(early.names, ['ready'], 'not all chats read at once')
  f.timers.fire()
  await f.rest()
  t.same([early.names, late.names, gone.names], [['ready', 'message'], ['ready'], []])
  f.room.chatLog.lost()
  f.room.chatLog.live()
  f.room.chatLog.lost()
  f.timers.fire()
  await f.rest()
  t.notOk(f.room.chatLog.inSync, 'what broke meanwhile is not read')
})

t.test('a message that comes twice costs no reading', async (t) => {
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

t.test('a log that may have lost events and can\'t be marked: streams get one reset, and clients that reconnect one each, until it can be', async (t) => {
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

t.test('many messages that come while the log is read are read instead of held', async (t) => {
  const { f, stream } = await whileReading(t)
  f.publish(2_500)
  f.log.heal()
  for (let n = 0; n < 2; n++) await f.rest()
  t.equal(stream.frames.length, 2_502)
  t.same(stream.ids.at(-1), formatCursor(f.log.top as Cursor))
})

t.test('what is held while the log is read is bounded by bytes', async (t) => {
  const { f, stream } = await whileReading(t)
  const payload = { pad: 'x'.repeat(budgets.held / 4) }
  f.publish(30, { payload })
  f.log.trim(0)
  f.log.heal()
  await f.rest()
  t.same(stream.names, ['ready', 'reset'], 'they were let go of: the log has to have them')
})

t.test('a log that can\'t be read is tried again ever later, and logged once, with its chat and why', async (t) => {
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
  t.same(f.timers.delays.filter((ms) => ms < timing.repeatedLog), [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000, 15_000, 15_000])
  t.same(stream.names, [])
  f.log.heal()
  await f.rest()
  t.same(stream.names, ['ready'])
})

t.test('what comes while a reading ends is told at once, in whichever moment it comes', async (t) => {
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

t.test('the places of a log of the app\'s may be objects of any kind', async (t) => {
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

t.test('closing while the log is read, or after it failed, ends it', async (t) => {
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

t.test('closing while missed events are read tells none of them', async (t) => {
  const f = new Fixture(t)
  const stream = f.join()
  f.room.chatLog.live()
  await f.rest()
  f.log.prompt = false
  // More than one reading brings.
  f.publish(600, { lost: true })
  f.room.chatLog.reconcile(f.log.top)
  f.room.close()
  f.log.step(0, false)
  f.log.step(0, false)
  await f.rest()
  t.equal(f.log.pending, 0, 'and the rest is not read')
  t.same(stream.names, ['ready'])
})

t.test('without a log there are no ids, and who was there is told of an interruption', async (t) => {
  const f = new Fixture(t, { withLog: false })
  const streams = [f.join(), f.join({ after: 'invalid' }), f.join({ rewind: 3 }), f.join({ after: { epoch: 'e', offset: 1, tag: 1 } })]
  f.room.chatLog.live()
  await f.rest()
  f.room.chatLog.receive({ from: 'x', timestamp: 1, event: 'message', json: '{}' }, false)
  await f.room.chatLog.sync()
  f.room.chatLog.reconcile(undefined)
  t.notOk(f.room.chatLog.takeQuiet())
  f.room.chatLog.lost()
  f.room.chatLog.live()
  await f.rest()
  for (const stream of streams) {
    t.same(stream.names, ['ready', 'message', 'reset'])
    t.same(stream.ids, [undefined, undefined, undefined])
    t.same(stream.data('ready'), [{ chatId: 'chat', resumed: false }])
    t.same(stream.data('reset'), [{ chatId: 'chat', reason: 'failover', certain: false }])
  }
})

t.test('a fence of a log that is kept by others only is told, too', async (t) => {
  const f = new Fixture(t, { withLog: false })
  const stream = f.join()
  f.room.chatLog.live()
  await f.rest()
  f.publish()
  f.log.fallBack(1, true)
  f.publish()
  await f.rest()
  t.same(stream.names, ['ready', 'message', 'reset', 'message'])
  t.same(stream.ids, [undefined, undefined, undefined, undefined])
  t.same(stream.data('reset'), [{ chatId: 'chat', reason: 'failover', certain: false }])
})

t.test('only a chat without events of the log for a while is quiet, whatever else goes on', async (t) => {
  const f = new Fixture(t)
  f.room.chatLog.live()
  await f.rest()
  const ephemeral = { from: 'x', timestamp: 1, event: 'typing', json: '{}' }
  t.notOk(f.room.chatLog.takeQuiet())
  t.ok(f.room.chatLog.takeQuiet())
  f.room.chatLog.receive(ephemeral, true)
  t.ok(f.room.chatLog.takeQuiet())
  f.publish()
  t.notOk(f.room.chatLog.takeQuiet())
  f.room.chatLog.lost()
  t.notOk(f.room.chatLog.takeQuiet(), 'nor one that is not followed')
})

t.test('handlers get what is JSON, and one that removes itself empties the room', async (t) => {
  const { log, line } = keepLog()
  const f = new Fixture(t, { logger: log })
  f.room.chatLog.live()
  await f.rest()
  f.publish()
  const seen: unknown[] = []
  const handler = (event: unknown): void => { seen.push(event); f.room.deleteHandler(handler) }
  f.room.addHandler(() => { throw new Error('mine') })
  f.room.addHandler(handler)
  f.room.chatLog.receive({ from: 'x', timestamp: 1, event: 'message', json: '{' }, false)
  t.match(await line('A received chat event is not JSON'), { chatId: 'chat' })
  f.publish(2)
  t.equal(seen.length, 1)
  await line('A handler of chat events failed')
  t.equal(f.empty, 0)
  f.room.close()
  t.ok(f.room.isEmpty)
})

t.test('a stream that was closed before it came is not let in', async (t) => {
  const f = new Fixture(t)
  const stream = f.join()
  stream.connection.destroy()
  t.equal(f.empty, 1)
  f.room.join(stream.connection.asConnection)
  t.equal(f.empty, 2)
  t.ok(f.room.isEmpty)
})

t.test('many events that were missed are written as fast as the client takes them', async (t) => {
  const f = new Fixture(t)
  f.room.chatLog.live()
  await f.rest()
  const start = f.log.top as Cursor
  const pad = 'x'.repeat(30_000)
  f.publish(7, { payload: { pad } })
  const stream = f.join({ after: start }, true)
  const leaver = f.join({ after: start }, true)
  await f.rest()
  t.equal(stream.frames.length, 1 + 3, 'one piece of about 64 kB')
  leaver.connection.destroy()
  f.publish(1, { payload: { pad } })
  for (let n = 0; n < 3; n++) {
    stream.connection.drain()
    await f.rest()
  }
  t.same(stream.names, ['ready', ...Array(8).fill('message')])
  t.same(stream.data('ready'), [{ chatId: 'chat', resumed: true }])
  t.equal(leaver.frames.length, 4)
})

t.test('clients that come back at the same time share one reading; who it says nothing to asks the log', async (t) => {
  const f = new Fixture(t, { historySize: 100 })
  f.publish(700, { lost: true })
  f.room.chatLog.live()
  await f.rest()
  const places = [...f.log.records.values()].map(({ position }) => copyCursor(position))
  const reads: (number | undefined)[] = []
  const read = f.log.read.bind(f.log)
  f.log.read = (channel, after, limit) => { reads.push(after?.offset); return read(channel, after, limit) }
  const streams = [650, 610, 650].map((offset) => f.join({ after: places[offset - 1] }))
  await f.rest()
  t.same(reads, [undefined])
  t.same(streams.map(({ frames }) => frames.length), [51, 91, 51])
  const old = f.join({ after: places[9] })
  await f.rest()
  t.same(reads, [undefined, 10, 510], 'page by page')
  t.equal(old.frames.length, 691)
  t.same(old.data('ready'), [{ chatId: 'chat', resumed: true }])
  f.timers.fire()
  f.join({ after: places[649] })
  await f.rest()
  t.same(reads, [undefined, 10, 510, undefined], 'it is not kept for long')
})

t.test('what was read serves who comes later, too, for as long as the room\'s own frames follow on it', async (t) => {
  const f = new Fixture(t)
  f.publish(50, { lost: true })
  f.room.chatLog.live()
  await f.rest()
  const place = { ...f.log.records.values().next().value?.position } as Cursor
  let reads = 0
  const read = f.log.read.bind(f.log)
  f.log.read = (channel, after, limit) => { reads++; return read(channel, after, limit) }
  const numbers: number[] = []
  for (const count of [0, 10, 250, 1, 40]) {
    f.publish(count)
    const streams = [f.join({ after: place }), f.join({ after: place })]
    await f.rest()
    t.same(streams.map((stream) => stream.data('reset').length + stream.data('message').length), Array(2).fill(f.log.records.size - 1))
    numbers.push(reads)
  }
  t.same(numbers, [1, 1, 2, 2, 2])
})

t.test('an entry that can\'t be read is a hole, never skipped', async (t) => {
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

t.test('a follower that misses an entry which can\'t be read is told', async (t) => {
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

t.test('handlers get what is published while the log is read for the first time', async (t) => {
  const f = new Fixture(t)
  const seen: (string | undefined)[] = []
  f.room.addHandler((_event, { id }) => { seen.push(id) })
  f.publish(3, { lost: true })
  f.log.prompt = false
  f.room.chatLog.live()
  f.publish(2)
  f.log.heal()
  await f.rest()
  t.same(seen, [...f.log.records.keys()].slice(3))
})

t.test('a rewind comes from the last frames, or from the log', async (t) => {
  const f = new Fixture(t)
  f.publish(10, { lost: true })
  f.room.chatLog.live()
  await f.rest()
  const streams = [f.join({ rewind: 3 }), f.join({ rewind: 99 })]
  await f.rest()
  t.same(streams.map(({ frames }) => frames.length), [4, 11])
  t.same(streams[0]?.data('ready'), [{ chatId: 'chat', resumed: false }])
  f.publish(2)
  await f.rest()
  const later = [f.join({ rewind: 1 }), f.join({ rewind: 4 })]
  await f.rest()
  t.same(later.map(({ frames }) => frames.length), [2, 5], 'also where the reading is older than the last events')
})

t.test('a rewind or a return while the log can\'t be read waits until it can', async (t) => {
  const f = new Fixture(t)
  f.publish(5, { lost: true })
  f.room.chatLog.live()
  await f.rest()
  f.log.prompt = false
  const streams = [f.join({ rewind: 2 }), f.join({ after: forged(f.log.top as Cursor, { offset: 3 }) })]
  f.log.step(0, true)
  await f.rest()
  f.log.heal()
  await f.rest()
  t.same(streams.map(({ names }) => names), [[], []], 'not at once')
  f.timers.fire()
  await f.rest()
  t.same(streams.map(({ names }) => names), [['ready', 'message', 'message'], ['ready', 'reset']])
  t.same(streams[1]?.data('reset'), [{ chatId: 'chat', reason: 'diverged', certain: true }])
})

t.test('a client that takes all at once is written a page in each turn of the event loop', async (t) => {
  const f = new Fixture(t)
  f.room.chatLog.open()
  f.room.chatLog.live()
  await f.rest()
  const before = f.room.chatLog.position
  f.publish(200, { payload: { text: 'x'.repeat(2_000) } })
  await f.rest()
  const stream = f.join({ after: before })
  const written = [0]
  while (stream.frames.length < 201) {
    await turn()
    written.push(stream.frames.length)
  }
  const steps = written.slice(1).map((count, at) => count - (written[at] as number))
  t.ok(Math.max(...steps) < 40, `at most ${Math.max(...steps)} frames of 2 kB in a turn`)
})
