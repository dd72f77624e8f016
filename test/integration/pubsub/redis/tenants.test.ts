import t, { type Test } from 'tap'
import * as ioredis from 'ioredis'
import * as ioredis5 from 'ioredis5'
import { RedisPubSub, type RedisPubSubOptions } from '../../../../lib/index.ts'
import { live } from '../../../support/live.ts'
import { client, open, startRedis } from '../../../support/redis.ts'
import { RedisCluster } from '../../../support/redis-cluster.ts'
import { RedisSentinel } from '../../../support/redis-sentinel.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { until } from '../../../support/until.ts'

t.beforeEach(nothingUnhandled)

/** Publishes in each possible way, and returns the outcome of each. */
async function publishAll (pubsub: RedisPubSub, content: string): Promise<void> {
  await pubsub.publish('chat:c', `${content} durable`)
  await pubsub.publish('chat:c', `${content} ephemeral`, { ephemeral: true })
  await pubsub.state?.change('chat:c', {
    operation: 'set', field: content, value: String(performance.now()), leaseMs: 10_000
  })
}

/** Two instances of each of two tenants: each receives all events of its own tenant, and none of the other one. */
async function areApart (
  t: Test, tenants: (() => RedisPubSubOptions)[], { patterns = true, history = true } = {}
): Promise<void> {
  const instances = tenants.map((make) => {
    return [1, 2].map(() => open(t, { ...make(), ...!history && { history: false } })) as [RedisPubSub, RedisPubSub]
  })
  const got: unknown[][] = []
  for (const [, listener] of instances) {
    const heard: unknown[] = []
    got.push(heard)
    listener.subscribeExact('chat:c', ({ data }) => { heard.push(data) })
    if (patterns) listener.subscribe('chat:*', ({ channel, data }) => { heard.push([channel, data]) })
    listener.state?.watch('chat:c', ({ field }) => { heard.push(`${field} state`) })
    // Of this very channel, which has its own node if it is sharded.
    await new Promise<void>((resolve) => { listener.follow('chat:c', { live: resolve, lost () {}, receive () {} }) })
    await live(listener)
  }
  for (const [index, [publisher]] of instances.entries()) await publishAll(publisher, String(index))
  for (const [index, [publisher, listener]] of instances.entries()) {
    const kinds = history ? ['durable', 'ephemeral', 'state'] : ['durable', 'ephemeral']
    const own = kinds.flatMap((kind) => {
      const data = `${index} ${kind}`
      return patterns && kind !== 'state' ? [data, ['chat:c', data]] : [data]
    })
    // The last message arrives after all earlier ones if one connection carries them all.
    await until(async () => got[index]?.length as number, (length) => length >= own.length)
    await publisher.publish('chat:c', 'last')
    await until(async () => got[index] as unknown[], (heard) => heard.some((data) => data === 'last'))
    t.same(got[index]?.filter((data) => !JSON.stringify(data).includes('last')).sort(), own.sort())
    await listener.close()
  }
}

t.test('tenants of one Redis with their own prefix or database never receive each other\'s events', async (t) => {
  const redis = await startRedis(t)
  const { port, url } = redis
  const versions = {
    5: (options: object) => new ioredis5.Redis(port, options), 6: (options: object) => new ioredis.Redis(port, options)
  }
  const of = (version: 5 | 6, options: object) => (): RedisPubSubOptions => {
    const app = versions[version](options)
    t.teardown(() => { app.disconnect() })
    return { client: app }
  }
  const tenants: Record<string, (() => RedisPubSubOptions)[]> = {
    'keyPrefix of the client': [of(6, { keyPrefix: 'a:' }), of(6, { keyPrefix: 'b:' }), of(6, {})],
    'keyPrefix of a client of ioredis 5': [of(5, { keyPrefix: 'c:' }), of(5, { keyPrefix: 'd:' })],
    'prefixes that are globs': [
      of(6, { keyPrefix: 'x*:' }), of(6, { keyPrefix: 'x[yz]?\\:' }), of(6, { keyPrefix: 'xy:' })
    ],
    'databases of clients': [of(6, { db: 1 }), of(6, { db: 2 }), of(5, { db: 3 })],
    'databases of URLs': [
      () => ({ url: `${url}/4` }),
      () => ({ url: `${url}/5` }),
      () => ({ url, keyPrefix: '6' }),
      () => ({ url: `${url}/6`, keyPrefix: '' })
    ],
    'prefix and database': [
      of(6, { keyPrefix: 'e:', db: 7 }), of(6, { keyPrefix: 'e:', db: 8 }), of(6, { keyPrefix: 'f:', db: 7 })
    ]
  }
  for (const [name, makers] of Object.entries(tenants)) {
    t.test(name, async (t) => { await areApart(t, makers) })
    t.test(`${name}, without history`, async (t) => { await areApart(t, makers, { history: false }) })
  }
})

t.test('a URL, and a client with the same database, are one tenant', async (t) => {
  const { port, url } = await startRedis(t)
  const app = client(t, url)
  await app.select(3)
  const got: unknown[] = []
  const [listener, one, two] = [
    open(t, { url: `${url}/3` }),
    open(t, { client: client(t, `redis://127.0.0.1:${port}/3`) }),
    open(t, { client: app })
  ]
  listener.subscribeExact('c', ({ data }) => { got.push(data) })
  await live(listener)
  for (const [n, publisher] of [one, two].entries()) await publisher.publish('c', n)
  await until(async () => got, ({ length }) => length === 2)
  t.same(got, [0, 1])
})

t.test('tenants of a Cluster with their own prefix never receive each other\'s events', async (t) => {
  const cluster = await RedisCluster.start()
  t.teardown(() => cluster.stop())
  const versions = {
    'ioredis 5': (options: object) => new ioredis5.Cluster(cluster.addresses, options),
    'ioredis 6': (options: object) => new ioredis.Cluster(cluster.addresses, options)
  }
  for (const [version, make] of Object.entries(versions)) {
    for (const sharded of [false, true]) {
      for (const history of [true, false]) {
        t.test(`${version}, ${sharded ? 'sharded' : 'classic'}, ${history ? 'with' : 'without'} history`, async (t) => {
          const of = (options: object) => (): RedisPubSubOptions => {
            const app = make(options)
            t.teardown(() => { app.disconnect() })
            return { client: app, sharded }
          }
          await areApart(
            t,
            [of({ keyPrefix: 'a:' }), of({ redisOptions: { keyPrefix: 'b:' } }), of({ keyPrefix: '{c}:' }), of({})],
            { patterns: !sharded, history }
          )
        })
      }
    }
  }
})

t.test('tenants behind Sentinels with their own prefix or database never receive each other\'s events', async (t) => {
  const group = await RedisSentinel.start()
  t.teardown(() => group.stop())
  const of = (options: object) => (): RedisPubSubOptions => {
    const app = new ioredis.Redis({ ...group.options, ...options })
    t.teardown(() => { app.disconnect() })
    return { client: app }
  }
  await areApart(t, [of({ keyPrefix: 'a:' }), of({ keyPrefix: 'b:' }), of({ db: 1 }), of({ db: 2 })])
})

t.test('events of a chat with a long id arrive by its name and by a pattern, sharded by its name', async (t) => {
  const cluster = await RedisCluster.start()
  t.teardown(() => cluster.stop())
  const channel = `chat:${'😀'.repeat(250)}`
  for (const sharded of [false, true]) {
    const [one, two] = [1, 2].map(() => {
      const app = new ioredis.Cluster(cluster.addresses, { keyPrefix: `${sharded}:` })
      t.teardown(() => { app.disconnect() })
      return open(t, { client: app, sharded })
    }) as [RedisPubSub, RedisPubSub]
    const got: unknown[] = []
    await new Promise<void>((resolve) => { two.follow(channel, { live: resolve, lost () {}, receive () {} }) })
    two.subscribeExact(channel, ({ channel, data }) => { got.push([channel, data]) })
    if (!sharded) two.subscribe('chat:*', ({ channel, data }) => { got.push([channel, data]) })
    await live(two)
    for (const ephemeral of [false, true]) {
      got.length = 0
      await one.publish(channel, 1, { ephemeral })
      await until(async () => got.length, (length) => length >= (sharded ? 1 : 2))
      t.same(got, Array(sharded ? 1 : 2).fill([channel, 1]))
    }
  }
})
