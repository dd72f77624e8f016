import t from 'tap'
import type { FastifyBaseLogger } from 'fastify'
import type { RedisPubSub, StateStore } from '../../../lib/index.ts'
import { presenceField } from '../../../lib/presence/fields.ts'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { keepLog } from '../../support/log.ts'
import { client, startRedis } from '../../support/redis.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import { type Side, authorize, open, asked } from './sides.ts'

t.beforeEach(nothingUnhandled)

t.test('presence that Redis loses is restored, and no user is reported as left', async (t) => {
  const redis = await startRedis(t)
  const instances = await Promise.all(['one', 'two'].map((instanceId) => {
    return startApp(t, { redisUrl: redis.url, instanceId, presence: true, authorize })
  }))
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
  t.same(watcher.reader.received.filter(({ left = [] }) => left.length > 0), [])
  t.same(watcher.reader.faults, [])
})

t.test('an outage of Redis causes no failure and one log line, and changes are reported after it', async (t) => {
  const redis = await startRedis(t)
  const { log, lines } = keepLog()
  const options = { redisUrl: redis.url, publishTimeoutMs: 200, presence: { graceMs: 0, leaseMs: 1_000 }, authorize }
  const one = await startApp(t, { ...options, instanceId: 'one' }, {
    server: { loggerInstance: log as FastifyBaseLogger }
  })
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

t.test('an abandoned write that reaches Redis late shows a user for a lease at most, and hides none', async (t) => {
  const redis = await startRedis(t)
  const leaseMs = 1_500
  const options = { redisUrl: redis.url, presence: { graceMs: 0, leaseMs }, authorize }
  const [one, two] = await Promise.all(['one', 'two'].map((instanceId) => {
    return startApp(t, { ...options, instanceId })
  })) as [Side, Side]
  const watcher = await open(t, two)
  const ann = await open(t, one, 'ann')
  await open(t, one, 'bob')
  await watcher.until('ann', 'bob')
  ann.close()
  await watcher.until('bob')
  const { state } = two.app.pubsub as RedisPubSub & { state: StateStore } // Redis has one.
  // As the instance sent it, after ann joined and before bob did.
  await state.change('chat:c', { operation: 'set', field: presenceField('one', 'ann'), value: '', leaseMs })
  await state.change('chat:c', { operation: 'delete', field: presenceField('one', 'bob') })
  await watcher.until('ann', 'bob')
  await asked([one, two], ['ann', 'bob'])
  await watcher.until('bob')
  await asked([one, two], ['bob'])
  t.same(watcher.reader.received.filter(({ left = [] }) => left.includes('bob')), [])
})
