import t, { type Test } from 'tap'
import { AsyncLocalStorage } from 'node:async_hooks'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import {
  closePubSub, emitChatMessage, getPubSub, LocalPubSub, onChatEvent, pubsub, type RealtimeOptions
} from '../../lib/index.ts'
import { channelFeedOf } from '../../lib/pubsub/channel-feed.ts'
import { logPending, logRepeated } from '../../lib/observability/repeated-failure.ts'
import { FakeTimers } from '../support/fake-timers.ts'
import { startApp } from '../support/app.ts'
import { EventStream } from '../support/event-stream.ts'
import { live } from '../support/live.ts'
import { RedisServer } from '../support/redis-server.ts'

process.env.LOG_LEVEL = 'silent'
delete process.env.REDIS_URL

/** As an app keeps it: the user of the request at hand. */
const user = new AsyncLocalStorage<string>()
const redis = await RedisServer.start()
t.teardown(() => redis.stop())

/** The plugin in an app that keeps the user of each request, named by its query, and a chat stream for each. */
async function start (t: Test, options: RealtimeOptions): Promise<{
  app: FastifyInstance, open: (name: string, chat?: string) => Promise<EventStream>
}> {
  const { app, url } = await startApp(t, options, {
    setup: (app) => app.addHook('onRequest', (request, _reply, done) => {
      user.run((request.query as { user: string }).user, done)
    })
  })
  const open = async (name: string, chat = 'c'): Promise<EventStream> => {
    const stream = await EventStream.open(t, `${url}/api/chats/${chat}/events?user=${name}`)
    t.match(await stream.next(), { event: 'ready' })
    return stream
  }
  return { app, open }
}

/** Resolves with the context of the first call. */
function called (add: (handler: () => void) => unknown): Promise<string | undefined> {
  return new Promise((resolve) => { add(() => { resolve(user.getStore()) }) })
}

for (const [name, options] of Object.entries({ 'in one process': {}, 'over Redis': { redisUrl: redis.url } })) {
  t.test(`${name}, a handler runs in the context in which it was added`, async (t) => {
    const { app, open } = await start(t, options)
    await open('ann')
    const startup = called((handler) => app.chatEvents.onChatEvent('c', handler))
    const ben = user.run('ben', () => called((handler) => app.chatEvents.onChatEvent('c', handler)))
    const channel = user.run('cid', () => called((handler) => app.pubsub.subscribeExact('chat:c', handler)))
    const pattern = called((handler) => app.pubsub.subscribe('chat:*', handler))
    await live(channelFeedOf(app.pubsub))
    await user.run('dan', () => app.chatEvents.emitChatMessage('c', {}))
    t.same(await Promise.all([startup, ben, channel, pattern]), [undefined, 'ben', 'cid', undefined])
    const emitted = called((handler) => app.chatEvents.on('d', handler))
    user.run('eve', () => app.chatEvents.emit('d', { type: 'message', message: {} }))
    t.equal(await emitted, undefined)
  })

  t.test(`${name}, the helpers don't run handlers in the context of their first caller`, async (t) => {
    process.env.REDIS_URL = options.redisUrl
    if (options.redisUrl === undefined) delete process.env.REDIS_URL
    t.teardown(async () => {
      await closePubSub()
      delete process.env.REDIS_URL
    })
    await user.run('ann', () => emitChatMessage('c', {}))
    const chat = called((handler) => onChatEvent('c', handler))
    const channel = called((handler) => pubsub.subscribeExact('x', handler))
    await live(channelFeedOf(getPubSub()))
    await user.run('ben', async () => {
      await emitChatMessage('c', {})
      await pubsub.publish('x', 1)
    })
    t.same(await Promise.all([chat, channel]), [undefined, undefined])
  })
}

t.test('a handler that is added twice stays in its first context', async (t) => {
  const { app } = await start(t, {})
  const seen: unknown[] = []
  const handler = (): void => { seen.push(user.getStore()) }
  user.run('ann', () => app.chatEvents.onChatEvent('c', handler))
  user.run('ben', () => app.chatEvents.onChatEvent('c', handler))
  await app.chatEvents.emitChatMessage('c', {})
  t.same(seen, ['ann'])
})

t.test('work of a chat for all of its clients runs in no client\'s context', async (t) => {
  const log = new LocalPubSub()
  const seen: unknown[] = []
  const { read } = log.eventLog as NonNullable<typeof log.eventLog>
  Object.assign(log.eventLog as object, {
    async read (...args: Parameters<typeof read>) {
      seen.push(user.getStore())
      return await read.apply(log.eventLog, args)
    }
  })
  const { open } = await start(t, { pubsub: log })
  await open('ann')
  t.ok(seen.length > 0)
  t.same(seen.filter((context) => context !== undefined), [])
})

for (const [name, options] of Object.entries({ 'in one process': {}, 'over Redis': { redisUrl: redis.url } })) {
  t.test(`${name}, timers that serve many requests run in no request's context`, async (t) => {
    const contexts: unknown[] = []
    const { setInterval } = globalThis
    t.intercept(globalThis, 'setInterval', {
      value: (call: () => void, ms: number) => {
        contexts.push(user.getStore())
        return setInterval(call, ms)
      }
    })
    const grant = (): { userId: string } => ({ userId: user.getStore() ?? '' })
    const { app, open } = await start(t, { ...options, presence: true, authorize: grant })
    await open('ann')
    const botMessage = await user.run('ben', () => app.chatEvents.startBotMessage('c'))
    await botMessage.finish()
    t.ok(contexts.length >= 4, 'heartbeats, checks, presence, bot messages')
    t.same(contexts.filter((context) => context !== undefined), [])
  })
}

t.test('followers of a channel are notified of live and of an outage in no request\'s context', async (t) => {
  const server = await RedisServer.start()
  t.teardown(() => server.stop())
  const { app } = await user.run('boot', () => start(t, { redisUrl: server.url }))
  const seen: unknown[] = []
  const lost = new Promise<void>((resolve) => {
    user.run('ann', () => {
      channelFeedOf(app.pubsub).follow('x', {
        live () {
          seen.push(user.getStore())
          server.stop()
        },
        lost () {
          seen.push(user.getStore())
          resolve()
        },
        receive () {}
      })
    })
  })
  await lost
  t.same(seen, [undefined, undefined])
})

t.test('a count of failures is logged in no request\'s context', (t) => {
  const timers = new FakeTimers()
  timers.install()
  t.teardown(() => timers.uninstall())
  const contexts: unknown[] = []
  const log = pino({
    mixin () {
      contexts.push(user.getStore())
      return {}
    }
  }, { write () {} })
  const failure = { level: 'warn', message: 'It fails' } as const
  user.run('ann', () => {
    logRepeated(log, failure, {})
    logRepeated(log, failure, {})
  })
  timers.fire()
  t.same(contexts, ['ann', undefined], 'the first failure is that of the request')
  logPending(log)
  t.end()
})
