import t, { type Test } from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import { ChatEvents, LocalPubSub, RedisPubSub, type ChatEvent, type ChatEventInput, type PubSubProvider } from '../../lib/index.ts'
import { silentLogger } from '../../lib/core/logger.ts'
import type { Connection } from '../../lib/sse/connection.ts'
import { FakeConnection } from '../support/fake-connection.ts'
import { live } from '../support/live.ts'
import { keepLog } from '../support/log.ts'
import { RedisServer } from '../support/redis-server.ts'
import { until } from '../support/until.ts'
import { nothingUnhandled } from '../support/unhandled.ts'

declare module '../../lib/event-types.ts' {
  interface ChatEventMap {
    reaction: { user: string }
  }
}

t.beforeEach(nothingUnhandled)

function local (t: Test, { log } = keepLog()): { pubsub: LocalPubSub, chatEvents: ChatEvents } {
  const pubsub = new LocalPubSub({ log })
  t.teardown(() => pubsub.close())
  return { pubsub, chatEvents: new ChatEvents(pubsub, { log, retryMs: 0 }) }
}

/** The next event of a chat. */
function next (chatEvents: ChatEvents, chatId: string): Promise<ChatEvent> {
  return new Promise((resolve) => {
    const unsubscribe = chatEvents.onChatEvent(chatId, (event) => { unsubscribe(); resolve(event) })
  })
}

t.test('handlers get what was emitted, with its type and chat, and where it comes from', async (t) => {
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

t.test('what a process publishes is heard by those that began to listen there before', async (t) => {
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

t.test('a pattern subscription of the provider sees what was emitted', async (t) => {
  const { pubsub, chatEvents } = local(t)
  const got: unknown[] = []
  pubsub.subscribe('chat:*', ({ channel, data }) => { got.push([channel, data]) })
  await chatEvents.emitChatMessage('123', { text: 'Hello' })
  t.same(got, [['chat:123', { type: 'message', chatId: '123', message: { text: 'Hello' } }]])
})

t.test('what is published to a chat\'s channel by hand reaches its handlers', async (t) => {
  const { pubsub, chatEvents } = local(t)
  const event = next(chatEvents, '123')
  await pubsub.publish('chat:123', { type: 'message', text: 'Hello' })
  t.match(await event, { type: 'message', text: 'Hello' })
})

t.test('a handler is called once however often it was added, and no more once it is taken off', async (t) => {
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

t.test('handlers that throw or reject are logged and stop no other', async (t) => {
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

t.test('the emitter tells this instance at once and says whether anyone listened', async (t) => {
  const { pubsub, chatEvents } = local(t)
  const got: unknown[] = []
  pubsub.subscribe('*', ({ data }) => { got.push(data) })
  t.equal(chatEvents.emit('c', { type: 'message', message: { n: 0 } }), false)
  chatEvents.on('c', (event) => { got.push(event) })
  t.equal(chatEvents.emit('c', { type: 'message', message: { n: 1 } }), true)
  t.same(got, [{ type: 'message', chatId: 'c', message: { n: 1 } }], 'and nothing was published')
  t.throws(() => chatEvents.emit('', { type: 'message', message: {} }), { code: 'RT_CHAT_ID_INVALID' })
  t.throws(() => chatEvents.emit('c', { type: 'reset' } as unknown as ChatEventInput), { code: 'RT_EVENT_TYPE_INVALID' })
  t.throws(() => chatEvents.emit('c', { type: 'message', message: { n: 1n } }), { code: 'RT_PAYLOAD_INVALID' })
})

const RESERVED = ['ready', 'reset', 'refused', 'error', 'open', 'bot_message', 'presence', 'typing']

t.test('what a client sends as an event forges neither presence nor the end of a bot message, by whichever way an app publishes it', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  for (const pubsub of [new LocalPubSub(), new RedisPubSub({ url: redis.url })]) {
    t.teardown(() => pubsub.close())
    const chatEvents = new ChatEvents(pubsub, { log: silentLogger, retryMs: 0 })
    const got: unknown[] = []
    chatEvents.onChatEvent('c', (event) => { got.push(event) })
    for (const type of RESERVED) {
      const body = JSON.parse(`{ "type": "${type}", "id": "a", "users": ["eve"], "status": "finished", "at": 0, "text": "" }`)
      await t.rejects(chatEvents.publish('c', body), { code: 'RT_EVENT_TYPE_INVALID', message: /reserved, got "/ }, type)
      t.throws(() => chatEvents.emit('c', body), { code: 'RT_EVENT_TYPE_INVALID' })
      for (const options of [{}, { ephemeral: true }, { idempotencyKey: type }]) await t.rejects(pubsub.publish('chat:c', body, options), { code: 'RT_EVENT_TYPE_INVALID' })
      t.match(await pubsub.publish('jobs', body), { duplicate: false }, 'other channels are the app\'s')
    }
    let reads = 0
    const changing = { get type () { return reads++ === 0 ? 'reaction' : 'presence' } }
    await t.rejects(chatEvents.publish('c', changing as unknown as ChatEventInput), { code: 'RT_EVENT_TYPE_INVALID' })
    await pubsub.publish('chat:c', { type: 'reaction', toJSON: () => ({ type: 'presence', users: ['eve'] }) })
    await chatEvents.emitTyping('c', 'ann')
    await chatEvents.emitChatMessage('c', { last: true })
    await until(async () => got, ({ length }) => length >= 2)
    t.same(got.map((event) => (event as ChatEvent).type).sort(), ['message', 'typing'])
  }
})

t.test('who may publish to any channel neither revokes access nor stops a bot message by that', async (t) => {
  const { pubsub } = local(t)
  for (const name of ['revoked', 'stopped', 'control']) {
    await t.rejects(pubsub.publish(`fastify-realtime:${name}`, { type: 'revoke', chatId: 'c', userId: 'ann' }), { code: 'RT_CHANNEL_INVALID', message: /reserved for this package/ })
  }
})

t.test('whatever a call is given, it rejects with a code that names the argument, and throws nothing', async (t) => {
  const { pubsub, chatEvents } = local(t)
  const thrower = { type: 'reaction', get user (): string { throw new Error('secret') } }
  const proxy = new Proxy({}, { get () { throw new Error('secret') }, has () { throw new Error('secret') }, ownKeys () { throw new Error('secret') } })
  const typeless = { get type (): 'reaction' { throw new Error('secret') }, user: 'ann' }
  const hostile = { type: 'reaction', user: 'ann', toJSON () { throw new TypeError('secret') } }
  for (const value of [thrower, proxy, typeless, hostile]) {
    for (const publish of [() => chatEvents.publish('c', value as ChatEventInput), () => pubsub.publish('c', value), () => chatEvents.emitChatMessage('c', value)]) {
      await t.rejects(publish(), { code: 'RT_PAYLOAD_INVALID', message: /^A payload must be a JSON value, got .* throws\. Publish (?!.*secret)/ })
    }
  }
  for (const options of [null, 'text', 5, () => {}] as never[]) {
    const calls: Promise<unknown>[] = [
      chatEvents.publish('c', { type: 'reaction', user: 'ann' }, options), chatEvents.emitChatMessage('c', {}, options), chatEvents.emitBotAction('c', {}, options),
      chatEvents.emitTyping('c', 'ann', options), chatEvents.startBotMessage('c', options), chatEvents.streamBotMessage('c', () => { throw new Error('called') }, options), pubsub.publish('c', 1, options)
    ]
    for (const call of calls) await t.rejects(call, { code: 'RT_OPTION_INVALID', message: /^Expected `options` to be an object with .*, got \w+\. Leave it out/ })
  }
  await t.rejects(pubsub.publish('c', 1, { ephemeral: 'no' } as never), { code: 'RT_OPTION_INVALID', message: /`options\.ephemeral`/ })
  for (const name of ['extra', 'describeError']) {
    for (const wrong of [null, 'text', 5]) {
      await t.rejects(chatEvents.streamBotMessage('c', () => { throw new Error('called') }, { [name]: wrong } as never), { code: 'RT_OPTION_INVALID', message: new RegExp(`\`options\\.${name}\``) })
    }
  }
  const { fields } = await pubsub.state?.read('chat:c') ?? {}
  t.equal(fields?.size, 0, 'no bot message was begun')
})

t.test('wrong input is refused by name, and ignoring the refusal harms nobody', async (t) => {
  const kept = keepLog()
  const { chatEvents } = local(t, kept)
  const types = [...RESERVED, '', 'a b', 'a\nb', 'x'.repeat(65), undefined, 5, null]
  for (const type of types) await t.rejects(chatEvents.publish('c', { type } as unknown as ChatEventInput), { code: 'RT_EVENT_TYPE_INVALID' }, String(type))
  await t.rejects(chatEvents.publish('c', null as unknown as ChatEventInput), { code: 'RT_EVENT_TYPE_INVALID', message: /got undefined/ })
  // Who forgets the chat is told so, whatever stands in its place.
  for (const wrong of [chatEvents.emitChatMessage({} as string, undefined as never), chatEvents.emitBotAction('', null as never), chatEvents.publish('', { type: 'ready' } as never)]) {
    await t.rejects(wrong, { code: 'RT_CHAT_ID_INVALID' })
  }
  for (const message of [undefined, null, 'text', 5]) await t.rejects(chatEvents.emitChatMessage('c', message as unknown as object), { code: 'RT_PAYLOAD_INVALID' })
  await t.rejects(chatEvents.emitBotAction('c', undefined as unknown as object), { code: 'RT_PAYLOAD_INVALID', message: /`action` must be an object/ })
  await t.rejects(chatEvents.emitChatMessage('c', { secret: 'hunter2'.repeat(10_000) }), { code: 'RT_PAYLOAD_TOO_LARGE', statusCode: 413 })
  for (const chatId of ['', '\ud800', 'é'.repeat(513), undefined, 5, {}]) {
    await t.rejects(chatEvents.emitChatMessage(chatId as string, {}), { code: 'RT_CHAT_ID_INVALID', statusCode: 400 })
    t.throws(() => chatEvents.onChatEvent(chatId as string, () => {}), { code: 'RT_CHAT_ID_INVALID' })
  }
  t.throws(() => chatEvents.onChatEvent('c', undefined as never), { code: 'RT_HANDLER_INVALID' })
  const fresh = keepLog()
  const other = local(t, fresh).chatEvents
  other.emitChatMessage('', {})
  other.emitChatMessage('c', { secret: 'hunter2'.repeat(10_000) })
  await new Promise(setImmediate)
  t.same(fresh.lines.map(({ msg, code }) => [msg, code]), [['Publishing failed', 'RT_CHAT_ID_INVALID'], ['Publishing failed', 'RT_PAYLOAD_TOO_LARGE']], 'each is logged once')
  t.notMatch(kept.text(), 'hunter2')
  t.equal(chatEvents.stats().localChats, 0)
})

t.test('what stands in the place of a name, or fails in a way of its own, is not told to the log', async (t) => {
  const payload = { text: 'hunter2' } as unknown as string
  const calls: ((to: ReturnType<typeof local>) => unknown)[] = [
    ({ chatEvents }) => chatEvents.emitChatMessage(payload, {}),
    ({ chatEvents }) => chatEvents.emitTyping(payload, payload),
    ({ chatEvents }) => chatEvents.stopBotMessage(payload, payload),
    ({ chatEvents }) => chatEvents.revoke(payload, payload),
    ({ chatEvents }) => chatEvents.publish('hunter2'.repeat(1_000), { type: payload } as never),
    ({ pubsub }) => pubsub.publish(payload, {})
  ]
  for (const call of calls) {
    const kept = keepLog()
    call(local(t, kept))
    await kept.line('Publishing failed')
    t.same(kept.lines.map(({ chatId, channel }) => [chatId, channel]), [[undefined, undefined]])
    t.notMatch(kept.text(), 'hunter2')
  }
  const kept = keepLog()
  const { chatEvents } = local(t, kept)
  for (const thrown of ['hunter2', Object.assign(new Error(), { code: { secret: 'hunter2' } }), null]) {
    await t.rejects(chatEvents.streamBotMessage('c', () => { throw thrown }))
  }
  const failures = kept.lines.filter(({ msg }) => msg === 'Publishing failed')
  t.same(failures.map(({ chatId, code }) => [chatId, code]), [['c', 'string'], ['c', 'Error'], ['c', 'null']])
  t.notMatch(kept.text(), 'hunter2')
})

t.test('cleaning up forgets all handlers', async (t) => {
  const { chatEvents } = local(t)
  for (const chat of ['a', 'b']) chatEvents.onChatEvent(chat, () => t.fail('called'))
  chatEvents.cleanupChatSubscriptions()
  await chatEvents.emitChatMessage('a', {})
  t.match(chatEvents.stats(), { localChats: 0 })
  const event = next(chatEvents, 'a')
  await chatEvents.emitChatMessage('a', { n: 1 })
  t.match(await event, { message: { n: 1 } }, 'and new ones can come')
})

t.test('a provider with no more than the interface works', async (t) => {
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
  t.same(two.lines.filter(({ msg }) => msg === 'Forwarded remote chat event').map(({ level, chatId, from }) => ({ level, chatId, from })),
    Array(3).fill({ level: 20, chatId: '123', from: one.pubsub.instanceId }))
  t.equal(one.lines.filter(({ msg }) => msg === 'Forwarded remote chat event').length, 0)
})

t.test('a stream that has waited for longer than its chat was followed is ended', async (t) => {
  const { chatEvents } = local(t)
  let ended = 0
  const stream = { closed: false, end: async () => { ended++ } } as unknown as Connection // All that is asked of it.
  const [entrance] = chatEvents.enter('c')(stream)
  chatEvents.cleanupChatSubscriptions()
  entrance?.join()
  t.equal(ended, 1)
})

t.test('a grant that turns out to be shorter ends the whole stream earlier, of one chat and of several', async (t) => {
  const { chatEvents } = local(t)
  t.teardown(() => chatEvents.cleanupChatSubscriptions())
  const ends: number[] = []
  const connection = new FakeConnection(() => {}).asConnection
  const stream = Object.assign(connection, { endAfter: (ms: number) => { ends.push(ms) } })
  const chats = ['a', 'b'].map((chatId) => ({ chatId, userId: undefined, refused: undefined, refuse () {} }))
  for (const entrance of chatEvents.enter('c')(stream)) entrance.endAfter(1)
  for (const entrance of chatEvents.enterAll(chats)(stream)) entrance.endAfter(2)
  t.same(ends, [1, 2, 2])
})
