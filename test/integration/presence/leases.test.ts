import t from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { LocalPubSub, type StatePage, type StateStore } from '../../../lib/index.ts'
import { silentLogger } from '../../../lib/core/logger.ts'
import { presenceField } from '../../../lib/presence/fields.ts'
import { PresenceTracker, readPresence } from '../../../lib/presence/tracker.ts'
import type { EventSink } from '../../../lib/rooms/event-sink.ts'
import { startApp } from '../../support/app.ts'
import { InstanceProcess } from '../../support/instance-process.ts'
import { client, startRedis } from '../../support/redis.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import { timing } from '../../../lib/core/timing.ts'
import { type Setup, server, setups } from './setups.ts'
import { type Side, authorize, open, asked } from './sides.ts'

t.beforeEach(nothingUnhandled)

t.test('an instance that is killed leaves no users beyond its lease', async (t) => {
  const leaseMs = 1_500
  const keyPrefix = 'killed:'
  const [instance, { two }] = await Promise.all([
    InstanceProcess.start(t, {
      REDIS_URL: server.url, USERS: 'query', REALTIME: JSON.stringify({ keyPrefix, presence: { leaseMs } })
    }),
    (setups['over Redis'] as Setup)(t, { leaseMs }, { keyPrefix })
  ])
  const watcher = await open(t, two)
  await Promise.all([open(t, instance, 'ann'), open(t, instance, 'bob')])
  await watcher.until('ann', 'bob')
  await instance.kill()
  const killed = performance.now()
  await open(t, two, 'ann')
  await asked([two], ['ann'])
  // The clock of Redis is in whole milliseconds, and a lease begins when the command arrives.
  t.ok(performance.now() - killed < leaseMs + 500, 'a query lists no users of the killed instance')
  await watcher.until('ann')
  t.ok(performance.now() - killed < leaseMs + timing.idleCheck + timing.presenceSettle + 1_000, 'nor does a stream')
  t.same(watcher.reader.faults, [])
})

t.test('a lease that expired during a pause of Redis is renewed, and no user is reported as left', async (t) => {
  const redis = await startRedis(t)
  const instances = await Promise.all(['one', 'two'].map((instanceId) => {
    return startApp(t, { redisUrl: redis.url, instanceId, presence: true, authorize })
  }))
  const [one, two] = instances as [Side, Side]
  const watcher = await open(t, two)
  await open(t, one, 'ann')
  await open(t, two, 'bob')
  await watcher.until('ann', 'bob')
  const admin = client(t, redis.url)
  // Time passes for Redis as it would while it stood still.
  for (const field of await admin.zrange('rt:{chat:c}:l', '0', '-1')) {
    await admin.zadd('rt:{chat:c}:l', '1', String(field))
  }
  await asked([one], ['ann', 'bob'])
  await open(t, one, 'cem')
  await watcher.until('ann', 'bob', 'cem')
  t.same(watcher.reader.received.filter(({ left = [] }) => left.length > 0), [])
})

/** A stream that closes on request. */
class Tab {
  closed = false
  readonly userId: string
  close: () => void = () => {}

  constructor (userId: string) {
    this.userId = userId
  }

  get asStream (): EventSink {
    return Object.assign(this, {
      onClose: (callback: () => void) => { this.close = callback }
    }) as unknown as EventSink // It is written nothing.
  }
}

t.test('a renewal restores what is lost, waits for the previous one, and survives failures', async (t) => {
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
  const present = (...users: string[]): Promise<void> => {
    return until(() => readPresence(state, 'c'), (found) => found.join() === users.join())
  }
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
  t.same(await readPresence(state, 'c'), ['ann', 'bob'], 'removing one stream removes no other user')
  again.close()
  bob.close()
  await present()
  t.same(await readPresence(state, 'd'), ['cem'])
})

t.test('users of an instance that may be dead are not listed, even before that is certain', async (t) => {
  const fields = new Map(['ann', 'bob'].map((user) => {
    return [presenceField('one', user), { value: '', text: false, expired: false }]
  }))
  const read = async (): Promise<StatePage> => {
    return { version: { epoch: 'e', count: 2 }, fields, doubtful: new Set([presenceField('one', 'bob')]) }
  }
  t.same(await readPresence({ read } as unknown as StateStore, 'c'), ['ann'])
})
