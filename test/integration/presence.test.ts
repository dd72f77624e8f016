import t, { type Test } from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import realtimePlugin, { ChatEvents, LocalPubSub, type ChatEvent, type PubSubProvider, type RealtimeOptions, type RedisPubSub, type StatePage, type StateStore } from '../../lib/index.ts'
import { silentLogger } from '../../lib/core/logger.ts'
import { resolveOptions } from '../../lib/options.ts'
import { presenceField } from '../../lib/presence/fields.ts'
import { PresenceTracker, readPresence } from '../../lib/presence/tracker.ts'
import type { EventSink } from '../../lib/rooms/event-sink.ts'
import { startApp } from '../support/app.ts'
import { EventStream } from '../support/event-stream.ts'
import { InstanceProcess } from '../support/instance-process.ts'
import { keepLog } from '../support/log.ts'
import { PresenceReader } from '../support/presence-reader.ts'
import { client, startRedis } from '../support/redis.ts'
import { RedisServer } from '../support/redis-server.ts'
import { nothingUnhandled } from '../support/unhandled.ts'
import { until } from '../support/until.ts'
import { defaults, presenceTimes } from '../../lib/core/defaults.ts'
import { timing } from '../../lib/core/timing.ts'

t.beforeEach(nothingUnhandled)

interface Side { app: FastifyInstance, url: string }

/** Two instances; one and the same without Redis. */
type Setup = (t: Test, presence?: RealtimeOptions['presence'], options?: RealtimeOptions) => Promise<{ one: Side, two: Side }>

const authorize: RealtimeOptions['authorize'] = ({ query }) => {
  const { user } = query as { user?: string }
  return user === undefined ? true : { userId: user }
}

const server = await RedisServer.start()
t.teardown(() => server.stop())
let count = 0

const setups: Record<string, Setup> = {
  'in one process': async (t, presence = { graceMs: 300 }, options = {}) => {
    const one = await startApp(t, { presence, authorize, ...options })
    return { one, two: one }
  },
  'over Redis': async (t, presence = { graceMs: 300 }, options = {}) => {
    const keyPrefix = `rt${count++}:`
    const [one, two] = await Promise.all(['one', 'two'].map((instanceId) => startApp(t, { redisUrl: server.url, keyPrefix, instanceId, presence, authorize, ...options })))
    return { one, two } as { one: Side, two: Side }
  }
}

/** A tab of a user, or of nobody who is known, after its `ready`. */
async function open (t: Test, { url }: { url: string }, user?: string, path = '/api/chats/c/events?'): Promise<{ stream: EventStream, reader: PresenceReader, close: () => void, until: (...users: string[]) => Promise<void> }> {
  const stream = await EventStream.open(t, `${url}${path}${user === undefined ? '' : `&user=${user}`}`)
  const reader = new PresenceReader()
  await stream.next()
  return { stream, reader, close: () => stream.close(), until: (...users) => reader.until(stream, users) }
}

async function asked (sides: Side[], users: string[], chatId = 'c'): Promise<void> {
  for (const { app } of sides) await until(() => app.chatEvents.presence(chatId), (present) => present.join() === users.join())
}

for (const [name, setup] of Object.entries(setups)) {
  t.test(name, async (t) => {
    t.beforeEach(nothingUnhandled)

    t.test('who opens a chat joins, and leaves a while after the last tab has closed', async (t) => {
      const { one, two } = await setup(t)
      t.same(await one.app.chatEvents.presence('c'), [])
      const watcher = await open(t, two)
      const handled: ChatEvent[] = []
      two.app.chatEvents.onChatEvent('c', (event) => { handled.push(event) })
      const ann = await open(t, one, 'ann')
      await watcher.until('ann')
      await ann.until('ann')
      const bobs = [await open(t, two, 'bob'), await open(t, one, 'bob')] as const
      await watcher.until('ann', 'bob')
      await bobs[1].until('ann', 'bob')
      await asked([one, two], ['ann', 'bob'])
      bobs[0].close()
      await open(t, one, 'cem')
      await watcher.until('ann', 'bob', 'cem')
      bobs[1].close()
      await watcher.until('ann', 'cem')
      await asked([one, two], ['ann', 'cem'])
      t.same(watcher.reader.told, [
        { users: [] }, { joined: ['ann'], left: [] }, { joined: ['bob'], left: [] }, { joined: ['cem'], left: [] }, { joined: [], left: ['bob'] }
      ], 'each once, in one order')
      t.same(handled, watcher.reader.told.slice(1).map((who) => ({ type: 'presence', chatId: 'c', ...who })), 'handlers are told the same')
      const late = await open(t, two)
      t.equal(late.reader.take(await late.stream.next()), true)
      t.same(late.reader.told, [{ users: ['ann', 'cem'] }], 'who comes late is told of all at once')
      t.same([...watcher.reader.faults, ...ann.reader.faults, ...late.reader.faults], [])
    })

    t.test('a page that is reloaded, and a client that hops, have not left', async (t) => {
      const { one, two } = await setup(t, { graceMs: 1_500 })
      const watcher = await open(t, two)
      let ann = await open(t, one, 'ann')
      await watcher.until('ann')
      for (const side of [one, two, one]) {
        ann.close()
        ann = await open(t, side, 'ann')
        await ann.until('ann')
      }
      ann.close()
      await watcher.until()
      t.same(watcher.reader.told, [{ users: [] }, { joined: ['ann'], left: [] }, { joined: [], left: ['ann'] }])
    })

    t.test('a stream of several chats is there in each, under the name that it has there', async (t) => {
      const { one, two } = await setup(t, true, {
        authorize: ({ query }, chatId) => ({ userId: `${(query as { user: string }).user} of ${chatId}` })
      })
      await open(t, one, 'ann', '/api/chats/events?chat=a&chat=b')
      await asked([one, two], ['ann of a'], 'a')
      await asked([one, two], ['ann of b'], 'b')
      t.same(await one.app.chatEvents.presence('c'), [])
    })

    t.test('users of any name are who they are', async (t) => {
      const { one, two } = await setup(t)
      const users = ['__proto__', 'a\r\n\r\ndata: x', '\0', ' ', ':', 'presence:one:x', '%41', 'A', '=a', '😀'.repeat(128)].sort()
      const watcher = await open(t, two)
      const tabs = await Promise.all(users.map((user) => open(t, one, encodeURIComponent(user))))
      await watcher.until(...users)
      await asked([one, two], users)
      for (const { close } of tabs) close()
      await watcher.until()
      t.same(watcher.reader.faults, [])
    })

    t.test('whose access is taken back leaves at once', async (t) => {
      const { one, two } = await setup(t, { graceMs: 60_000 })
      const watcher = await open(t, two)
      const tabs = [await open(t, one, 'ann'), await open(t, two, 'ann')]
      await watcher.until('ann')
      await one.app.chatEvents.revoke('c', 'ann')
      await one.app.chatEvents.revoke('c', 'nobody')
      for (const { stream } of tabs) await stream.end()
      await watcher.until()
      await asked([one, two], [])
      await open(t, two, 'ann')
      await watcher.until('ann')
      t.same(watcher.reader.faults, [])
    })

    t.test('whose grant expires leaves after the grace', async (t) => {
      let granted = 0
      const { one, two } = await setup(t, { graceMs: 100 }, { authorize: ({ query }) => 'user' in (query as object) ? granted++ === 0 && { userId: 'ann', expiresAt: Date.now() + 500 } : true })
      const watcher = await open(t, two)
      await open(t, one, 'ann')
      await watcher.until('ann')
      await watcher.until()
      t.equal((await fetch(`${one.url}/api/chats/c/events?user=ann`)).status, 403)
    })

    t.test('those who come in one turn are told at once, and who has no name is nobody', async (t) => {
      const { one, two } = await setup(t)
      const watcher = await open(t, two)
      const names = Array.from({ length: 20 }, (_, n) => `user ${n}`).sort()
      await Promise.all(names.map((user) => open(t, one, user)))
      await watcher.until(...names)
      await asked([one, two], names)
      t.same(watcher.reader.faults, [])
      t.ok(watcher.reader.told.length <= names.length + 1)
    })
  })
}

t.test('an app that closes leaves its users to their leases, so that those who come back elsewhere were never away', async (t) => {
  const { one, two } = await (setups['over Redis'] as Setup)(t, { graceMs: 60_000, leaseMs: 2_000 })
  const watcher = await open(t, two)
  await Promise.all([open(t, one, 'ann'), open(t, one, 'bob')])
  await watcher.until('ann', 'bob')
  await one.app.close()
  t.same(await two.app.chatEvents.presence('c'), ['ann', 'bob'])
  await open(t, two, 'ann')
  await watcher.until('ann')
  t.same(watcher.reader.told.filter(({ left = [] }) => left.length > 0), [{ joined: [], left: ['bob'] }])
})

t.test('an instance that is killed leaves no ghosts beyond its lease', async (t) => {
  const leaseMs = 1_500
  const [instance, { two }] = await Promise.all([
    InstanceProcess.start(t, { REDIS_URL: server.url, USERS: 'query', REALTIME: JSON.stringify({ keyPrefix: `rt${count}:`, presence: { leaseMs } }) }),
    (setups['over Redis'] as Setup)(t, { leaseMs })
  ])
  const watcher = await open(t, two)
  await Promise.all([open(t, instance, 'ann'), open(t, instance, 'bob')])
  await watcher.until('ann', 'bob')
  await instance.kill()
  const killed = performance.now()
  await open(t, two, 'ann')
  await asked([two], ['ann'])
  // The clock of Redis is in whole milliseconds, and a lease begins when the command arrives.
  t.ok(performance.now() - killed < leaseMs + 500, 'who asks is told no ghosts')
  await watcher.until('ann')
  t.ok(performance.now() - killed < leaseMs + timing.idleCheck + timing.presenceSettle + 1_000, 'nor is who looks on')
  t.same(watcher.reader.faults, [])
})

t.test('what Redis loses comes back, and nobody is told as left', async (t) => {
  const redis = await startRedis(t)
  const instances = await Promise.all(['one', 'two'].map((instanceId) => startApp(t, { redisUrl: redis.url, instanceId, presence: true, authorize })))
  const [one, two] = instances as [Side, Side]
  const watcher = await open(t, two)
  for (const user of ['ann', 'bob']) await open(t, one, user)
  await open(t, two, 'cem')
  await watcher.until('ann', 'bob', 'cem')
  const admin = client(t, redis.url)
  await admin.flushall()
  await open(t, one, 'dan')
  await watcher.until('ann', 'bob', 'cem', 'dan')
  await asked([one, two], ['ann', 'bob', 'cem', 'dan'])
  await redis.restart()
  await open(t, two, 'eve')
  await watcher.until('ann', 'bob', 'cem', 'dan', 'eve')
  await asked([one, two], ['ann', 'bob', 'cem', 'dan', 'eve'])
  t.same(watcher.reader.told.filter(({ left = [] }) => left.length > 0), [])
  t.same(watcher.reader.faults, [])
})

t.test('a lease that has run out while Redis stood still is taken anew, and nobody is told as left', async (t) => {
  const redis = await startRedis(t)
  const instances = await Promise.all(['one', 'two'].map((instanceId) => startApp(t, { redisUrl: redis.url, instanceId, presence: true, authorize })))
  const [one, two] = instances as [Side, Side]
  const watcher = await open(t, two)
  await open(t, one, 'ann')
  await open(t, two, 'bob')
  await watcher.until('ann', 'bob')
  const admin = client(t, redis.url)
  // Time passes for Redis as it would while it stood still.
  for (const field of await admin.zrange('rt:{chat:c}:l', '0', '-1')) await admin.zadd('rt:{chat:c}:l', '1', String(field))
  await asked([one], ['ann', 'bob'])
  await open(t, one, 'cem')
  await watcher.until('ann', 'bob', 'cem')
  t.same(watcher.reader.told.filter(({ left = [] }) => left.length > 0), [])
})

t.test('while Redis is away nothing fails, one line says so, and what happened meanwhile is told after', async (t) => {
  const redis = await startRedis(t)
  const { log, lines } = keepLog()
  const options = { redisUrl: redis.url, publishTimeoutMs: 200, presence: { graceMs: 0, leaseMs: 1_000 }, authorize }
  const one = await startApp(t, { ...options, instanceId: 'one' }, { server: { loggerInstance: log as FastifyBaseLogger } })
  const two = await startApp(t, { ...options, instanceId: 'two' })
  const watcher = await open(t, two)
  const ann = await open(t, one, 'ann')
  await watcher.until('ann')
  const msg = 'Presence cannot be written, trying again'
  await redis.kill()
  ann.close()
  const bobs = Array.from({ length: 5 }, (_, n) => EventStream.open(t, `${one.url}/api/chats/c/events?user=bob${n}`))
  await until(async () => lines, (lines) => lines.some((line) => line.msg === msg))
  await t.rejects(two.app.chatEvents.presence('c'), { code: 'RT_LOG_UNAVAILABLE' })
  await redis.restart()
  await Promise.all(bobs)
  const users = bobs.map((_, n) => `bob${n}`)
  await watcher.until(...users)
  await asked([one, two], users)
  t.equal(lines.filter((line) => line.msg === msg).length, 1)
})

t.test('what was given up and reaches Redis late shows a user for a lease at most, and hides none', async (t) => {
  const redis = await startRedis(t)
  const leaseMs = 1_500
  const options = { redisUrl: redis.url, presence: { graceMs: 0, leaseMs }, authorize }
  const [one, two] = await Promise.all(['one', 'two'].map((instanceId) => startApp(t, { ...options, instanceId }))) as [Side, Side]
  const watcher = await open(t, two)
  const ann = await open(t, one, 'ann')
  await open(t, one, 'bob')
  await watcher.until('ann', 'bob')
  ann.close()
  await watcher.until('bob')
  const { state } = two.app.pubsub as RedisPubSub & { state: StateStore } // Redis has one.
  // As it was sent by the instance, when ann came and before bob did.
  await state.change('chat:c', { operation: 'set', field: presenceField('one', 'ann'), value: '', leaseMs })
  await state.change('chat:c', { operation: 'delete', field: presenceField('one', 'bob') })
  await watcher.until('ann', 'bob')
  await asked([one, two], ['ann', 'bob'])
  await watcher.until('bob')
  await asked([one, two], ['bob'])
  t.same(watcher.reader.told.filter(({ left = [] }) => left.includes('bob')), [])
})

/** A stream that closes when told to. */
class Tab {
  closed = false
  readonly userId: string
  close: () => void = () => {}

  constructor (userId: string) {
    this.userId = userId
  }

  get asStream (): EventSink {
    return Object.assign(this, { onClose: (callback: () => void) => { this.close = callback } }) as unknown as EventSink // It is written nothing.
  }
}

t.test('a renewal puts back what is gone, waits for the one before, and outlives failures', async (t) => {
  const pubsub = new LocalPubSub()
  const state = pubsub.state as StateStore // History is on here.
  const asked = { renewals: 0, fails: false }
  let hang: Promise<void> = Promise.resolve()
  const store = Object.assign(Object.create(state) as StateStore, {
    change: state.change.bind(state),
    renew: async (...args: Parameters<StateStore['renew']>) => {
      asked.renewals++
      await hang
      if (asked.fails) throw new Error('away')
      return await state.renew(...args)
    }
  })
  const presence = new PresenceTracker({ store, instanceId: 'one', log: silentLogger, graceMs: 0, leaseMs: 150 })
  t.teardown(async () => {
    presence.close()
    await pubsub.close()
  })
  const present = (...users: string[]): Promise<void> => until(() => readPresence(state, 'c'), (found) => found.join() === users.join())
  const renewed = async (): Promise<void> => {
    const before = asked.renewals
    await until(async () => asked.renewals, (now) => now > before + 1)
  }
  const [ann, again, bob, other] = [new Tab('ann'), new Tab('ann'), new Tab('bob'), new Tab('cem')]
  presence.add('c', ann.asStream)
  presence.add('c', bob.asStream)
  presence.add('d', other.asStream)
  await present('ann', 'bob')
  await state.change('chat:c', { operation: 'delete', field: presenceField('one', 'ann') })
  await present('ann', 'bob')
  asked.fails = true
  await renewed()
  await present()
  asked.fails = false
  await present('ann', 'bob')

  let release: () => void = () => {}
  hang = new Promise((resolve) => { release = resolve })
  await present()
  const waiting = asked.renewals
  // Two more are due by then.
  await delay(120)
  t.equal(asked.renewals, waiting)
  release()
  await present('ann', 'bob')

  presence.remove('c', 'ann')
  await present('bob')
  presence.add('c', again.asStream)
  await present('ann', 'bob')
  ann.close()
  await renewed()
  t.same(await readPresence(state, 'c'), ['ann', 'bob'], 'a stream that was taken away takes nobody else away')
  again.close()
  bob.close()
  await present()
  t.same(await readPresence(state, 'd'), ['cem'])
})

t.test('other things that are so in a chat are nobody', async (t) => {
  const { app, url } = await startApp(t, { presence: true, authorize })
  const botMessage = await app.chatEvents.startBotMessage('c')
  const { stream, until } = await open(t, { url }, 'ann')
  await until('ann')
  t.same(await app.chatEvents.presence('c'), ['ann'])
  await botMessage.append('x')
  await botMessage.finish()
  for (;;) if ((await stream.next()).id !== undefined) break
})

t.test('presence needs a state, and says so before anything is opened', async (t) => {
  const stateless: PubSubProvider = { name: 'own', publish: async () => ({ duplicate: false }), subscribe: () => () => {}, subscribeExact: () => () => {}, isHealthy: async () => true, close: async () => {} }
  for (const options of [{ history: false }, { pubsub: stateless }] as RealtimeOptions[]) {
    await t.rejects(async () => await Fastify().register(realtimePlugin, { ...options, authorize, presence: true }), { code: 'RT_STATE_UNAVAILABLE', statusCode: 500 })
    const { app } = await startApp(t, options)
    await t.rejects(app.chatEvents.presence('c'), { code: 'RT_STATE_UNAVAILABLE' })
  }
  const { app } = await startApp(t)
  await t.rejects(app.chatEvents.presence(''), { code: 'RT_CHAT_ID_INVALID' })
})

t.test('without the option nobody is told of, but who asks is told of others', async (t) => {
  const pubsub = new LocalPubSub()
  t.teardown(() => pubsub.close())
  const here = await startApp(t, { pubsub, presence: true, authorize })
  const other = new ChatEvents(pubsub, { log: silentLogger, retryMs: 1 })
  t.teardown(() => other.cleanupChatSubscriptions())
  await open(t, here, 'ann')
  await until(() => other.presence('c'), (users) => users.join() === 'ann')
  const off = await startApp(t, { pubsub, authorize })
  const stream = await EventStream.open(t, `${off.url}/api/chats/c/events?user=bob`)
  await stream.next()
  await off.app.chatEvents.emitChatMessage('c', {})
  t.match(await stream.next(), { event: 'message' })
  t.same(await off.app.chatEvents.presence('c'), ['ann'])
})

t.test('the option has defaults', async (t) => {
  t.equal(resolveOptions({}).presence, defaults.presence)
  t.same(resolveOptions({ presence: true, authorize }).presence, presenceTimes)
  t.same(resolveOptions({ presence: { leaseMs: 100 }, authorize }).presence, { graceMs: 10_000, leaseMs: 100 })
  t.same(resolveOptions({ presence: { graceMs: 0 }, authorize }).presence, { graceMs: 0, leaseMs: 15_000 })
})

t.test('users whose instance may be gone are not listed, though no one has looked for long enough to be sure', async (t) => {
  const fields = new Map(['ann', 'bob'].map((user) => [presenceField('one', user), { value: '', text: false, expired: false }]))
  const read = async (): Promise<StatePage> => ({ version: { epoch: 'e', count: 2 }, fields, doubtful: new Set([presenceField('one', 'bob')]) })
  t.same(await readPresence({ read } as unknown as StateStore, 'c'), ['ann'])
})
