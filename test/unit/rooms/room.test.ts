import t from 'tap'
import { formatCursor, type Cursor } from '../../../lib/pubsub/cursor.ts'
import { keepLog } from '../../support/log.ts'
import { Fixture } from './fixture.ts'

t.test('a stream gets `ready` once the subscription is active, then every event', async (t) => {
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

t.test('an interruption before the subscription was active delays nothing', async (t) => {
  const f = new Fixture(t)
  const stream = f.join()
  f.room.chatLog.lost()
  f.room.chatLog.live()
  await f.rest()
  t.same(stream.names, ['ready'])
})

t.test('a stream that joins during an interruption waits for the subscription, the others continue', async (t) => {
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

t.test('without a log there are no ids, and the open streams get a reset after an interruption', async (t) => {
  const f = new Fixture(t, { withLog: false })
  const streams = [
    f.join(),
    f.join({ after: 'invalid' }),
    f.join({ rewind: 3 }),
    f.join({ after: { epoch: 'e', offset: 1, tag: 1 } })
  ]
  f.room.chatLog.live()
  await f.rest()
  f.room.chatLog.receive({ from: 'x', timestamp: 1, event: 'message', json: '{}' }, false)
  await f.room.chatLog.sync()
  f.room.chatLog.reconcile(undefined)
  t.notOk(f.room.chatLog.checkQuiet())
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

t.test('a discontinuity marker is also reported for a log that only others keep', async (t) => {
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

t.test('a chat is quiet if its log had no events for a while, whatever else happens', async (t) => {
  const f = new Fixture(t)
  f.room.chatLog.live()
  await f.rest()
  const ephemeral = { from: 'x', timestamp: 1, event: 'typing', json: '{}' }
  t.notOk(f.room.chatLog.checkQuiet())
  t.ok(f.room.chatLog.checkQuiet())
  f.room.chatLog.receive(ephemeral, true)
  t.ok(f.room.chatLog.checkQuiet())
  f.publish()
  t.notOk(f.room.chatLog.checkQuiet())
  f.room.chatLog.lost()
  t.notOk(f.room.chatLog.checkQuiet(), 'nor one that is not followed')
})

t.test('handlers get only valid JSON, and a room is empty after its handler removes itself', async (t) => {
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

t.test('a stream that closes before it joins is not added', async (t) => {
  const f = new Fixture(t)
  const stream = f.join()
  stream.connection.destroy()
  t.equal(f.empty, 1)
  f.room.join(stream.connection.asConnection)
  t.equal(f.empty, 2)
  t.ok(f.room.isEmpty)
})

t.test('handlers get events that are published during the first read of the log', async (t) => {
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
