import t, { type Test } from 'tap'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import Fastify, { type FastifyInstance } from 'fastify'
import realtimePlugin, {
  chatEvents, cleanupChatSubscriptions, closePubSub, emitBotAction, emitChatMessage, getChatChannel, getChatEvents,
  getPubSub, LocalPubSub, offChatEvent, onChatEvent, pubsub, startBotMessage, type ChatEvent, type ClosePubSubOptions,
  type RealtimeOptions
} from '../../lib/index.ts'
import { FakeTimers } from '../support/fake-timers.ts'
import { live } from '../support/live.ts'
import { keepLog } from '../support/log.ts'
import { RedisServer } from '../support/redis-server.ts'
import { nothingUnhandled } from '../support/unhandled.ts'
import { until } from '../support/until.ts'

process.env.LOG_LEVEL = 'silent'

/** Longer than any test may take. */
const LONG = 600_000

t.beforeEach(async (t) => {
  nothingUnhandled(t)
  delete process.env.REDIS_URL
  await closePubSub()
})
t.teardown(() => closePubSub())

function app (t: Test, options: RealtimeOptions = {}, log = keepLog()): Promise<FastifyInstance> {
  const app = Fastify({ loggerInstance: log.log as never }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  return Promise.resolve(app.register(realtimePlugin, options)).then(() => app)
}

t.test('the helpers work without an app', async (t) => {
  const got: unknown[] = []
  const handler = (event: ChatEvent): void => { got.push(event) }
  onChatEvent('chat-id-123', handler)
  await emitChatMessage('chat-id-123', { text: 'Hello', role: 'user' })
  await emitBotAction('chat-id-123', { actionType: 'thinking' })
  offChatEvent('chat-id-123', handler)
  await emitChatMessage('chat-id-123', { text: 'unheard' })
  t.same(got, [
    { type: 'message', chatId: 'chat-id-123', message: { text: 'Hello', role: 'user' } },
    { type: 'bot_action', chatId: 'chat-id-123', action: { actionType: 'thinking' } }
  ])
})

t.test('pubsub is usable before anything was created', async (t) => {
  const got: unknown[] = []
  const unsubscribe = pubsub.subscribeExact(getChatChannel('123'), ({ data }) => { got.push(['exact', data]) })
  const unsubscribeAll = pubsub.subscribe('chat:*', ({ channel }) => { got.push(['pattern', channel]) })
  await pubsub.publish('chat:123', { type: 'message', text: 'Hello' })
  unsubscribe()
  unsubscribeAll()
  await pubsub.publish('chat:123', {})
  t.same(got, [['exact', { type: 'message', text: 'Hello' }], ['pattern', 'chat:123']])
  t.equal(pubsub.name, 'local')
  t.equal(await pubsub.isHealthy(), true)
  t.equal(getPubSub(), getPubSub())
  await pubsub.close()
})

t.test('the emitter functions work and stay local', async (t) => {
  const got: unknown[] = []
  const handler = (event: ChatEvent): void => { got.push(event.type) }
  chatEvents.on('c', handler)
  t.equal(chatEvents.emit('c', { type: 'message', message: {} }), true)
  chatEvents.off('c', handler)
  t.equal(chatEvents.emit('c', { type: 'message', message: {} }), false)
  t.same(got, ['message'])
})

t.test('cleaning up and closing without any use works', async (t) => {
  cleanupChatSubscriptions()
  await closePubSub()
  await closePubSub()
  onChatEvent('c', () => t.fail('called'))
  cleanupChatSubscriptions()
  await emitChatMessage('c', {})
  const before = getPubSub()
  await closePubSub()
  await t.rejects(before.publish('c', 1), { code: 'RT_CLOSED' })
  t.not(getPubSub(), before, 'the next use starts anew')
})

t.test('an app and the helpers of its process share everything, in any order of creation', async (t) => {
  const got: unknown[] = []
  const heard = (event: ChatEvent): void => { got.push(event.type === 'message' && event.message) }
  onChatEvent('c', heard)
  const late = await app(t)
  t.equal(late.chatEvents, getChatEvents())
  await late.chatEvents.emitChatMessage('c', { from: 'app' })
  await emitChatMessage('c', { from: 'helper' })
  t.same(got, [{ from: 'app' }, { from: 'helper' }])
  await late.close()
  const early = await app(t, { keyPrefix: 'x:' })
  t.equal(early.chatEvents, getChatEvents())
  t.equal(early.pubsub, getPubSub())
  await early.close()
  t.not(getPubSub(), early.pubsub)
})

t.test('apps of one process share a provider, and each closes separately', async (t) => {
  const [one, two] = await Promise.all([app(t), app(t)])
  t.equal(one.chatEvents, two.chatEvents)
  await one.close()
  const event = new Promise((resolve) => { two.chatEvents.onChatEvent('c', resolve) })
  await emitChatMessage('c', { n: 1 })
  t.match(await event, { message: { n: 1 } })
  await closePubSub()
  t.equal(await two.pubsub.isHealthy(), true, 'the helpers don\'t close what an app uses')
  await two.close()
  t.equal(await two.pubsub.isHealthy(), false)
})

t.test('resources of the helpers end with the app that took them over, so that the process can end', async (t) => {
  const made = getPubSub()
  const late = await app(t)
  t.equal(late.pubsub, made)
  await late.close()
  await t.rejects(made.publish('c', 2), { code: 'RT_CLOSED' })
})

t.test('a second registration in one context is refused, and leaves nothing open', async (t) => {
  const twice = await app(t)
  await t.rejects(async () => await twice.register(realtimePlugin, { keyPrefix: 'other:' }), {
    code: 'RT_REGISTERED_TWICE'
  })
})

t.test('an app whose options differ from those of the helpers stays separate, and logs it', async (t) => {
  getPubSub()
  const kept = keepLog()
  const other = await app(t, { pubsub: new LocalPubSub() }, kept)
  t.not(other.pubsub, getPubSub())
  t.match(kept.lines.filter(({ level }) => level === 40), [{ msg: /don't reach this app/ }])
  await other.close()
  t.equal(await getPubSub().isHealthy(), true, 'and its end is not theirs')
})

t.test('the app\'s own provider is not closed with the app', async (t) => {
  const own = new LocalPubSub()
  const first = await app(t, { pubsub: own })
  t.equal(getPubSub(), own)
  first.chatEvents.onChatEvent('c', () => t.fail('called after the app was closed'))
  await first.close()
  t.same(own.stats(), { channels: 0, patterns: 0 }, 'but the app\'s subscriptions end')
  await own.publish('chat:c', {})
  t.equal(await own.isHealthy(), true)
})

t.test('a wrong REDIS_URL rejects publishes, and throws where no promise can reject', async (t) => {
  process.env.REDIS_URL = 'http://hunter2'
  await t.rejects(emitChatMessage('c', {}), { code: 'RT_REDIS_URL_INVALID' })
  await t.rejects(emitBotAction('c', {}), { code: 'RT_REDIS_URL_INVALID' })
  await t.rejects(pubsub.publish('c', {}), { code: 'RT_REDIS_URL_INVALID' })
  await t.rejects(pubsub.isHealthy(), { code: 'RT_REDIS_URL_INVALID' })
  t.throws(() => onChatEvent('c', () => {}), { code: 'RT_REDIS_URL_INVALID' })
  offChatEvent('c', () => {})
  chatEvents.off('c', () => {})
  emitChatMessage('ignored', {})
})

t.test('with REDIS_URL the helpers reach other processes', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  process.env.REDIS_URL = redis.url
  t.equal(getPubSub().name, 'redis')
  const kept = keepLog()
  // An app like one of another process, since its prefix differs from nothing but its name does.
  const other = await app(t, { redisUrl: redis.url, instanceId: 'other' }, kept)
  t.match(await kept.line('Using RedisPubSub for realtime events'), { level: 30, provider: 'redis' })
  const event = new Promise((resolve) => { other.chatEvents.onChatEvent('c', resolve) })
  await live(other.pubsub as never)
  await emitChatMessage('c', { n: 1 })
  t.match(await event, { message: { n: 1 } })
  await closePubSub()
})

t.test('the helpers close once their bot messages have ended, and everyone gets the end', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  for (const url of [undefined, redis.url]) {
    if (url !== undefined) process.env.REDIS_URL = url
    const ends: unknown[] = []
    onChatEvent('c', (event) => { if (event.type === 'bot_message') ends.push([event.status, event.text]) })
    const botMessage = await startBotMessage('c')
    await botMessage.append('a')
    const used = getPubSub()
    const closed = closePubSub({ botMessageDrainMs: LONG })
    await new Promise(setImmediate)
    const late = await startBotMessage('c')
    await botMessage.append('b')
    t.equal(getPubSub(), used, 'the helpers can still be used')
    for (const message of [botMessage, late]) t.same(await message.finish(), { status: 'finished' })
    await closed
    t.same(ends, [['finished', 'ab'], ['finished', '']])
    await t.rejects(used.publish('c', 1), { code: 'RT_CLOSED' })
  }
})

t.test('the helpers interrupt bot messages that take too long', async (t) => {
  const timers = new FakeTimers()
  t.teardown(() => timers.uninstall())
  for (const [options, ms] of [[undefined, 5_000], [{}, 5_000], [{ botMessageDrainMs: 1_234 }, 1_234]] as const) {
    const { signal } = await startBotMessage('c')
    timers.install()
    const closed = closePubSub(options)
    t.same(timers.delays.splice(0), [ms])
    t.equal(signal.aborted, false)
    timers.fire()
    timers.uninstall()
    await closed
    t.match(signal.reason, { code: 'RT_BOT_MESSAGE_ENDED' })
  }
})

t.test('a later call may close the helpers earlier', async (t) => {
  const { signal } = await startBotMessage('c')
  const first = closePubSub({ botMessageDrainMs: LONG })
  await closePubSub({ botMessageDrainMs: 0 })
  t.match(signal.reason, { code: 'RT_BOT_MESSAGE_ENDED' })
  await first
})

t.test('an app that takes the helpers over while they close keeps them open', async (t) => {
  const botMessage = await startBotMessage('c')
  const closed = closePubSub({ botMessageDrainMs: LONG })
  const late = await app(t)
  await botMessage.finish()
  await closed
  t.equal(getPubSub(), late.pubsub)
  await late.chatEvents.emitChatMessage('c', {})
})

t.test('closePubSub can be the listener of a signal', async (t) => {
  const used = getPubSub()
  await used.publish('c', 1)
  process.once('SIGTERM', closePubSub)
  process.kill(process.pid, 'SIGTERM')
  await until(async () => getPubSub() !== used, (closed) => closed)
  await t.rejects(used.publish('c', 1), { code: 'RT_CLOSED' })
})

t.test('a wrong option of closePubSub is refused, and nothing is closed', async (t) => {
  const used = getPubSub()
  for (const wrong of [{ botMessageDrainMs: -1 }, { botMessageDrainMs: '1' }, '5000', 5_000, null]) {
    await t.rejects(closePubSub(wrong as ClosePubSubOptions), { code: 'RT_OPTION_INVALID' })
  }
  await used.publish('c', 1)
})

t.test('a process without an app logs by itself, and ends by itself', async (t) => {
  const worker = new URL('../support/worker.ts', import.meta.url).pathname
  for (const LOG_LEVEL of [undefined, 'no such level']) {
    const { stdout } = await promisify(execFile)(process.execPath, [...process.execArgv, worker], {
      env: { ...process.env, LOG_LEVEL }
    })
    t.match(stdout.trim().split('\n').map((line) => JSON.parse(line)), [
      { level: 30, name: 'fastify-realtime', msg: 'Using LocalPubSub for realtime events', provider: 'local' }
    ])
  }
})
