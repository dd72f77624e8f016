import t from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import { copyCursor, type Cursor } from '../../../lib/pubsub/cursor.ts'
import { Fixture, forged } from './fixture.ts'

t.test('closing while missed events are read delivers none of them', async (t) => {
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

t.test('many missed events are written as fast as the client receives them', async (t) => {
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

t.test('clients that reconnect together share one read; a client that it does not cover reads the log', async (t) => {
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

t.test('a read also serves later clients, as long as the room\'s own frames follow it', async (t) => {
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
    t.same(
      streams.map((stream) => stream.data('reset').length + stream.data('message').length),
      Array(2).fill(f.log.records.size - 1)
    )
    numbers.push(reads)
  }
  t.same(numbers, [1, 1, 2, 2, 2])
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

t.test('a rewind or a reconnect while the log cannot be read waits until it can be read', async (t) => {
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

t.test('a fast client gets one page in each turn of the event loop', async (t) => {
  const f = new Fixture(t)
  await f.follow()
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
