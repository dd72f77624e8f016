import t from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import { ChatEvents, LocalPubSub, RedisPubSub, type PubSubProvider } from '../../../lib/index.ts'
import { live } from '../../support/live.ts'
import { keepLog } from '../../support/log.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { next } from './local.ts'

t.beforeEach(nothingUnhandled)

t.test('a provider with only the required methods works', async (t) => {
  const { log, lines } = keepLog()
  const inner = new LocalPubSub()
  t.teardown(() => inner.close())
  const own: PubSubProvider = {
    name: 'own',
    publish: (channel, data, options) => inner.publish(channel, data, options),
    subscribe: (pattern, handler) => inner.subscribe(pattern, handler),
    subscribeExact: (channel, handler) => inner.subscribeExact(channel, handler),
    isHealthy: () => inner.isHealthy(),
    close: () => inner.close()
  }
  const chatEvents = new ChatEvents(own, { log, retryMs: 0 })
  const event = next(chatEvents, 'c')
  await chatEvents.emitChatMessage('c', { n: 1 })
  t.match(await event, { type: 'message', chatId: 'c', message: { n: 1 } })
  chatEvents.onChatEvent('c', () => {})()
  await new Promise(setImmediate)
  t.match(chatEvents.stats(), { localChats: 0, pubsubProvider: 'own' })
  own.publish = () => { throw new Error('hunter2') }
  await t.rejects(chatEvents.emitChatMessage('c', {}), { message: 'hunter2' })
  t.match(lines.at(-1), { msg: 'Publishing failed', chatId: 'c', code: 'Error' })
  own.publish = () => Promise.reject(Object.assign(new Error(), { code: 'E_OWN' }))
  await t.rejects(chatEvents.emitChatMessage('c', {}), { code: 'E_OWN' })
  t.match(lines.at(-1), { msg: 'Publishing failed', code: 'E_OWN' })
  own.publish = () => undefined as never
  t.equal(await chatEvents.emitChatMessage('c', {}), undefined, 'and one that returns no promise throws nothing')
})

t.test('events cross instances over Redis, are logged there, and a direct emit stays', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const open = (): { pubsub: RedisPubSub, chatEvents: ChatEvents, lines: Record<string, unknown>[] } => {
    const { log, lines } = keepLog()
    const pubsub = new RedisPubSub({ url: redis.url, log })
    t.teardown(() => pubsub.close())
    return { pubsub, chatEvents: new ChatEvents(pubsub, { log, retryMs: 0 }), lines }
  }
  const [one, two] = [open(), open()]
  const got: Record<string, unknown[]> = { one: [], two: [] }
  one.chatEvents.onChatEvent('123', (event) => { got.one?.push(event.type === 'message' && event.message) })
  const last = new Promise<void>((resolve) => {
    two.chatEvents.onChatEvent('123', (event) => {
      got.two?.push(event.type === 'message' && event.message)
      if (got.two?.length === 3) resolve()
    })
  })
  while ([one, two].some(({ chatEvents }) => chatEvents.stats().remoteSubscriptions === 0)) await turn()
  one.chatEvents.emit('123', { type: 'message', message: { direct: true } })
  for (const n of [1, 2, 3]) one.chatEvents.emitChatMessage('123', { n })
  await last
  await live(one.pubsub)
  t.same(got, { one: [{ direct: true }, { n: 1 }, { n: 2 }, { n: 3 }], two: [{ n: 1 }, { n: 2 }, { n: 3 }] })
  t.same(two.lines.filter(({ msg }) => msg === 'Forwarded remote chat event').map(({ level, chatId, from }) => {
    return { level, chatId, from }
  }),
  Array(3).fill({ level: 20, chatId: '123', from: one.pubsub.instanceId }))
  t.equal(one.lines.filter(({ msg }) => msg === 'Forwarded remote chat event').length, 0)
})
