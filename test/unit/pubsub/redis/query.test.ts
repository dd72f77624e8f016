import t from 'tap'
import { Cluster, Redis } from 'ioredis'
import { databaseOf, type RedisClient } from '../../../../lib/pubsub/redis/client.ts'
import { Query } from '../../../../lib/pubsub/redis/query.ts'
import type { Script } from '../../../../lib/pubsub/redis/scripts.ts'

t.test('a refused write does not fail a read, a lost reply does', async (t) => {
  // No more is asked of a client that is connected.
  const reader = new Query(() => ({ status: 'ready' } as RedisClient), 1_000)
  const failing = (error: Error): Script =>
    // As above.
    ({ call: () => ({ send: () => Promise.reject(error), isForgotten: () => false }) }) as unknown as Script
  const refusal = Object.assign(new Error('OOM'), { name: 'ReplyError' })
  t.equal(await reader.attempt(failing(refusal), [], []), refusal)
  await t.rejects(reader.attempt(failing(new Error('Connection is closed.')), [], []), { code: 'RT_LOG_UNAVAILABLE' })
})

t.test('a client that has not connected yet uses the database of its options', async (t) => {
  const clients = [
    new Redis({ lazyConnect: true, db: 3 }),
    new Redis({ lazyConnect: true }),
    new Cluster([], { lazyConnect: true })
  ]
  t.same(clients.map((client) => databaseOf(client)), [3, 0, 0])
  for (const client of clients) client.disconnect()
  const client = { isCluster: false, condition: null, options: {} } as RedisClient // Only these fields are read.
  t.equal(databaseOf(client), 0, 'in every version of ioredis')
})
