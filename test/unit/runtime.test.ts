import t from 'tap'
import { silentLogger } from '../../lib/core/logger.ts'
import { LocalPubSub, type RealtimeOptions } from '../../lib/index.ts'
import { pluginOptions, resolveOptions } from '../../lib/options.ts'
import { RealtimeRuntime } from '../../lib/runtime.ts'

delete process.env.REDIS_URL

const authorize = (): boolean => true

/** A value other than the default, for each option whose scope is the app. */
const ofStreams: RealtimeOptions = {
  authorize,
  prefix: '/v1',
  routeOptions: {},
  maxChatsPerStream: 1,
  maxRewind: 1,
  maxConnections: 1,
  maxConnectionsPerClient: 1,
  maxStreamsPerSession: 1,
  maxConnectionAgeMs: 1,
  heartbeatMs: 1,
  maxBufferedBytes: 1,
  drainTimeoutMs: 1,
  publishRoute: { authorize: () => true },
  outbox: {
    startRelay: () => ({ stop: async () => {} }), stats: async () => ({ waiting: 0, oldestSeconds: 0, setAside: 0 })
  },
  metrics: { registerMetric () {}, removeSingleMetric () {} }
}

function isShared (one: RealtimeOptions, other: RealtimeOptions): boolean {
  return new RealtimeRuntime(resolveOptions(one), silentLogger).isCompatible(resolveOptions(other))
}

t.test('apps of one process share a provider although the options of their streams differ', async (t) => {
  const names = Object.entries(pluginOptions).filter(([, { scope }]) => scope === 'app').map(([name]) => name)
  t.same(Object.keys(ofStreams).sort(), names.sort())
  t.ok(isShared({}, ofStreams))
})

t.test('apps with other values of the remaining options do not share a provider', async (t) => {
  const others: RealtimeOptions[] = [
    { redisUrl: 'redis://localhost' }, { pubsub: new LocalPubSub() }, { keyPrefix: 'other:' }, { maxRooms: 1 },
    { history: false }, { history: { size: 5 } }, { presence: true, authorize }, { retryMs: 1 }, { instanceId: 'two' }
  ]
  for (const other of others) t.notOk(isShared({}, other), Object.keys(other).join())
  t.notOk(isShared({ pubsub: new LocalPubSub() }, { pubsub: new LocalPubSub() }), 'two providers')
})

t.test('objects with equal fields are equal', async (t) => {
  t.ok(isShared({ history: { size: 5 } }, { history: { size: 5, ttlMs: 600_000 } }))
  t.ok(isShared({ presence: true, authorize }, { presence: { graceMs: 10_000 }, authorize }))
  t.notOk(isShared({ history: { size: 5 } }, { history: { size: 6 } }))
})
