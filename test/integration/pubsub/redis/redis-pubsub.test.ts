import t from 'tap'
import { live } from '../../../support/live.ts'
import { keepLog } from '../../../support/log.ts'
import { client, open, startRedis } from '../../../support/redis.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { next } from './next-message.ts'

t.beforeEach(nothingUnhandled)

t.test('each instance has a name of its own', async (t) => {
  const redis = await startRedis(t)
  const ids = Array.from({ length: 20 }, () => open(t, { url: redis.url }).instanceId)
  t.equal(new Set(ids).size, 20)
  t.match(ids[0], new RegExp(`^redis-${process.pid}-\\d+-[0-9a-f]{6}$`))
  const named = open(t, { url: redis.url, instanceId: 'web-1' })
  const message = next(named, 'c')
  await live(named)
  await named.publish('c', 1)
  t.equal((await message).from, 'web-1')
})

t.test('a publish is logged without its content', async (t) => {
  const redis = await startRedis(t)
  const { log, lines, text } = keepLog()
  const pubsub = open(t, { url: redis.url, log })
  await pubsub.publish('chat:123', { text: 'hunter2' })
  t.match(lines.find(({ msg }) => msg === 'Published message to Redis'), { level: 20, channel: 'chat:123' })
  t.notMatch(text(), 'hunter2')
})

t.test('a channel is subscribed to once for all its listeners, and unsubscribed with the last', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url })
  const admin = client(t, redis.url)
  const unsubscribe = [1, 2, 3].map(() => pubsub.subscribeExact('c', () => {}))
  const undoPattern = [1, 2].map(() => pubsub.subscribe('c*', () => {}))
  await live(pubsub)
  t.same(await admin.pubsub('CHANNELS', 'rt:{c}'), ['rt:{c}'])
  t.equal(await admin.pubsub('NUMPAT'), 1)
  t.equal(
    (await admin.info('commandstats')).match(/cmdstat_subscribe:calls=(\d+)/)?.[1],
    '1',
    'with the probe, in one command'
  )
  for (const stop of [...unsubscribe.slice(1), ...undoPattern.slice(1)]) stop()
  await live(pubsub)
  t.same(await admin.pubsub('CHANNELS', 'rt:{c}'), ['rt:{c}'])
  unsubscribe[0]?.()
  unsubscribe[0]?.()
  undoPattern[0]?.()
  await live(pubsub)
  // The probe's own channel is unsubscribed right after its confirmation; later subscriptions are confirmed after that.
  await live(pubsub)
  t.same(await admin.pubsub('CHANNELS', 'rt:{c}'), [])
  t.equal(await admin.pubsub('NUMPAT'), 0)
})

t.test('many channels are subscribed to in few commands', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url })
  const admin = client(t, redis.url)
  for (let n = 0; n < 2_000; n++) pubsub.subscribeExact(`c${n}`, () => {})
  await live(pubsub)
  t.equal((await admin.pubsub('CHANNELS', 'rt:{c*}') as string[]).length, 2_000)
  const calls = Number((await admin.info('commandstats')).match(/cmdstat_subscribe:calls=(\d+)/)?.[1])
  t.ok(calls <= 6, `${calls} SUBSCRIBE commands`)
})

t.test('a channel that is released and requested again at once stays live', async (t) => {
  const redis = await startRedis(t)
  const pubsub = open(t, { url: redis.url })
  pubsub.subscribeExact('c', () => {})()
  const message = next(pubsub, 'c')
  await live(pubsub)
  for (let n = 0; n < 50; n++) {
    pubsub.subscribeExact('c', () => {})()
    await new Promise(setImmediate)
  }
  const again = pubsub.subscribeExact('d', () => {})
  await live(pubsub)
  again()
  const d = next(pubsub, 'd')
  await live(pubsub)
  await pubsub.publish('c', 1)
  await pubsub.publish('d', 2)
  t.match(await message, { data: 1 })
  t.match(await d, { data: 2 })
})

t.test('foreign messages are ignored and logged', async (t) => {
  const redis = await startRedis(t)
  const { log, lines } = keepLog()
  const pubsub = open(t, { url: redis.url, log })
  const got: unknown[] = []
  pubsub.subscribeExact('c', ({ data }) => { got.push(data) })
  pubsub.subscribe('*', ({ data }) => { got.push(data) })
  await live(pubsub)
  const admin = client(t, redis.url)
  const head = '1 - - - - d other 1 message '
  const garbage = [
    '', 'hello', '{"json":true}', Buffer.from([0xff, 0xfe, 0, 1]),
    `2${head.slice(1)}{}`, `${head}`, `${head}1\ndata: forged`, `${head}1\r2`,
    '1 - - - - x other 1 message {}', '1 - - - - d o/ther 1 message {}', '1 - - - - d other 1e3 message {}',
    '1 - - - - d other 1 reset {}',
    '1 - - - - d other 1 me\nssage {}', 'x '.repeat(10_000)
  ]
  for (const message of garbage) await admin.publish('rt:{c}', message)
  await admin.publish('rt:{%}', `${head}1`)
  await admin.publish('rt:{', `${head}1`)
  await admin.publish('rt:{c}', `${head}{not json`)
  await admin.publish('rt:{c}', `${head}{"fine":1}`)
  await live(pubsub)
  t.same(got, [{ fine: 1 }, { fine: 1 }])
  await pubsub.close()
  t.equal(lines.findLast(({ msg }) => msg.startsWith('Ignored'))?.count, garbage.length * 2 + 1)
  t.notMatch(JSON.stringify(lines), 'not json')
})
