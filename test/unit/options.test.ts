import t from 'tap'
import { Redis } from 'ioredis'
import Fastify from 'fastify'
import realtimePlugin, { LocalPubSub, RedisPubSub, type RealtimeOptions } from '../../lib/index.ts'
import { pluginOptions, resolveOptions } from '../../lib/options.ts'

const SECRET = 'hunter2'

/** The options that have a default, with it. */
const defaults = Object.fromEntries(
  Object.entries(pluginOptions).flatMap(([name, option]) =>
    option.default === undefined ? [] : [[name, option.default]]
  )
)

delete process.env.REDIS_URL

t.test('without options, every option has its default', async (t) => {
  t.same(resolveOptions({}), {
    ...defaults,
    redisUrl: undefined,
    redis: undefined,
    pubsub: undefined,
    instanceId: undefined
  })
  t.match(resolveOptions({}), {
    prefix: '/api', heartbeatMs: 15_000, history: { size: 1_000, ttlMs: 600_000 }, presence: false, maxRooms: undefined
  })
})

t.test('REDIS_URL selects Redis; redisUrl overrides it; pubsub and redis override both', async (t) => {
  process.env.REDIS_URL = 'redis://env:1'
  t.teardown(() => { delete process.env.REDIS_URL })
  t.equal(resolveOptions({}).redisUrl, 'redis://env:1')
  t.equal(resolveOptions({ redisUrl: undefined }).redisUrl, 'redis://env:1')
  t.equal(resolveOptions({ redisUrl: 'rediss://option:2/3' }).redisUrl, 'rediss://option:2/3')
  t.equal(resolveOptions({ pubsub: new LocalPubSub() }).redisUrl, undefined)
  const redis = new Redis({ lazyConnect: true })
  t.equal(resolveOptions({ redis }).redisUrl, undefined)
})

t.test('an invalid redisUrl or REDIS_URL is refused at registration, and the error does not contain it', async (t) => {
  const wrong = [
    '', 'localhost:6379', `http://user:${SECRET}@host:1`, `redis://:${SECRET}@`, 'redis://', 'redis:///0',
    `redis://:${SECRET}@host/one`,
    `redis://:${SECRET}@host:99999`, `redis://:${SECRET}%zz@host`, `redis://:${SECRET}@host/0/1`,
    `unix:///tmp/${SECRET}.sock`,
    ` redis://:${SECRET}@host`, `redis://:${SECRET}@host\n`, `redis://:${SECRET}@ho\tst`, `REDIS://:${SECRET}@host`,
    `redis://:${SECRET}@host:0`,
    `redis://:${SECRET}@host?db=one`, `redis://:${SECRET}@host?enableOfflineQueue=true`, `redis://:${SECRET}@host/0#x`,
    `redis://:${SECRET}@host/99999999999`
  ]
  for (const redisUrl of wrong) {
    const byOption = Fastify()
    const error = (await byOption.register(realtimePlugin, { redisUrl }).then(
      () => undefined,
      (error: unknown) => error
    )) as Error
    t.match(error, { code: 'RT_REDIS_URL_INVALID', message: /Set redisUrl or REDIS_URL to redis:/ }, redisUrl)
    t.notMatch(error.stack + JSON.stringify(error), SECRET)
    process.env.REDIS_URL = redisUrl
    await t.rejects(async () => await Fastify().register(realtimePlugin), { code: 'RT_REDIS_URL_INVALID' })
    delete process.env.REDIS_URL
    t.throws(() => new RedisPubSub({ url: redisUrl }), { code: 'RT_REDIS_URL_INVALID' })
  }
  t.throws(() => new RedisPubSub({ url: 1 as unknown as string }), {
    code: 'RT_REDIS_URL_INVALID',
    message: /got number/
  })
})

t.test('each invalid option is refused by an error that names it', async (t) => {
  const wrong: [string, unknown][] = [
    ['prefix', 'api'], ['prefix', '/api/'], ['prefix', 1], ['prefix', '/:id'],
    ['heartbeatMs', -1], ['heartbeatMs', 1.5], ['heartbeatMs', '15'], ['heartbeatMs', NaN], ['heartbeatMs', 2 ** 31],
    ['history', null], ['history', true], ['history', 5], ['history.size', { history: { size: 0 } }],
    ['history.ttlMs', { history: { ttlMs: '1h' } }],
    ['idempotencyTtlMs', 0], ['retryMs', -1], ['authorize', 'yes'], ['authorize', null], ['sharded', 'yes'],
    ['sharded', null], ['maxConnections', 0], ['maxConnectionsPerClient', 1.5],
    ['maxStreamsPerSession', 0], ['maxChatsPerStream', 0], ['maxChatsPerStream', 101], ['maxRewind', -1],
    ['maxRewind', 1_000_000],
    ['maxConnectionAgeMs', '1'], ['maxRooms', -1], ['metrics', {}], ['maxBufferedBytes', 0], ['maxPayloadBytes', 0],
    ['publishTimeoutMs', 0], ['drainTimeoutMs', -1], ['botMessageWindowMs', -1], ['botMessageLeaseMs', 99],
    ['botMessageLeaseMs', 60_001],
    ['presence', null], ['presence', 'yes'], ['presence.graceMs', { authorize: () => true, presence: { graceMs: -1 } }],
    ['presence.leaseMs', { authorize: () => true, presence: { leaseMs: 99 } }],
    ['presence.leaseMs', { authorize: () => true, presence: { leaseMs: 60_001 } }],
    ['keyPrefix', 'a{b}'], ['keyPrefix', 'a*'], ['keyPrefix', null], ['keyPrefix', 'x'.repeat(65)],
    ['instanceId', 'a b'], ['instanceId', ''], ['instanceId', 5],
    ['history.sise', { history: { sise: 5 } }], ['presence.grace', { authorize: () => true, presence: { grace: 1 } }],
    ['redis', {}], ['redis', 'redis://host'], ['pubsub', {}], ['pubsub', { publish () {} }], ['heartBeatMs', 1]
  ]
  for (const [name, value] of wrong) {
    const given = name.includes('.') ? value : { [name]: value }
    t.throws(
      () => resolveOptions(given as RealtimeOptions),
      { code: 'RT_OPTION_INVALID', message: new RegExp(`\`${name}\``) },
      `${name}: ${String(value)}`
    )
  }
  t.throws(() => resolveOptions({ maxChatsPerStream: 400 }), {
    message: /from 1 to 100, since the ids of more chats do not fit into a request, got 400/
  })
  t.throws(() => resolveOptions({ botMessageLeaseMs: 90_000 }), {
    message: /from 100 to 60000, since Redis keeps what was not renewed no longer than that, got 90000/
  })
  for (const presence of [true, { graceMs: 1 }]) {
    t.throws(() => resolveOptions({ presence }), {
      code: 'RT_OPTION_INVALID',
      message: /`presence` needs `authorize`.*Give both/
    })
  }
  t.throws(() => resolveOptions({ redisUrl: 'redis://host', pubsub: new LocalPubSub() }), {
    code: 'RT_OPTION_INVALID',
    message: /one of redisUrl, redis and pubsub, got redisUrl and pubsub/
  })
  t.throws(() => new LocalPubSub({ instanceId: 'a b' }), { code: 'RT_OPTION_INVALID' })
  t.throws(() => new RedisPubSub({ url: 'redis://localhost', keyPrefix: '*' }), { code: 'RT_OPTION_INVALID' })
})

t.test('the minimum and the maximum of each option are accepted', async (t) => {
  const given = {
    prefix: '',
    maxRewind: 0,
    heartbeatMs: 0,
    retryMs: 0,
    maxBufferedBytes: 1,
    maxPayloadBytes: 1,
    publishTimeoutMs: 1,
    drainTimeoutMs: 0,
    botMessageWindowMs: 0,
    botMessageLeaseMs: 100,
    keyPrefix: '',
    instanceId: 'a.b-c_1'
  }
  t.match(resolveOptions(given), given)
  t.match(
    resolveOptions({ logLevel: 'warn' } as RealtimeOptions),
    defaults,
    'what Fastify takes for itself is not ours to refuse'
  )
  t.match(
    resolveOptions({
      prefix: '/v1/real-time',
      heartbeatMs: 2 ** 31 - 1,
      maxChatsPerStream: 100,
      botMessageLeaseMs: 60_000
    }),
    { prefix: '/v1/real-time', heartbeatMs: 2 ** 31 - 1, maxChatsPerStream: 100, botMessageLeaseMs: 60_000 }
  )
})
