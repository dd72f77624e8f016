import t, { type Test } from 'tap'
import type { Redis } from 'ioredis'
import type { RedisPubSub } from '../../../../lib/index.ts'
import { upTo } from '../../../support/numbers.ts'
import { client, open, startRedis } from '../../../support/redis.ts'
import { RedisCluster } from '../../../support/redis-cluster.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'

const channels = upTo(150).map((n) => `c${n}`)

t.beforeEach(nothingUnhandled)

async function start (t: Test): Promise<{ admin: Redis, pubsub: RedisPubSub, reads: () => Promise<number> }> {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  await Promise.all(channels.map((channel) => pubsub.publish(channel, channel)))
  // Gives the script to Redis, and opens the connection.
  await pubsub.eventLog?.read('c1', undefined, 1)
  await admin.config('RESETSTAT')
  const reads = async (): Promise<number> =>
    Number(/cmdstat_evalsha:calls=(\d+)/.exec(await admin.info('commandstats'))?.[1] ?? 0)
  return { admin, pubsub, reads }
}

/** Reads the last event of each channel in one turn. Returns the contents, or the code of the error. */
function readAll ({ eventLog }: RedisPubSub, maxBytes?: number): Promise<unknown[]> {
  return Promise.all(channels.map((channel) => eventLog?.read(channel, undefined, 1, maxBytes).then(
    ({ entries: [entry], head }) => entry === undefined ? head.offset : JSON.parse(entry.json), ({ code }) => code
  )))
}

t.test('the reads of one turn take few commands, and each gets the reply of its channel', async (t) => {
  const { pubsub, reads } = await start(t)
  t.same(await readAll(pubsub), channels)
  t.equal(await reads(), 3)
  t.same(await readAll(pubsub, 0), channels.map(() => 1))
  t.equal(await reads(), 6)
})

t.test('the heads of many channels take few commands', async (t) => {
  const { pubsub, reads } = await start(t)
  // Gives the script to Redis.
  await pubsub.eventLog?.heads(['c1'])
  const before = await reads()
  t.same((await pubsub.eventLog?.heads(channels))?.map((head) => head?.offset), channels.map(() => 1))
  t.equal(await reads() - before, 3)
})

t.test('a channel that cannot be read does not fail the reads of others', async (t) => {
  const { admin, pubsub } = await start(t)
  await admin.set('rt:{c3}:m', 'of something else')
  t.same(await readAll(pubsub), channels.map((channel) => channel === 'c3' ? 'RT_LOG_UNAVAILABLE' : channel))
})

t.test('the heads of many channels are not read if one cannot be read, and are read again afterwards', async (t) => {
  const { admin, pubsub } = await start(t)
  const meta = await admin.hgetall('rt:{c3}:m')
  await admin.set('rt:{c3}:m', 'of something else')
  await t.rejects(pubsub.eventLog?.heads(channels) as Promise<unknown>, { code: 'RT_LOG_UNAVAILABLE' })
  await admin.del('rt:{c3}:m')
  await admin.hset('rt:{c3}:m', meta)
  await admin.script('FLUSH')
  t.same((await pubsub.eventLog?.heads(channels))?.map((head) => head?.offset), channels.map(() => 1))
})

t.test('if Redis does not reply, all reads of a turn reject', async (t) => {
  const { admin, pubsub } = await start(t)
  const read = readAll(pubsub)
  await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes').catch(() => {})
  for (const [index, outcome] of (await read).entries()) {
    t.match(outcome, new RegExp(`^(RT_LOG_UNAVAILABLE|${channels[index]})$`))
  }
})

t.test('an event that is published after a read of the same turn comes after the head of the page', async (t) => {
  const { pubsub } = await start(t)
  for (const [n, channel] of ['c1', 'c2'].entries()) {
    const [page, { id }] = await Promise.all([
      pubsub.eventLog?.read(channel, undefined, 1, 0), pubsub.publish(channel, 'later')
    ])
    t.match([page?.head.offset, id], [1, /-2-/], `${n}`)
  }
})

t.test('a client that knows no Cluster reads each channel from the node that has it', async (t) => {
  const cluster = await RedisCluster.start()
  t.teardown(() => cluster.stop())
  const node = cluster.nodes[0]
  const pubsub = open(t, { url: `redis://127.0.0.1:${node?.server.port}` })
  const outcomes = [await readAll(pubsub, 0), await readAll(pubsub, 0)]
  for (const outcome of outcomes) t.same(new Set(outcome), new Set([0, 'RT_LOG_UNAVAILABLE']))
  const ours = channels.filter((_, index) => outcomes[0]?.[index] === 0)
  for (const call of ['first', 'second']) {
    t.same((await pubsub.eventLog?.heads(ours))?.map((head) => head?.offset), ours.map(() => 0), `${call} call`)
  }
})
