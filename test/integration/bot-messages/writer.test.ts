import t from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import {
  closePubSub, LocalPubSub, RealtimeError, RedisPubSub, startBotMessage, stopBotMessage, streamBotMessage,
  type PubSubProvider, type StateStore
} from '../../../lib/index.ts'
import { keepLog } from '../../support/log.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import { LEASE, say, instance } from './sides.ts'

t.beforeEach(nothingUnhandled)

t.test('wrong input is refused, and the error names it', async (t) => {
  const chatEvents = instance(t, new LocalPubSub())
  for (const id of ['', 'x'.repeat(129), '\ud800', '.', '..', 5, null]) {
    await t.rejects(chatEvents.startBotMessage('c', { id: id as string }), {
      code: 'RT_BOT_MESSAGE_ID_INVALID', statusCode: 400
    })
    await t.rejects(chatEvents.stopBotMessage('c', id as string), { code: 'RT_BOT_MESSAGE_ID_INVALID' })
  }
  await t.rejects(chatEvents.startBotMessage(''), { code: 'RT_CHAT_ID_INVALID' })
  await t.rejects(chatEvents.stopBotMessage('', 'a'), { code: 'RT_CHAT_ID_INVALID' })
  const botMessage = await chatEvents.startBotMessage('c')
  for (const text of [undefined, null, 5, {}]) {
    await t.rejects(botMessage.append(text as never), { code: 'RT_PAYLOAD_INVALID' })
  }
  botMessage.append(5 as never)
})

t.test('bot messages can\'t be streamed without history, or with a provider that keeps no state', async (t) => {
  const bare: PubSubProvider = new LocalPubSub({ history: false })
  await t.rejects(instance(t, bare).startBotMessage('c'), { code: 'RT_STATE_UNAVAILABLE', statusCode: 501 })
  await t.rejects(instance(t, bare).streamBotMessage('c', say('x')), { code: 'RT_STATE_UNAVAILABLE' })
})

t.test('a bot message that two calls find to be over at the same time ends once', async (t) => {
  const pubsub = new LocalPubSub()
  const chatEvents = instance(t, pubsub, { botMessageLeaseMs: 60_000 })
  const botMessage = await chatEvents.startBotMessage('c', { id: 'a' })
  const { channel } = botMessage
  const state = pubsub.state as StateStore // History is on here.
  await state.renew(channel, ['answer:a'], -1)
  await state.finalize(channel, { field: 'answer:a', event: {}, keepContent: false, key: 'bot_message:a' })
  let aborts = 0
  botMessage.signal.addEventListener('abort', () => { aborts++ })
  await Promise.all([1, 2].map(() => botMessage.renewed('another epoch', true, 0)))
  t.equal(aborts, 1)
  t.same(await botMessage.fail(), { status: 'interrupted' })
  const other = await chatEvents.startBotMessage('c', { id: 'b' })
  await state.change(channel, { operation: 'delete', field: 'answer:b' })
  t.same(await other.finish(), { status: 'interrupted' }, 'even if its end is too old to be known')
})

t.test('a lease event of a finished bot message writes nothing to the state', async (t) => {
  const pubsub = new LocalPubSub()
  const botMessage = await instance(t, pubsub, { botMessageLeaseMs: 60_000 }).startBotMessage('c', { id: 'a' })
  const state = pubsub.state as StateStore // History is on here.
  const change = state.change.bind(state)
  let changes = 0
  state.change = (...args) => {
    changes++
    return change(...args)
  }
  await state.renew(botMessage.channel, ['answer:a'], -1)
  await state.finalize(botMessage.channel, { field: 'answer:a', event: {}, keepContent: false, key: 'bot_message:a' })
  await botMessage.renewed('another epoch', true, 0)
  t.equal(botMessage.signal.aborted, true)
  t.equal(changes, 1, 'it tried to go on')
  await botMessage.renewed('another epoch', true, 0)
  t.equal(changes, 1)
})

t.test('the callback for the final fields may take a while, or fail', async (t) => {
  const chatEvents = instance(t, new LocalPubSub())
  t.match(await chatEvents.streamBotMessage('c', say('x'), { extra: async () => ({}) }), { status: 'finished' })
  await t.rejects(chatEvents.streamBotMessage('c', say('x'), { extra: () => Promise.reject(new Error('no count')) }), {
    message: 'no count'
  })
})

t.test('a bot message learns its final status, even after a failed attempt', async (t) => {
  const pubsub = new LocalPubSub()
  const chatEvents = instance(t, pubsub, { botMessageLeaseMs: 100 })
  const state = pubsub.state as StateStore // History is on here.
  const [finalize, renew] = [state.finalize.bind(state), state.renew.bind(state)]
  const known = await chatEvents.startBotMessage('c', { id: 'known' })
  state.finalize = async (...args) => {
    state.finalize = finalize
    await finalize(...args)
    throw new RealtimeError('RT_PUBLISH_UNKNOWN', 'the reply was lost')
  }
  await t.rejects(known.finish(), { code: 'RT_PUBLISH_UNKNOWN' })
  let renewals = 0
  state.renew = (...args) => renew(...args).finally(() => { renewals++ })
  await until(async () => renewals, Boolean)
  t.same(await known.finish(), { status: 'finished' })
  t.equal(known.signal.aborted, false)
  const late = await chatEvents.startBotMessage('c', { id: 'late' })
  state.renew = () => new Promise(() => {})
  state.finalize = async () => {
    state.finalize = finalize
    throw new RealtimeError('RT_PUBLISH_REJECTED', 'Redis was not connected')
  }
  await t.rejects(late.finish(), { code: 'RT_PUBLISH_REJECTED' })
  await renew(late.channel, ['answer:late'], -1)
  await finalize(late.channel, { field: 'answer:late', event: {}, keepContent: false, key: 'bot_message:late' })
  t.same(await late.finish(), { status: 'interrupted' }, 'another instance was quicker')
})

t.test('a bot message that ends during its start leaves no timer', async (t) => {
  const chatEvents = instance(t, new LocalPubSub())
  const { setInterval, clearInterval } = globalThis
  t.teardown(() => { Object.assign(globalThis, { setInterval, clearInterval }) })
  const running = new Set<unknown>()
  Object.assign(globalThis, {
    setInterval: (callback: () => void, ms: number) => {
      const timer = setInterval(callback, ms)
      if (ms === LEASE / 3) running.add(timer)
      return timer
    },
    clearInterval: (timer: NodeJS.Timeout) => {
      running.delete(timer)
      clearInterval(timer)
    }
  })
  const beginning = chatEvents.startBotMessage('c')
  chatEvents.interruptBotMessages()
  t.equal((await beginning).signal.aborted, true)
  t.equal(running.size, 0)
  await chatEvents.startBotMessage('c')
  t.equal(running.size, 1)
  chatEvents.interruptBotMessages()
  t.equal(running.size, 0)
})

t.test('outside Fastify', async (t) => {
  t.teardown(closePubSub)
  const botMessage = await startBotMessage('c', { id: 'a' })
  await botMessage.append('x')
  await stopBotMessage('c', 'a')
  t.equal(botMessage.signal.aborted, true)
  t.match(await streamBotMessage('c', say('x', 'y')), { status: 'finished' })
})

t.test('a piece that Redis refuses is retried, and logged once', async (t) => {
  const { log, lines } = keepLog()
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const admin = new Redis(redis.url)
  t.teardown(() => { admin.disconnect() })
  const pubsub = new RedisPubSub({ url: redis.url })
  const chatEvents = instance(t, pubsub, { log, botMessageLeaseMs: 60_000 })
  const botMessage = await chatEvents.startBotMessage('c')
  await admin.config('SET', 'maxmemory', '1')
  botMessage.append('x')
  await until(async () => lines, (lines) => lines.length > 0)
  botMessage.append('y')
  await delay(1_100)
  await admin.config('SET', 'maxmemory', '0')
  await until(
    async () => {
      const { fields } = await (pubsub.state as StateStore).read('chat:c')
      return fields?.get(`answer:${botMessage.id}`)?.draft?.content
    },
    (value) => value === 'xy'
  )
  t.match(lines, [
    { chatId: 'c', code: 'RT_PUBLISH_REJECTED', msg: 'A piece of a bot message could not be written, trying again' }
  ])
  t.equal(lines.length, 1)
  botMessage.append('z')
  await pubsub.close()
  botMessage.append('!')
  await until(async () => botMessage.signal.aborted, Boolean)
})
