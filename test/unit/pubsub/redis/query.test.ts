import t from 'tap'
import { Cluster, Redis } from 'ioredis'
import { databaseOf, type RedisClient } from '../../../../lib/pubsub/redis/client.ts'
import { Query } from '../../../../lib/pubsub/redis/query.ts'
import type { Script } from '../../../../lib/pubsub/redis/scripts.ts'

t.test('where Redis refuses a write, reading goes on; where its answer is lost, the read rejects', async (t) => {
  // No more is asked of a client that is connected.
  const reader = new Query(() => ({ status: 'ready' } as RedisClient), 1_000)
  const failing = (error: Error): Script =>
    ({ call: () => ({ send: () => Promise.reject(error), isForgotten: () => false }) }) as unknown as Script // As above.
  t.equal(await reader.tries(failing(Object.assign(new Error('OOM'), { name: 'ReplyError' })), [], []), false)
  await t.rejects(reader.tries(failing(new Error('Connection is closed.')), [], []), { code: 'RT_LOG_UNAVAILABLE' })
})

t.test('a client that has not connected yet uses the database of its options', async (t) => {
  const clients = [new Redis({ lazyConnect: true, db: 3 }), new Redis({ lazyConnect: true }), new Cluster([], { lazyConnect: true })]
  t.same(clients.map((client) => databaseOf(client)), [3, 0, 0])
  for (const client of clients) client.disconnect()
  t.equal(databaseOf({ isCluster: false, condition: null, options: {} } as RedisClient), 0, 'whichever version says so') // It reads these.
})
