import t from 'tap'
import { ChatEvents, RedisPubSub, type ChatEventInput } from '../../../lib/index.ts'
import { silentLogger } from '../../../lib/core/logger.ts'
import { keepLog } from '../../support/log.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { local, next } from './local.ts'

t.beforeEach(nothingUnhandled)

t.test('handlers get an emitted event with its type, chat and origin', async (t) => {
  const { pubsub, chatEvents } = local(t)
  const got: unknown[] = []
  chatEvents.onChatEvent('c', (event, info) => { got.push([event, info.from, typeof info.timestamp]) })
  await chatEvents.emitChatMessage('c', { text: 'Hello', role: 'user' })
  await chatEvents.emitBotAction('c', { actionType: 'thinking' })
  await chatEvents.publish('c', { type: 'reaction', user: 'ann' }, { ephemeral: true })
  await chatEvents.emitChatMessage('other', { text: 'elsewhere' })
  await new Promise(setImmediate)
  t.strictSame(got, [
    [{ type: 'message', message: { text: 'Hello', role: 'user' }, chatId: 'c' }, pubsub.instanceId, 'number'],
    [{ type: 'bot_action', action: { actionType: 'thinking' }, chatId: 'c' }, pubsub.instanceId, 'number'],
    [{ type: 'reaction', user: 'ann', chatId: 'c' }, pubsub.instanceId, 'number']
  ])
})

t.test('an event reaches the handlers of its process that were added before it', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const pubsub = new RedisPubSub({ url: redis.url })
  t.teardown(() => pubsub.close())
  const chatEvents = new ChatEvents(pubsub, { log: silentLogger, retryMs: 0 })
  for (let round = 0; round < 50; round++) {
    const heard = new Promise((resolve) => { chatEvents.onChatEvent(`c${round}`, resolve) })
    const { id } = await chatEvents.emitChatMessage(`c${round}`, { round })
    t.ok(id)
    t.match(await heard, { message: { round } })
  }
})

t.test('a pattern subscription of the provider receives emitted events', async (t) => {
  const { pubsub, chatEvents } = local(t)
  const got: unknown[] = []
  pubsub.subscribe('chat:*', ({ channel, data }) => { got.push([channel, data]) })
  await chatEvents.emitChatMessage('123', { text: 'Hello' })
  t.same(got, [['chat:123', { type: 'message', chatId: '123', message: { text: 'Hello' } }]])
})

t.test('a message published to a chat\'s channel directly reaches the handlers of the chat', async (t) => {
  const { pubsub, chatEvents } = local(t)
  const event = next(chatEvents, '123')
  await pubsub.publish('chat:123', { type: 'message', text: 'Hello' })
  t.match(await event, { type: 'message', text: 'Hello' })
})

t.test('a handler that is added several times is called once, and not after its removal', async (t) => {
  const { chatEvents } = local(t)
  let calls = 0
  // Handlers run soon after.
  const emitted = async (): Promise<void> => {
    await chatEvents.emitChatMessage('c', {})
    await new Promise(setImmediate)
  }
  const handler = (): void => { calls++ }
  const unsubscribe = chatEvents.onChatEvent('c', handler)
  chatEvents.onChatEvent('c', handler)
  await emitted()
  t.equal(calls, 1)
  unsubscribe()
  unsubscribe()
  await emitted()
  t.equal(calls, 1)
  chatEvents.on('c', handler)
  await emitted()
  t.equal(calls, 2)
  chatEvents.off('c', handler)
  chatEvents.offChatEvent('c', handler)
  chatEvents.offChatEvent('never', handler)
  await emitted()
  t.equal(calls, 2)
  t.match(chatEvents.stats(), { localChats: 0, remoteSubscriptions: 0, pubsubProvider: 'local' })
})

t.test('handlers that throw or reject are logged and stop no other handler', async (t) => {
  const kept = keepLog('warn')
  const { chatEvents } = local(t, kept)
  chatEvents.onChatEvent('c', () => { throw new Error('thrown') })
  chatEvents.onChatEvent('c', async () => { throw new Error('rejected') })
  const event = next(chatEvents, 'c')
  await chatEvents.emitChatMessage('c', { n: 1 })
  t.match(await event, { message: { n: 1 } })
  await new Promise(setImmediate)
  t.same(kept.lines.map(({ msg, err }) => [msg, (err as Error).message]), [
    ['A handler of chat events failed', 'thrown'], ['A handler of chat events failed', 'rejected']
  ])
})

t.test('the emitter calls handlers of this instance at once and returns whether there were any', async (t) => {
  const { pubsub, chatEvents } = local(t)
  const got: unknown[] = []
  pubsub.subscribe('*', ({ data }) => { got.push(data) })
  t.equal(chatEvents.emit('c', { type: 'message', message: { n: 0 } }), false)
  chatEvents.on('c', (event) => { got.push(event) })
  t.equal(chatEvents.emit('c', { type: 'message', message: { n: 1 } }), true)
  t.same(got, [{ type: 'message', chatId: 'c', message: { n: 1 } }], 'and nothing was published')
  t.throws(() => chatEvents.emit('', { type: 'message', message: {} }), { code: 'RT_CHAT_ID_INVALID' })
  t.throws(() => chatEvents.emit('c', { type: 'reset' } as unknown as ChatEventInput), {
    code: 'RT_EVENT_TYPE_INVALID'
  })
  t.throws(() => chatEvents.emit('c', { type: 'message', message: { n: 1n } }), { code: 'RT_PAYLOAD_INVALID' })
})

t.test('cleaning up removes all handlers', async (t) => {
  const { chatEvents } = local(t)
  for (const chat of ['a', 'b']) chatEvents.onChatEvent(chat, () => t.fail('called'))
  chatEvents.cleanupChatSubscriptions()
  await chatEvents.emitChatMessage('a', {})
  t.match(chatEvents.stats(), { localChats: 0 })
  const event = next(chatEvents, 'a')
  await chatEvents.emitChatMessage('a', { n: 1 })
  t.match(await event, { message: { n: 1 } }, 'and new ones can come')
})
