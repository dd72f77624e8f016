import t from 'tap'
import { ChatEvents, LocalPubSub, RedisPubSub, type ChatEvent, type ChatEventInput } from '../../../lib/index.ts'
import { silentLogger } from '../../../lib/core/logger.ts'
import { keepLog } from '../../support/log.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { until } from '../../support/until.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { local } from './local.ts'

t.beforeEach(nothingUnhandled)

const RESERVED = ['ready', 'reset', 'refused', 'error', 'open', 'bot_message', 'presence', 'typing']

t.test('no way to publish lets a client\'s event forge presence or the end of a bot message', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  for (const pubsub of [new LocalPubSub(), new RedisPubSub({ url: redis.url })]) {
    t.teardown(() => pubsub.close())
    const chatEvents = new ChatEvents(pubsub, { log: silentLogger, retryMs: 0 })
    const got: unknown[] = []
    chatEvents.onChatEvent('c', (event) => { got.push(event) })
    for (const type of RESERVED) {
      const body = JSON.parse(
        `{ "type": "${type}", "id": "a", "users": ["eve"], "status": "finished", "at": 0, "text": "" }`
      )
      await t.rejects(
        chatEvents.publish('c', body), { code: 'RT_EVENT_TYPE_INVALID', message: /reserved, got "/ }, type
      )
      t.throws(() => chatEvents.emit('c', body), { code: 'RT_EVENT_TYPE_INVALID' })
      for (const options of [{}, { ephemeral: true }, { idempotencyKey: type }]) {
        await t.rejects(pubsub.publish('chat:c', body, options), { code: 'RT_EVENT_TYPE_INVALID' })
      }
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

t.test('a publisher to any channel can neither revoke access nor stop a bot message that way', async (t) => {
  const { pubsub } = local(t)
  for (const name of ['revoked', 'stopped', 'control']) {
    await t.rejects(pubsub.publish(`fastify-realtime:${name}`, { type: 'revoke', chatId: 'c', userId: 'ann' }), {
      code: 'RT_CHANNEL_INVALID', message: /reserved for this package/
    })
  }
})

t.test('each call with a wrong argument rejects with a code that names the argument, and never throws', async (t) => {
  const { pubsub, chatEvents } = local(t)
  const thrower = { type: 'reaction', get user (): string { throw new Error('secret') } }
  const proxy = new Proxy({}, {
    get () { throw new Error('secret') }, has () { throw new Error('secret') }, ownKeys () { throw new Error('secret') }
  })
  const typeless = { get type (): 'reaction' { throw new Error('secret') }, user: 'ann' }
  const hostile = { type: 'reaction', user: 'ann', toJSON () { throw new TypeError('secret') } }
  for (const value of [thrower, proxy, typeless, hostile]) {
    for (const publish of [
      () => chatEvents.publish('c', value as ChatEventInput),
      () => pubsub.publish('c', value),
      () => chatEvents.emitChatMessage('c', value)
    ]) {
      await t.rejects(publish(), {
        code: 'RT_PAYLOAD_INVALID', message: /^A payload must be a JSON value, got .* throws\. Publish (?!.*secret)/
      })
    }
  }
  for (const options of [null, 'text', 5, () => {}] as never[]) {
    const calls: Promise<unknown>[] = [
      chatEvents.publish('c', { type: 'reaction', user: 'ann' }, options),
      chatEvents.emitChatMessage('c', {}, options),
      chatEvents.emitBotAction('c', {}, options),
      chatEvents.emitTyping('c', 'ann', options),
      chatEvents.startBotMessage('c', options),
      chatEvents.streamBotMessage('c', () => { throw new Error('called') }, options),
      pubsub.publish('c', 1, options)
    ]
    for (const call of calls) {
      await t.rejects(call, {
        code: 'RT_OPTION_INVALID', message: /^Expected `options` to be an object with .*, got \w+\. Leave it out/
      })
    }
  }
  await t.rejects(pubsub.publish('c', 1, { ephemeral: 'no' } as never), {
    code: 'RT_OPTION_INVALID', message: /`options\.ephemeral`/
  })
  for (const name of ['extra', 'describeError']) {
    for (const wrong of [null, 'text', 5]) {
      await t.rejects(
        chatEvents.streamBotMessage('c', () => { throw new Error('called') }, { [name]: wrong } as never),
        { code: 'RT_OPTION_INVALID', message: new RegExp(`\`options\\.${name}\``) }
      )
    }
  }
  const { fields } = await pubsub.state?.read('chat:c') ?? {}
  t.equal(fields?.size, 0, 'no bot message was begun')
})

t.test('wrong input is refused with its name, and an ignored rejection does no harm', async (t) => {
  const kept = keepLog()
  const { chatEvents } = local(t, kept)
  const types = [...RESERVED, '', 'a b', 'a\nb', 'x'.repeat(65), undefined, 5, null]
  for (const type of types) {
    await t.rejects(
      chatEvents.publish('c', { type } as unknown as ChatEventInput), { code: 'RT_EVENT_TYPE_INVALID' }, String(type)
    )
  }
  await t.rejects(chatEvents.publish('c', null as unknown as ChatEventInput), {
    code: 'RT_EVENT_TYPE_INVALID', message: /got undefined/
  })
  // A call without the chat gets an error that names it, whatever was passed instead.
  for (const wrong of [
    chatEvents.emitChatMessage({} as string, undefined as never),
    chatEvents.emitBotAction('', null as never),
    chatEvents.publish('', { type: 'ready' } as never)
  ]) {
    await t.rejects(wrong, { code: 'RT_CHAT_ID_INVALID' })
  }
  for (const message of [undefined, null, 'text', 5]) {
    await t.rejects(chatEvents.emitChatMessage('c', message as unknown as object), { code: 'RT_PAYLOAD_INVALID' })
  }
  await t.rejects(chatEvents.emitBotAction('c', undefined as unknown as object), {
    code: 'RT_PAYLOAD_INVALID', message: /`action` must be an object/
  })
  await t.rejects(chatEvents.emitChatMessage('c', { secret: 'hunter2'.repeat(10_000) }), {
    code: 'RT_PAYLOAD_TOO_LARGE', statusCode: 413
  })
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
  t.same(
    fresh.lines.map(({ msg, code }) => [msg, code]),
    [['Publishing failed', 'RT_CHAT_ID_INVALID'], ['Publishing failed', 'RT_PAYLOAD_TOO_LARGE']],
    'each is logged once'
  )
  t.notMatch(kept.text(), 'hunter2')
  t.equal(chatEvents.stats().localChats, 0)
})

t.test('a wrong value in place of a name, or an error that can\'t be read, is not written to the log', async (t) => {
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
