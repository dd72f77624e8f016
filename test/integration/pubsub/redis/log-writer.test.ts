import t, { type Test } from 'tap'
import type { RedisPubSub } from '../../../../lib/index.ts'
import type { RedisStateStore } from '../../../../lib/pubsub/redis/state-store.ts'
import { live } from '../../../support/live.ts'
import { keepLog } from '../../../support/log.ts'
import { LossyProxy } from '../../../support/lossy-proxy.ts'
import { client, open, startLossy, startRedis } from '../../../support/redis.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { upTo } from '../../../support/numbers.ts'
import { logged } from './logged.ts'

/** A provider that has published, and how many scripts Redis has run since. */
async function startCounted (t: Test): Promise<{ pubsub: RedisPubSub, scripts: () => Promise<number> }> {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  await pubsub.publish('c', 0)
  await admin.config('RESETSTAT')
  const scripts = async (): Promise<number> => {
    return Number(/cmdstat_evalsha:calls=(\d+)/.exec(await admin.info('commandstats'))?.[1] ?? 0)
  }
  return { pubsub, scripts }
}

t.beforeEach(nothingUnhandled)

t.test('a single event is sent at once, and the events of its turn after it as a batch', async (t) => {
  const { pubsub, scripts } = await startCounted(t)
  const receipts = await Promise.all(upTo(200).map((n) => pubsub.publish(`c${n % 10}`, n)))
  t.equal(await scripts(), 1 + Math.ceil(199 / 64))
  t.equal(new Set(receipts.map(({ id }) => id)).size, 200)
  for (const n of upTo(10)) t.same(await logged(pubsub, `c${n % 10}`), upTo(20).map((many) => (many - 1) * 10 + n))
})

t.test('events published when the last reply arrives join the gathered ones, after them', async (t) => {
  const redis = await startRedis(t)
  const app = client(t, redis.url)
  const pubsub = open(t, { client: app })
  await pubsub.publish('c', 0)
  const send = app.sendCommand.bind(app)
  let scripts = 0
  let sent: Promise<unknown> | undefined
  let reply: (value: unknown) => void = () => {}
  app.sendCommand = (...args) => {
    if (args[0].name !== 'evalsha' || ++scripts > 1) return send(...args)
    sent = send(...args) as Promise<unknown>
    return new Promise((resolve) => { reply = resolve })
  }
  const one = pubsub.publish('c', 1)
  const value = await sent
  const two = pubsub.publish('c', 2)
  reply(value)
  // Before the turn ends.
  await one
  await Promise.all([two, pubsub.publish('c', 3)])
  t.equal(scripts, 2)
  t.same(await logged(pubsub, 'c'), [0, 1, 2, 3])
})

t.test('a large batch takes no longer than one of many events', async (t) => {
  const { pubsub, scripts } = await startCounted(t)
  await Promise.all(upTo(11).map(() => pubsub.publish('c', 'x'.repeat(60_000))))
  t.equal(await scripts(), 3)
})

t.test('a refused event does not affect the others of its batch', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  await pubsub.publish('c', 0)
  await admin.set('rt:{meta}:m', 'of something else')
  await pubsub.publish('events', 0)
  await admin.set('rt:{events}:s', 'of something else')
  await admin.lpush('rt:{c}:i:key', 'of something else')
  const refused = { code: 'RT_PUBLISH_REJECTED', message: /Redis said WRONGTYPE/ }
  const publish = (channel: string, n: number, idempotencyKey?: string): Promise<unknown> => {
    return pubsub.publish(channel, n, { idempotencyKey })
  }
  const outcomes = await Promise.allSettled([
    publish('c', 1), publish('meta', 2), publish('c', 3), publish('meta', 4, 'four'),
    publish('events', 5), publish('c', 6, 'key'), publish('d', 7), publish('c', 8, 'eight')
  ])
  t.same(outcomes.map(({ status }) => status === 'fulfilled'), [true, false, true, false, false, false, true, true])
  for (const outcome of outcomes) if (outcome.status === 'rejected') t.match(outcome.reason, refused)
  t.same([await logged(pubsub, 'c'), await logged(pubsub, 'd')], [[0, 1, 3, 8], [7]])
  await t.rejects(pubsub.publish('meta', 9), refused, 'also alone')
  await admin.del('rt:{meta}:m')
  t.match(await publish('meta', 4, 'four'), { duplicate: false }, 'and leaves nothing behind')
})

t.test('an event that was refused in a batch stays refused when the reply is lost', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const proxy = await LossyProxy.start(t, redis.port)
  const pubsub = open(t, { url: `redis://127.0.0.1:${proxy.port}` })
  await pubsub.publish('c', 0)
  await admin.set('rt:{bad}:m', 'of something else')
  const lost = proxy.loseReplyTo('bad', () => admin.del('rt:{bad}:m'))
  const first = pubsub.publish('c', 1)
  const [, bad, two] = await Promise.allSettled([first, pubsub.publish('bad', 1), pubsub.publish('c', 2), lost])
  t.match(bad, { status: 'rejected', reason: { code: 'RT_PUBLISH_REJECTED' } })
  t.match(two, { status: 'fulfilled', value: { duplicate: false } })
  t.same([await logged(pubsub, 'c'), await logged(pubsub, 'bad')], [[0, 1, 2], []])
})

t.test('other commands are sent after earlier publishes', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url })
  const other = open(t, { url: redis.url })
  const got: unknown[] = []
  other.follow('c', { live () {}, lost () {}, receive: ({ json }) => { got.push(JSON.parse(json)) } })
  const unsubscribe = other.state?.watch('c', ({ value }) => { got.push(value) })
  t.teardown(() => unsubscribe?.())
  await live(other)
  await pubsub.publish('c', 0)
  const state = pubsub.state as RedisStateStore
  await Promise.all([
    pubsub.publish('c', 1), pubsub.publish('c', 2), pubsub.publish('c', 'ephemeral', { ephemeral: true }),
    pubsub.publish('c', 3),
    state.change('c', {
      operation: 'open', field: 'draft', value: 'opened', leaseMs: 10_000, owner: 'me', key: 'key'
    }),
    pubsub.publish('c', 4),
    state.finalize('c', { field: 'draft', owner: 'me', event: 'finalized', keepContent: false, key: 'key' }),
    pubsub.publish('c', 5)
  ])
  await live(other)
  t.same(got, [0, 1, 2, 'ephemeral', 3, 'opened', 4, 'finalized', '', 5])
  const closing = [pubsub.publish('c', 6), pubsub.publish('c', 7), pubsub.close()]
  await Promise.all(closing)
  t.same(
    await logged(other, 'c'), [0, 1, 2, 3, 4, 'finalized', 5, 6, 7], 'including the publishes right before closing'
  )
})

t.test('a key that is used twice in one batch is used once', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url })
  await pubsub.publish('c', 0)
  // The first one goes by itself.
  const receipts = await Promise.all([0, 1, 2, 3, 4].map((n) => {
    return pubsub.publish('c', n, n > 0 && n < 4 ? { idempotencyKey: 'key' } : {})
  }))
  const [, first, second, third] = receipts
  t.same([second, third], [{ id: first?.id, duplicate: true }, { id: first?.id, duplicate: true }])
  t.same(await logged(pubsub, 'c'), [0, 0, 1, 4])
})

t.test('a refused chat affects no other of its batch, and a refused broadcast is logged once', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  await admin.call('ACL', 'SETUSER', 'app', 'on', '>hunter2', '+@all', '~rt:{ok*', '~rt:{mute*', '&rt:{ok*')
  const { log, lines } = keepLog('warn')
  const pubsub = open(t, { url: redis.url.replace('//', '//app:hunter2@'), log })
  await pubsub.publish('ok', 0)
  const outcomes = await Promise.allSettled(['ok', 'secret', 'mute', 'ok', 'ok2'].map((channel, n) => {
    return pubsub.publish(channel, n)
  }))
  t.same(outcomes.map(({ status }) => status === 'fulfilled'), [true, false, true, true, true])
  t.match(outcomes[1], { reason: { code: 'RT_PUBLISH_REJECTED', message: /NOPERM/ } })
  t.same([await logged(pubsub, 'ok'), await logged(pubsub, 'ok2'), await logged(pubsub, 'mute')], [[0, 0, 3], [4], [2]])
  t.same(lines.map(({ msg }) => msg).sort(), ['Publishing failed', 'Redis refuses to broadcast, so events arrive late'])
})

t.test('events after a refused, repeated or failed one are neither delayed nor of unknown outcome', async (t) => {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  const pubsub = open(t, { url: redis.url })
  const state = pubsub.state as RedisStateStore
  const finalize = (field: string): Promise<unknown> => {
    return state.finalize('c', { field, owner: 'me', event: field, keepContent: false, key: field })
  }
  await state.change('c', { operation: 'open', field: 'draft', value: 'x', leaseMs: 10_000, owner: 'me', key: 'draft' })
  await finalize('draft')
  await admin.config('RESETSTAT')
  const published = [
    finalize('draft'), pubsub.publish('c', 1), finalize('none'), pubsub.publish('c', 2), pubsub.close()
  ]
  t.match(await Promise.all(published), [
    { duplicate: true }, { duplicate: false }, { epoch: String }, { duplicate: false }
  ])
  t.notMatch(await admin.info('errorstats'), /EARLY/)

  await admin.config('SET', 'maxmemory', '1')
  await admin.config('RESETSTAT')
  const { log, lines } = keepLog('warn')
  const other = open(t, { url: redis.url, log })
  const refused = upTo(500).map((n) => {
    return t.rejects(other.publish('c', n), { code: 'RT_PUBLISH_REJECTED', message: /OOM/ })
  })
  await Promise.all(refused)
  await other.close()
  const failures = lines.filter(({ msg }) => msg === 'Publishing failed')
  t.match(
    failures,
    [{ code: 'RT_PUBLISH_REJECTED', reason: /OOM/ }, { count: 500 }],
    'logged when it begins, and with its count'
  )
  t.equal(failures.length, 2)
  t.match(
    await admin.info('commandstats'), /cmdstat_eval:calls=1,/, 'and Redis is not sent the whole script again and again'
  )
})

t.test('a batch with a lost reply whose resend is refused is unknown, and not sent in parts', async (t) => {
  const { admin, proxy, pubsub } = await startLossy(t)
  await pubsub.publish('a', 0)
  const lost = proxy.loseReplyTo('rt:{b}', () => admin.call('ACL', 'SETUSER', 'app', 'resetkeys', '~rt:{a}*'))
  const [, , ...unknown] = await Promise.allSettled([
    lost, pubsub.publish('a', 1), pubsub.publish('b', 2), pubsub.publish('c', 3)
  ])
  for (const outcome of unknown) t.match(outcome, { reason: { code: 'RT_PUBLISH_UNKNOWN', message: /NOPERM/ } })
})
