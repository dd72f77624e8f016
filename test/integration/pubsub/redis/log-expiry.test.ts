import t, { type Test } from 'tap'
import type { Redis } from 'ioredis'
import type { RedisPubSub } from '../../../../lib/index.ts'
import { client, open, startRedis } from '../../../support/redis.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { publish } from './log-of-one-chat.ts'

const META = 'rt:{c}:m'
const STREAM = 'rt:{c}:s'
const TTL = 100_000
const EXPIRY = 125_000
const WEEK = 7 * 24 * 3_600_000

t.beforeEach(nothingUnhandled)

async function start (t: Test): Promise<{ admin: Redis, pubsub: RedisPubSub }> {
  const redis = await startRedis(t)
  return { admin: client(t, redis.url), pubsub: open(t, { url: redis.url, history: { ttlMs: TTL } }) }
}

/** Changes the keys as if `ms` milliseconds had passed. */
async function pass (admin: Redis, ms: number): Promise<void> {
  await admin.hincrby(META, 'x', -ms)
  for (const key of [META, STREAM]) await admin.pexpire(key, await admin.pttl(key) - ms)
}

/** Milliseconds up to the expiry of both keys, without those of META that are promised in addition. */
async function rests (admin: Redis): Promise<number[]> {
  return [await admin.pttl(STREAM), await admin.pttl(META) - WEEK]
}

t.test('the expiry of a log is renewed only when less than its time to live would be left', async (t) => {
  const { admin, pubsub } = await start(t)
  await publish(pubsub, 1)
  await pass(admin, 15_000)
  await publish(pubsub, 2)
  for (const rest of await rests(admin)) t.ok(rest >= TTL && rest <= EXPIRY - 15_000, 'it is not renewed yet')
  await pass(admin, 10_000)
  await publish(pubsub, 3)
  for (const rest of await rests(admin)) t.ok(rest > EXPIRY - 15_000, 'it is renewed')
  const calls = /cmdstat_pexpire:calls=(\d+)/.exec(await admin.info('commandstats'))?.[1]
  t.equal(Number(calls), 4 + 4, 'four by this test, and two for each of two renewals')
})

t.test('a stream that was deleted on its own gets an expiry with the next event', async (t) => {
  const { admin, pubsub } = await start(t)
  await publish(pubsub, 1)
  await admin.del(STREAM)
  await publish(pubsub, 2)
  for (const rest of await rests(admin)) t.ok(rest > EXPIRY - 15_000)
})

t.test('metadata that was deleted on its own gets an expiry with the next event', async (t) => {
  const { admin, pubsub } = await start(t)
  await publish(pubsub, 1)
  await admin.del(META)
  await publish(pubsub, 2)
  for (const rest of await rests(admin)) t.ok(rest > EXPIRY - 15_000)
})

t.test('a change of the state does not shorten the life of the log', async (t) => {
  const { admin, pubsub } = await start(t)
  await publish(pubsub, 1)
  await pubsub.state?.change('c', { operation: 'set', field: 'f', value: '1', leaseMs: 60_000 })
  await pass(admin, 20_000)
  await publish(pubsub, 2)
  for (const rest of await rests(admin)) t.ok(rest >= TTL)
})

t.test('after an event that Redis has refused, the expiry is renewed by the next one', async (t) => {
  const { admin, pubsub } = await start(t)
  await publish(pubsub, 1)
  await pass(admin, 50_000)
  await admin.call('ACL', 'SETUSER', 'default', '-xadd')
  await t.rejects(pubsub.publish('c', 2), { code: 'RT_PUBLISH_REJECTED' })
  await admin.call('ACL', 'SETUSER', 'default', '+xadd')
  await publish(pubsub, 2)
  for (const rest of await rests(admin)) t.ok(rest > EXPIRY - 15_000)
})

t.test('a log is trimmed to about its size', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url, history: { size: 640 } })
  await Promise.all(Array.from({ length: 2_000 }, (_, n) => pubsub.publish('c', n)))
  const length = await client(t, redis.url).xlen(STREAM)
  t.ok(length >= 640 && length <= 640 + 100 + 10, `${length}: a node of a stream has 100 entries`)
})
