import t, { type Test } from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { RedisPubSub } from '../../../../lib/index.ts'
import type { RedisStateStore } from '../../../../lib/pubsub/redis/state-store.ts'
import { LossyProxy, type HeldConnection } from '../../../support/lossy-proxy.ts'
import { client, open, startLossy, startRedis } from '../../../support/redis.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { upTo } from '../../../support/numbers.ts'
import { logged } from './logged.ts'

t.beforeEach(nothingUnhandled)

/**
 * A provider over the app's client, whose next publish that contains `words` gets stuck on its way, until it is
 * abandoned
 * up. `reconnect` ends the connection on which it is stuck.
 */
async function startStuck (t: Test, words: string): Promise<Stuck> {
  const redis = await startRedis(t)
  const proxy = await LossyProxy.start(t, redis.port)
  // With that option on, the client resends stuck commands by itself, before any other.
  const app = client(t, `redis://127.0.0.1:${proxy.port}`, { autoResendUnfulfilledCommands: false })
  const pubsub = open(t, { client: app, publishTimeoutMs: 1_000 })
  await pubsub.publish('c', 0)
  const reconnect = async ({ cut }: HeldConnection): Promise<void> => {
    // (`once` would reject with an error that is emitted first.)
    const ready = new Promise((resolve) => { app.once('ready', resolve) })
    cut()
    await ready
  }
  return { admin: client(t, redis.url), proxy, pubsub, held: proxy.holdBack(words), reconnect }
}

interface Stuck {
  admin: Redis
  proxy: LossyProxy
  pubsub: RedisPubSub
  held: Promise<HeldConnection>
  reconnect (held: HeldConnection): Promise<void>
}

const UNKNOWN = { code: 'RT_PUBLISH_UNKNOWN' }

t.test('an abandoned event that is delivered late does not land after later ones of its publisher', async (t) => {
  const { admin, pubsub, held, reconnect } = await startStuck(t, 'stuck')
  await t.rejects(pubsub.publish('c', 'stuck'), UNKNOWN)
  const late = await held
  await reconnect(late)
  await pubsub.publish('c', 2)
  t.match(await late.deliver(), /^-GIVENUP /)
  await pubsub.publish('c', 3)
  t.same(await logged(pubsub, 'c'), [0, 2, 3])
  for (const key of await admin.keys('rt:{c}:b:*')) t.ok(await admin.pttl(key) > 0, 'the keys that block it expire')
})

t.test('an abandoned event that is delivered before the next one keeps its position', async (t) => {
  const { pubsub, held, reconnect } = await startStuck(t, 'stuck')
  await t.rejects(pubsub.publish('c', 'stuck', { idempotencyKey: 'key' }), UNKNOWN)
  const late = await held
  await reconnect(late)
  await late.deliver()
  await pubsub.publish('c', 2)
  t.match(await pubsub.publish('c', 'stuck', { idempotencyKey: 'key' }), { duplicate: true })
  t.same(await logged(pubsub, 'c'), [0, 'stuck', 2])
})

t.test('an abandoned event that is published again with its key is applied once', async (t) => {
  const { pubsub, held, reconnect } = await startStuck(t, 'stuck')
  await t.rejects(pubsub.publish('c', 'stuck', { idempotencyKey: 'key' }), UNKNOWN)
  const late = await held
  await reconnect(late)
  t.match(await pubsub.publish('c', 'stuck', { idempotencyKey: 'key' }), { duplicate: false })
  t.match(await late.deliver(), /^-GIVENUP /)
  t.match(await pubsub.publish('c', 'stuck', { idempotencyKey: 'key' }), { duplicate: true })
  t.same(await logged(pubsub, 'c'), [0, 'stuck'])
})

t.test('several abandoned events of several chats all stay out of the log', async (t) => {
  const { pubsub, held, reconnect } = await startStuck(t, 'stuck')
  const lost = [pubsub.publish('c', 'stuck 1'), pubsub.publish('d', 'stuck 2'), pubsub.publish('c', 'stuck 3')]
  await turn()
  lost.push(pubsub.publish('c', 'stuck 4'), pubsub.publish('d', 'stuck 5'))
  await turn()
  lost.push(pubsub.publish('d', 'stuck 6'))
  for (const outcome of await Promise.allSettled(lost)) t.match(outcome, { reason: UNKNOWN })
  const late = await held
  await reconnect(late)
  await Promise.all([pubsub.publish('c', 1), pubsub.publish('d', 1), pubsub.publish('c', 2)])
  const reply = await late.deliver()
  t.equal(reply.match(/^-GIVENUP /gm)?.length, 4)
  t.same([await logged(pubsub, 'c'), await logged(pubsub, 'd')], [[0, 1, 2], [1]])
})

t.test('the event that blocks a late one can be abandoned itself', async (t) => {
  const { proxy, pubsub, held, reconnect } = await startStuck(t, 'stuck')
  await t.rejects(pubsub.publish('c', 'stuck 1'), UNKNOWN)
  const first = await held
  const next = proxy.holdBack('stuck 2')
  await reconnect(first)
  await t.rejects(pubsub.publish('c', 'stuck 2'), UNKNOWN)
  const second = await next
  await reconnect(second)
  await pubsub.publish('c', 3)
  for (const late of [first, second]) t.match(await late.deliver(), /^-GIVENUP /)
  t.same(await logged(pubsub, 'c'), [0, 3])
})

t.test('an abandoned event stays out of the log, however many other chats have events meanwhile', async (t) => {
  const { pubsub, held, reconnect } = await startStuck(t, 'stuck')
  await t.rejects(pubsub.publish('c', 'stuck'), UNKNOWN)
  const late = await held
  await reconnect(late)
  for (const n of upTo(200)) await pubsub.publish(`other ${n}`, n)
  await pubsub.publish('c', 2)
  t.match(await late.deliver(), /^-GIVENUP /)
})

t.test('an abandoned end of a bot message that is delivered late does not land after later events', async (t) => {
  const { pubsub, held, reconnect } = await startStuck(t, 'stuck')
  const state = pubsub.state as RedisStateStore
  await state.change('c', { operation: 'open', field: 'draft', value: 'x', leaseMs: 10_000, owner: 'me', key: 'key' })
  const finalize = (): Promise<unknown> => {
    return state.finalize('c', { field: 'draft', owner: 'me', event: 'stuck', keepContent: false, key: 'key' })
  }
  await t.rejects(finalize(), UNKNOWN)
  const late = await held
  await reconnect(late)
  await pubsub.publish('c', 2)
  t.match(await late.deliver(), /^-GIVENUP /)
  t.match(await finalize(), { duplicate: false })
  t.same(await logged(pubsub, 'c'), [0, 2, 'stuck'])
})

t.test('with a full Redis, an event is refused rather than published before one that may come late', async (t) => {
  const { admin, pubsub, held, reconnect } = await startStuck(t, 'stuck')
  await t.rejects(pubsub.publish('c', 'stuck'), UNKNOWN)
  await reconnect(await held)
  await admin.config('SET', 'maxmemory', '1')
  await t.rejects(pubsub.publish('c', 2), { code: 'RT_PUBLISH_REJECTED', message: /OOM/ })
  await admin.config('SET', 'maxmemory', '0')
  await pubsub.publish('c', 3)
  t.same(await logged(pubsub, 'c'), [0, 3])
})

t.test('an abandoned event of a chat without access delays no other chat', async (t) => {
  const { admin, proxy, pubsub } = await startLossy(t, { publishTimeoutMs: 1_000 })
  await admin.call('ACL', 'SETUSER', 'app', 'resetkeys', '~rt:{ok*')
  await pubsub.publish('ok', 0)
  const held = proxy.holdBack('stuck')
  const lost = [pubsub.publish('ok', 'stuck'), pubsub.publish('secret', 'stuck'), pubsub.publish('ok', 'stuck')]
  for (const outcome of await Promise.allSettled(lost)) t.match(outcome, { reason: UNKNOWN })
  const late = await held
  late.cut()
  await pubsub.publish('ok2', 'connected again')
  await pubsub.publish('ok', 1)
  t.match(await late.deliver(), /NOPERM/)
  t.same(await logged(pubsub, 'ok'), [0, 1])
})

t.test('if there are more abandoned events than the writer tracks, the last ones stay out of the log', async (t) => {
  const { pubsub, held, reconnect } = await startStuck(t, 'stuck')
  const lost: Promise<unknown>[] = []
  for (let n = 0; n < 200; n++) {
    lost.push(pubsub.publish('c', `stuck ${n}`))
    await turn()
  }
  for (const outcome of await Promise.allSettled(lost)) t.match(outcome, { reason: UNKNOWN })
  const late = await held
  await reconnect(late)
  await pubsub.publish('c', 'after')
  await late.deliver()
  const events = await logged(pubsub, 'c')
  t.same(events.slice(0, 2), [0, 'after'])
  t.notOk(events.includes('stuck 199'))
})
