import t, { type Test } from 'tap'
import { mock } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import vm from 'node:vm'
import { silentLogger } from '../../../lib/core/logger.ts'
import { Metrics } from '../../../lib/observability/metrics.ts'
import { ByteBudget } from '../../../lib/pubsub/byte-budget.ts'
import { getChatChannel } from '../../../lib/pubsub/names.ts'
import { ReadGate } from '../../../lib/rooms/read-gate.ts'
import { Rooms } from '../../../lib/rooms/rooms.ts'
import { Stream } from './fixture.ts'
import { ModelLog } from './model-log.ts'
import { budgets } from '../../../lib/core/budgets.ts'
import { timing } from '../../../lib/core/timing.ts'
import type { FeedListener, ChannelFeed } from '../../../lib/pubsub/channel-feed.ts'

/** The rooms of an instance whose feed is live at once and delivers the messages that the test passes. */
interface Stage { rooms: Rooms, log: ModelLog, followers: Map<string, FeedListener>, rest: () => Promise<void> }

function start (t: Test, withLog = true): Stage {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
  t.teardown(() => mock.timers.reset())
  const log = new ModelLog()
  const followers = new Map<string, FeedListener>()
  const feed: ChannelFeed = {
    instanceId: 'x',
    follow (channel, follower) {
      followers.set(channel, follower)
      follower.live()
      return () => { if (followers.get(channel) === follower) followers.delete(channel) }
    }
  }
  const rooms = new Rooms({
    maxRooms: Infinity,
    feed,
    eventLog: withLog ? log : undefined,
    historySize: 1_000,
    log: silentLogger,
    metrics: new Metrics(),
    retryMs: 2_000,
    reads: new ReadGate(budgets.reads),
    replays: new ByteBudget(budgets.replays)
  })
  t.teardown(() => rooms.close())
  return { rooms, log, followers, rest: async () => { for (let n = 0; n < 5; n++) await turn() } }
}

t.test('the last event before a silence is read from the log if its broadcast was lost', async (t) => {
  const { rooms, log, rest } = start(t)
  const stream = new Stream(false)
  rooms.enter('a').join(stream.connection.asConnection)
  await rest()
  log.append({})
  mock.timers.tick(timing.idleCheck)
  await rest()
  t.same(stream.names, ['ready'], 'it may be on its way')
  mock.timers.tick(timing.idleCheck)
  await rest()
  t.same(stream.names, ['ready', 'message'])
})

t.test('quiet chats are compared later if Redis is away', async (t) => {
  const { rooms, log, rest } = start(t)
  const stream = new Stream(false)
  rooms.enter('a').join(stream.connection.asConnection)
  await rest()
  log.append({})
  const tops = log.heads.bind(log)
  log.heads = async () => { throw new Error('away') }
  for (let n = 0; n < 3; n++) mock.timers.tick(timing.idleCheck)
  await rest()
  t.same(stream.names, ['ready'])
  log.heads = tops
  mock.timers.tick(timing.idleCheck)
  await rest()
  t.same(stream.names, ['ready', 'message'])
})

t.test('only a limited number of quiet chats is compared at a time, and each of them in the end', async (t) => {
  const { rooms, log, rest } = start(t)
  const names = Array.from({ length: 2 * timing.idleCheckMax + 1 }, (_, n) => `${n}`)
  for (const name of names) rooms.enter(name)
  await rest()
  const asked: string[][] = []
  log.heads = async (channels) => {
    asked.push(channels)
    return channels.map(() => undefined)
  }
  for (let n = 0; n < 2; n++) mock.timers.tick(timing.idleCheck)
  t.same(asked, [], 'something may be on its way to each')
  for (let n = 0; n < 3; n++) mock.timers.tick(timing.idleCheck)
  await rest()
  t.ok(asked.every(({ length }) => length <= timing.idleCheckMax))
  t.same(asked.flat(), [...names, ...names].slice(0, 3 * timing.idleCheckMax - 1).map(getChatChannel), 'in turn')
})

t.test('a dropped room is released, whenever the next idle check runs', async (t) => {
  const { rooms, rest } = start(t)
  for (let n = 0; n < 2 * timing.idleCheckMax; n++) rooms.enter(`${n}`)
  await rest()
  mock.timers.tick(timing.idleCheck)
  const dropped = Array.from({ length: 10_000 }, (_, n) => new WeakRef(rooms.enter(`brief ${n}`)))
  await rest()
  for (const room of dropped) room.deref()?.reportIfEmpty()
  mock.timers.tick(timing.roomGrace - 1)
  mock.timers.tick(1)
  mock.timers.reset()
  await rest()
  setFlagsFromString('--expose-gc')
  const gc = vm.runInNewContext('gc') as () => void // Node's types don't know of it.
  for (let n = 0; n < 5; n++) {
    gc()
    await rest()
  }
  t.equal(dropped.filter((room) => room.deref() !== undefined).length, 0)
})

t.test('each of very many quiet chats is compared often enough to keep its position', async (t) => {
  const { rooms, log, rest } = start(t)
  const count = timing.idleCheckMax * timing.idleCheckRounds + 2 * timing.idleCheckRounds
  for (let n = 0; n < count; n++) rooms.enter(`${n}`)
  await rest()
  const asked = new Set<string>()
  log.heads = async (channels) => {
    for (const channel of channels) asked.add(channel)
    return channels.map(() => undefined)
  }
  // Once to see that it is quiet, and once more; each round ends with a check that finds none.
  const checks = 2 * (timing.idleCheckRounds + 1)
  for (let n = 0; n < checks; n++) mock.timers.tick(timing.idleCheck)
  await rest()
  t.equal(asked.size, count)
  t.ok(checks * timing.idleCheck < timing.emptyLog)
})

t.test('a room is kept for a while after its last listener has left, for clients that reconnect', async (t) => {
  const { rooms, followers, rest } = start(t)
  const room = rooms.enter('a')
  const handler = (): void => {}
  room.addHandler(handler)
  await rest()
  t.match(rooms.stats(), { rooms: 1, live: 1 })
  room.deleteHandler(handler)
  t.match(rooms.stats(), { rooms: 0, live: 0 })
  mock.timers.tick(timing.roomGrace - 1)
  t.equal(rooms.enter('a'), room)
  room.addHandler(handler)
  mock.timers.tick(timing.roomGrace)
  t.equal(rooms.find('a'), room, 'it has a listener again')
  room.deleteHandler(handler)
  room.deleteHandler(handler)
  mock.timers.tick(timing.roomGrace)
  t.equal(rooms.find('a'), undefined)
  t.equal(followers.size, 0)
  t.not(rooms.enter('a'), room)
})

t.test('closing ends the streams, and later rooms are new', async (t) => {
  const { rooms, rest, followers } = start(t, false)
  const stream = new Stream(false)
  const before = rooms.enter('a')
  before.join(stream.connection.asConnection)
  await rest()
  rooms.close()
  t.ok(stream.connection.closed)
  t.equal(followers.size, 0)
  const after = rooms.enter('a')
  // Streams that close with the rooms still start the grace period of a removed room.
  mock.timers.tick(timing.roomGrace)
  t.equal(rooms.find('a'), after)
})
