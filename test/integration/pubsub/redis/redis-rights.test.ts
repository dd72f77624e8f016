import t from 'tap'
import type { Cursor } from '../../../../lib/pubsub/cursor.ts'
import { RedisPubSub } from '../../../../lib/index.ts'
import { live } from '../../../support/live.ts'
import { keepLog } from '../../../support/log.ts'
import { client, open, startRedis } from '../../../support/redis.ts'
import { until } from '../../../support/until.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import type { EventLog } from '../../../../lib/pubsub/event-log.ts'
import { next } from './next-message.ts'

/** The rights that a Redis user needs for the log, and for the rest. The docs list the same. */
const LOG_RIGHTS = [
  '+eval',
  '+evalsha',
  '~rt:*',
  '+get',
  '+set',
  '+exists',
  '+del',
  '+hmget',
  '+hset',
  '+xadd',
  '+xrange',
  '+xrevrange',
  '+pexpire',
  '+time'
]
const STATE_RIGHTS = ['+hget', '+hgetall', '+hdel', '+zadd', '+zrangebyscore', '+zrem']
const PUBSUB_RIGHTS = ['+ping', '+info', '+publish', '+subscribe', '+unsubscribe', '+psubscribe', '+punsubscribe']

t.beforeEach(nothingUnhandled)

t.test('a command that Redis refuses rejects with the reason and without secrets', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  await admin.call(
    'ACL',
    'SETUSER',
    'reader',
    'on',
    '>hunter2',
    'allchannels',
    '+@connection',
    '+subscribe',
    '+unsubscribe',
    '+psubscribe',
    '+info'
  )
  const { log, text } = keepLog()
  const [pubsub, plain] = [undefined, false as const].map((history) => {
    return open(t, { url: redis.url.replace('//', '//reader:hunter2@'), log, history })
  }) as [RedisPubSub, RedisPubSub]
  await live(pubsub)
  await live(plain)
  for (const side of [pubsub, plain]) {
    await t.rejects(side.publish('c', { secret: 'hunter2' }), { code: 'RT_PUBLISH_REJECTED', message: /NOPERM/ })
  }
  await admin.call('ACL', 'SETUSER', 'reader', '+publish')
  t.same(await plain.publish('c', 1), { duplicate: false })
  for (const rule of [LOG_RIGHTS.slice(0, 2), LOG_RIGHTS.slice(2)]) {
    await t.rejects(pubsub.publish('c', { secret: 'hunter2' }), { code: 'RT_PUBLISH_REJECTED', message: /NOPERM/ })
    await admin.call('ACL', 'SETUSER', 'reader', ...rule)
  }
  t.match(await pubsub.publish('c', 1), { duplicate: false })
  t.notMatch(text(), 'hunter2')
})

t.test('the documented rights are sufficient, and each of them is necessary', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  // A pattern must be allowed literally: Redis does not accept one because another allowed one contains it.
  const rules = ['resetchannels', '&rt:*', '&rt:{*}', ...LOG_RIGHTS, ...STATE_RIGHTS, ...PUBSUB_RIGHTS]
  await admin.call('ACL', 'SETUSER', 'app', 'on', '>hunter2', ...rules)
  const { log, lines } = keepLog('info')
  const pubsub = open(t, { url: redis.url.replace('//', '//app:hunter2@'), log })
  const got: unknown[] = []
  const unsubscribe = [
    pubsub.subscribe('*', ({ data }) => { got.push(data) }),
    pubsub.subscribeExact('c', ({ data }) => { got.push(data) })
  ]
  await live(pubsub)
  const { head: top } = await (pubsub.eventLog as EventLog).read('c', undefined, 1)
  // So that the next event starts the log anew, and then is followed by one that another Redis seems to have written.
  await admin.del('rt:{c}:m')
  await admin.xadd('rt:{c}:s', '*', 'left', 'over')
  await pubsub.publish('c', 1)
  await admin.hset('rt:{c}:m', 'r', 'another')
  await pubsub.publish('c', 2)
  await pubsub.publish('c', 3, { ephemeral: true })
  t.match(await pubsub.eventLog?.read('c', top, 10), { gap: 'epoch', head: { offset: 3 } })
  t.match(await pubsub.eventLog?.read('c', { ...(await pubsub.eventLog.heads(['c']))[0] as Cursor, offset: 1 }, 10), {
    gap: 'diverged'
  })
  t.equal(await pubsub.isHealthy(), true)
  await live(pubsub)
  t.same([...got].sort(), [1, 1, 2, 2, 3, 3])
  for (const stop of unsubscribe) stop()
  await live(pubsub)
  t.same(lines, [])
  t.same(await admin.call('ACL', 'LOG'), [], 'nothing was refused')
  const calls = await admin.info('commandstats')
  for (const rule of [...LOG_RIGHTS, ...STATE_RIGHTS, ...PUBSUB_RIGHTS].filter((rule) => rule.startsWith('+'))) {
    t.match(calls, new RegExp(`cmdstat_${rule.slice(1)}:`), `${rule} is used`)
  }
})

t.test('a command that is unknown to Redis is named without its arguments', async (t) => {
  for (const [command, history] of [['PUBLISH', false], ['EVAL', undefined]] as const) {
    const redis = await startRedis(t, ['--rename-command', command, 'hidden'])
    const { log, text } = keepLog()
    const pubsub = open(t, { url: redis.url, log, history })
    await live(pubsub)
    const error = await pubsub.publish('c', { secret: 'hunter2' }).catch((error) => error)
    t.match(error, { code: 'RT_PUBLISH_REJECTED', message: /unknown command/ })
    t.notMatch(error.stack + text(), 'hunter2')
  }
})

t.test('a refused subscription is unhealthy, is logged once, and recovers by itself', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  await admin.call('ACL', 'SETUSER', 'writer', 'on', '>hunter2', 'resetchannels', '+@all', '~rt:*')
  const { log, lines, line } = keepLog()
  const pubsub = open(t, { url: redis.url.replace('//', '//writer:hunter2@'), log })
  const message = next(pubsub, 'c')
  const unsubscribe = pubsub.subscribeExact('d', () => {})
  t.match(await line('Redis refuses to subscribe, trying again'), { level: 50, reason: /NOPERM/ })
  t.equal(await pubsub.isHealthy(), false)
  // Not wanted any more when it is allowed.
  unsubscribe()
  await admin.call('ACL', 'SETUSER', 'writer', 'allchannels')
  // The subscription is asked for again.
  await until(() => pubsub.isHealthy(), Boolean)
  await pubsub.publish('c', 1)
  await message
  t.equal(lines.filter(({ msg }) => msg.startsWith('Redis refuses')).length, 1)
})

t.test('refused subscriptions do not prevent allowed ones, in any order', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  await admin.call('ACL', 'SETUSER', 'some', 'on', '>hunter2', 'resetchannels', '&rt:{good*', '+@all')
  const pubsub = open(t, { url: redis.url.replace('//', '//some:hunter2@') })
  const live = (channel: string): Promise<void> => {
    return new Promise((resolve) => { pubsub.follow(channel, { live: resolve, lost () {}, receive () {} }) })
  }
  // All in one command.
  const allowed = ['good1', 'good2', 'good3', 'good4', 'good5'].map(live)
  pubsub.subscribeExact('bad', () => t.fail('received'))
  pubsub.subscribe('*', () => t.fail('received'))
  allowed.push(live('good6'))
  await Promise.all(allowed)
  t.equal(await pubsub.isHealthy(), false, 'a refused subscription is unhealthy')
})
