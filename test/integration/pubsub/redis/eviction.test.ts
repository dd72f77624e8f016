import t from 'tap'
import { EventEmitter } from 'node:events'
import { Redis } from 'ioredis'
import type { RedisClient } from '../../../../lib/index.ts'
import { warnIfEvicting } from '../../../../lib/pubsub/redis/eviction.ts'
import { live } from '../../../support/live.ts'
import { keepLog, type LogLine } from '../../../support/log.ts'
import { client, open, startRedis } from '../../../support/redis.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'

const WARNING = /^Redis deletes keys when its memory is full .*: set maxmemory-policy to noeviction$/
const LIMITED = ['--maxmemory', '100mb']

t.beforeEach(nothingUnhandled)

const warnings = (lines: LogLine[]): LogLine[] => lines.filter(({ msg }) => WARNING.test(msg))

t.test('an eviction policy that deletes keys is warned of once, also after a reconnect', async (t) => {
  const redis = await startRedis(t, [...LIMITED, '--maxmemory-policy', 'volatile-lru'])
  const { log, lines } = keepLog()
  const pubsub = open(t, { url: redis.url, log })
  await pubsub.publish('c', 1)
  await client(t, redis.url).call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  await pubsub.publish('c', 2)
  t.match(warnings(lines), [{ level: 40, policy: 'volatile-lru' }])
  t.equal(warnings(lines).length, 1)
})

t.test('a client that is connected already is looked at', async (t) => {
  const redis = await startRedis(t, [...LIMITED, '--maxmemory-policy', 'allkeys-random'])
  const app = client(t, redis.url)
  await app.ping()
  const { log, lines } = keepLog()
  await open(t, { client: app, log }).publish('c', 1)
  t.match(warnings(lines), [{ policy: 'allkeys-random' }])
})

t.test('there is no warning if Redis deletes nothing, or may not be asked', async (t) => {
  const options = [LIMITED, ['--maxmemory-policy', 'allkeys-lru'], [...LIMITED, '--maxmemory-policy', 'allkeys-lru']]
  for (const [index, args] of options.entries()) {
    const redis = await startRedis(t, args)
    if (index === 2) await client(t, redis.url).call('ACL', 'SETUSER', 'default', '-info')
    const { log, lines } = keepLog()
    const pubsub = open(t, { url: redis.url, log })
    // A script needs INFO as well.
    if (index === 2) await t.rejects(pubsub.publish('c', 1), { code: 'RT_PUBLISH_REJECTED' })
    else await pubsub.publish('c', 1)
    await live(pubsub)
    t.same(warnings(lines), [])
  }
})

t.test('each primary of a Cluster is looked at', async (t) => {
  const node = (policy: string): object =>
    ({ info: async () => `# Memory\r\nmaxmemory:1000\r\nmaxmemory_policy:${policy}\r\n` })
  const cluster = Object.assign(new EventEmitter(), {
    status: 'ready', isCluster: true, nodes: () => [node('noeviction'), node('allkeys-lfu')]
  })
  const { log, lines } = keepLog()
  warnIfEvicting(cluster as unknown as RedisClient, log)
  await new Promise(setImmediate)
  t.match(warnings(lines), [{ policy: 'allkeys-lfu' }])
})

t.test('a closed provider leaves no listener on the client of the app', async (t) => {
  const app = new Redis({ lazyConnect: true, port: 1, retryStrategy: null })
  app.on('error', () => {})
  const before = app.listenerCount('ready')
  await open(t, { client: app }).close()
  t.equal(app.listenerCount('ready'), before)
})
