import t, { type Test } from 'tap'
import type { EventLog, LogPage, LogHead, RedisPubSub } from '../../../../lib/index.ts'
import type { RedisStateStore } from '../../../../lib/pubsub/redis/state-store.ts'
import type { StatePage } from '../../../../lib/pubsub/state-store.ts'
import { LossyProxy } from '../../../support/lossy-proxy.ts'
import { client, open, startRedis } from '../../../support/redis.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { logged } from './logged.ts'

t.beforeEach(nothingUnhandled)

/**
 * A provider, another one, and a proxy that loses the reply to the next script that contains `words`. Before the script
 * is resent there are two failovers: the first primary has applied it, and then `meanwhile` runs there. The second one
 * has only the data from before.
 */
async function startTwoFailovers (t: Test): Promise<{
  pubsub: RedisPubSub
  other: RedisPubSub & { eventLog: EventLog }
  losing: <T>(words: string, send: () => Promise<T>, meanwhile: () => Promise<unknown>) => Promise<T>
}> {
  const redis = await startRedis(t, ['--enable-debug-command', 'yes'])
  const admin = client(t, redis.url)
  const proxy = await LossyProxy.start(t, redis.port)
  // As after the promotion of a replica.
  const promote = (): Promise<unknown> => admin.call('DEBUG', 'CHANGE-REPL-ID')
  const losing = async <T>(words: string, send: () => Promise<T>, meanwhile: () => Promise<unknown>): Promise<T> => {
    const names = await admin.keys('*')
    const dumps = await Promise.all(names.map((name) => admin.dumpBuffer(name)))
    await promote()
    const lost = proxy.loseReplyTo(words, async () => {
      await meanwhile()
      await admin.flushdb()
      await Promise.all(names.map((name, n) => admin.restore(name, 0, dumps[n] as Buffer)))
      await promote()
    })
    const [sent] = await Promise.all([send(), lost])
    return sent
  }
  return { pubsub: open(t, { url: `redis://127.0.0.1:${proxy.port}` }), other: open(t, { url: redis.url }), losing }
}

t.test('an event that is resent after two failovers differs from the first one for clients that have it', async (t) => {
  const { pubsub, other, losing } = await startTwoFailovers(t)
  await pubsub.publish('c', 'before')
  let seen: LogPage | undefined
  const receipt = await losing('sent twice', () => pubsub.publish('c', 'sent twice'), async () => {
    seen = await other.eventLog.read('c', undefined, 10)
    await other.publish('c', 'acknowledged, then lost')
  })
  t.match(receipt, { duplicate: false })
  t.match(seen, { entries: [{}, { position: { isMarker: true } }, {}] })
  const client = seen?.head as LogHead
  t.equal(receipt.id?.split('-')[1], String(client.offset), 'at the same offset')
  t.equal((await other.eventLog.read('c', client, 10)).gap, 'diverged')
  const marker = seen?.entries[1]?.position
  t.equal((await other.eventLog.read('c', marker, 10)).gap, 'diverged', 'and so is the marker before it')
  t.same(await logged(other, 'c'), ['before', {}, 'sent twice'])
})

t.test('a log that is restarted after two failovers differs from the first one for clients that have it', async (t) => {
  const { pubsub, other, losing } = await startTwoFailovers(t)
  await pubsub.publish('other', 0)
  let seen: LogPage | undefined
  await losing('sent twice', () => pubsub.publish('c', 'sent twice'), async () => {
    seen = await other.eventLog.read('c', undefined, 10)
    await other.publish('c', 'acknowledged, then lost')
  })
  t.equal((await other.eventLog.read('c', seen?.head, 10)).gap, 'epoch')
})

t.test('an end of a bot message that is resent after two failovers differs from the first one', async (t) => {
  const { pubsub, other, losing } = await startTwoFailovers(t)
  const state = pubsub.state as RedisStateStore
  await pubsub.publish('c', 'before')
  await state.change('c', { operation: 'open', field: 'draft', value: 'x', leaseMs: 10_000, owner: 'me', key: 'key' })
  let seen: LogPage | undefined
  const end = { field: 'draft', owner: 'me', event: 'sent twice', keepContent: false, key: 'key' }
  const receipt = await losing('sent twice', () => state.finalize('c', end), async () => {
    seen = await other.eventLog.read('c', undefined, 10)
    await other.publish('c', 'acknowledged, then lost')
  })
  t.match(receipt, { duplicate: false })
  t.equal((await other.eventLog.read('c', seen?.head, 10)).gap, 'diverged')
})

t.test('a state that is started again after two failovers differs for instances that have the first one', async (t) => {
  const { pubsub, other, losing } = await startTwoFailovers(t)
  const stateOf = (provider: RedisPubSub): RedisStateStore => provider.state as RedisStateStore
  const set = (provider: RedisPubSub, value: string): Promise<unknown> =>
    stateOf(provider).change('c', { operation: 'set', field: value, value, leaseMs: 10_000 })
  await pubsub.publish('c', 'before')
  let seen: StatePage | undefined
  await losing('sent twice', () => set(pubsub, 'sent twice'), async () => {
    await set(other, 'lost')
    seen = await stateOf(other).read('c')
  })
  await set(other, 'after')
  const page = await stateOf(other).read('c', seen?.version)
  t.same([...page.fields?.keys() ?? []].sort(), ['after', 'sent twice'], 'lost fields are not mistaken for stored ones')
})

t.test('a lost reply makes no duplicate, however often', async (t) => {
  const redis = await startRedis(t)
  const proxy = await LossyProxy.start(t, redis.port)
  const pubsub = open(t, { url: `redis://127.0.0.1:${proxy.port}` })
  await pubsub.publish('c', 0)
  const lost = proxy.loseReplyTo('key', () => { again = proxy.loseReplyTo('key') })
  let again: Promise<void> | undefined
  const receipt = await pubsub.publish('c', 1, { idempotencyKey: 'key' })
  await Promise.all([lost, again])
  t.match(receipt, { duplicate: false }, 'the first sending was applied')
  t.match(await pubsub.publish('c', 1, { idempotencyKey: 'key' }), { id: receipt.id, duplicate: true })
  t.same(await logged(pubsub, 'c'), [0, 1])
})
