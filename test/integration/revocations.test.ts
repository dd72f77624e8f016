import t, { type Test } from 'tap'
import { once } from 'node:events'
import { EventSource } from 'eventsource'
import type { FastifyBaseLogger, FastifyInstance, FastifyRequest } from 'fastify'
import { LocalPubSub, type AccessGrant, type RealtimeOptions } from '../../lib/index.ts'
import { startApp } from '../support/app.ts'
import { EventStream } from '../support/event-stream.ts'
import { Gate } from '../support/gate.ts'
import { keepLog } from '../support/log.ts'
import { client, startRedis } from '../support/redis.ts'
import { nothingUnhandled } from '../support/unhandled.ts'
import { until } from '../support/until.ts'
import { timing } from '../../lib/core/timing.ts'

t.beforeEach(nothingUnhandled)
t.setTimeout(120_000)

// No test here measures time.
Object.assign(timing, { accessSpread: 0 })

interface Stage {
  redis: Awaited<ReturnType<typeof startRedis>>
  /** Between Redis and the instance `there`. */
  gate: Gate
  here: { app: FastifyInstance, url: string }
  there: { app: FastifyInstance, url: string }
  /** Users who may open the chat. */
  members: Set<string>
  /** Users whose access was checked there. */
  asked: string[]
  /** The log of the instance there. */
  lines: ReturnType<typeof keepLog>
  open (user: string): Promise<EventStream>
  /** Revokes the access of a user, and publishes that on the other instance. */
  revoke (user: string): Promise<void>
}

const userOf = ({ headers: { authorization = '' } }: FastifyRequest): string => authorization

async function start (t: Test, options: RealtimeOptions = {}, gated = { isOpen: true }): Promise<Stage> {
  const redis = await startRedis(t)
  const gate = await Gate.start(t, redis.port, gated)
  const members = new Set(['ada', 'bob'])
  const asked: string[] = []
  const lines = keepLog()
  const authorize = (request: FastifyRequest): AccessGrant | false => {
    return members.has(userOf(request)) && { userId: userOf(request) }
  }
  const here = await startApp(t, { ...options, redisUrl: redis.url, instanceId: 'here', authorize })
  const there = await startApp(t, {
    ...options,
    redisUrl: gate.url,
    instanceId: 'there',
    authorize: (request) => {
      asked.push(userOf(request))
      return authorize(request)
    }
  }, { server: { loggerInstance: lines.log as FastifyBaseLogger } })
  const open = (user: string): Promise<EventStream> => {
    return EventStream.open(t, `${there.url}/api/chats/c/events`, { headers: { authorization: user } })
  }
  if (gated.isOpen) {
    // From its ready on, no revocation is missed.
    const first = await open('bob')
    await first.next()
    first.close()
    await until(async () => there.app.chatEvents.stats().localChats, (count) => count === 0)
    asked.length = 0
  }
  return {
    redis,
    gate,
    here,
    there,
    members,
    asked,
    lines,
    open,
    revoke: async (user) => {
      members.delete(user)
      await here.app.chatEvents.revoke('c', user)
    }
  }
}

const healthy = (app: FastifyInstance, health: boolean): Promise<void> => {
  return until(() => Promise.resolve(app.pubsub.isHealthy()), (answer) => answer === health)
}

/** Ada and Bob open streams, then Ada's access is revoked while their instance can't reach Redis. */
async function revokeWhileAway (
  t: Test, options: RealtimeOptions
): Promise<{ stage: Stage, ada: EventStream, bob: EventStream }> {
  const stage = await start(t, options)
  const [ada, bob] = [await stage.open('ada'), await stage.open('bob')]
  for (const stream of [ada, bob]) t.match(await stream.next(), { event: 'ready' })
  stage.gate.shut()
  await healthy(stage.there.app, false)
  await stage.revoke('ada')
  return { stage, ada, bob }
}

/** Ada's stream has ended, and Bob's continues. */
async function onlyBobStays (t: Test, { here }: Stage, ada: EventStream, bob: EventStream): Promise<void> {
  t.same((await ada.end()).filter(({ event }) => event === 'message'), [])
  await here.app.chatEvents.emitChatMessage('c', { n: 1 })
  let event = await bob.next()
  while (event.event !== 'message') event = await bob.next()
  t.match(event.data, { message: { n: 1 } })
}

t.test('a user who is admitted during an outage of Redis, and is revoked then, receives nothing', async (t) => {
  const stage = await start(t, {}, { isOpen: false })
  const [ada, bob] = [await stage.open('ada'), await stage.open('bob')]
  t.equal(ada.response.status, 200, 'no EventSource is closed for good')
  await stage.revoke('ada')
  await stage.here.app.chatEvents.emitChatMessage('c', { n: 0 })
  stage.gate.open()
  t.same(await ada.end(), [])
  t.match(await bob.next(), { event: 'ready' })
  t.same(stage.asked.sort(), ['ada', 'ada', 'bob', 'bob'])
})

t.test('a plain EventSource survives an outage in which it was admitted', async (t) => {
  const { gate, there, asked } = await start(t, { retryMs: 1 }, { isOpen: false })
  const source = new EventSource(`${there.url}/api/chats/c/events`, {
    fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, authorization: 'bob' } })
  })
  t.teardown(() => source.close())
  const ready = once(source, 'ready')
  await once(source, 'open')
  gate.open()
  await ready
  t.same(asked, ['bob', 'bob'])
})

for (const history of [undefined, false] as const) {
  const options = history === undefined ? {} : { history }
  const withHistory = history === undefined ? '' : ', without a history'

  t.test(`an instance that loses Redis for a moment applies revocations made meanwhile${withHistory}`, async (t) => {
    const { stage, ada, bob } = await revokeWhileAway(t, options)
    stage.gate.open()
    await onlyBobStays(t, stage, ada, bob)
    t.same(stage.asked, ['ada', 'bob'], 'whose access is known is not asked about again')
  })

  const losses: Record<string, (t: Test, stage: Stage) => Promise<unknown>> = {
    'of which fewer are kept than were made': async (t, { redis }) => await client(t, redis.url).xtrim(
      'rt:!{revoked}:s', 'MAXLEN', 0
    ),
    'that Redis has lost all': async (t, { redis }) => await client(t, redis.url).flushall()
  }
  for (const [name, lose] of Object.entries(losses)) {
    t.test(`streams are authorized again after revocations ${name}${withHistory}`, async (t) => {
      const { stage, ada, bob } = await revokeWhileAway(t, options)
      await lose(t, stage)
      stage.gate.open()
      await onlyBobStays(t, stage, ada, bob)
      t.same(stage.asked.slice(2).sort(), ['ada', 'bob'])
      t.match(await stage.lines.line('Revocations may have been missed: open streams are authorized again'), {
        streams: 2
      })
    })
  }
}

t.test('a log of revocations that Redis loses during silence is noticed', async (t) => {
  const stage = await start(t)
  const bob = await stage.open('bob')
  t.match(await bob.next(), { event: 'ready' })
  await client(t, stage.redis.url).flushall()
  await stage.lines.line('Revocations may have been missed: open streams are authorized again')
  await until(async () => stage.asked, (asked) => asked.length === 2)
})

t.test('no message of an app on any channel ends a stream or prevents a revocation', async (t) => {
  const stage = await start(t, { maxPayloadBytes: 20 })
  const [ada, bob] = [await stage.open('ada'), await stage.open('bob')]
  for (const stream of [ada, bob]) t.match(await stream.next(), { event: 'ready' })
  const heard: string[] = []
  stage.there.app.pubsub.subscribe('*', ({ channel }) => { heard.push(channel) })
  const redis = client(t, stage.redis.url)
  await until(async () => await redis.pubsub('CHANNELS', '*') as string[], (channels) => {
    return channels.includes('rt:!{revoked}')
  })
  for (const channel of ['revoked', '!{revoked}', '!revoked']) await stage.here.app.pubsub.publish(channel, 1)
  await t.rejects(stage.here.app.pubsub.publish('fastify-realtime:revoked', 1), { code: 'RT_CHANNEL_INVALID' })
  for (const message of ['garbage', '1 - - - - d x 1 revoke null', '1 - - - - d x 1 revoke {']) {
    await redis.publish('rt:!{revoked}', message)
  }
  await stage.revoke('ada')
  await stage.here.app.pubsub.publish('last', 1)
  await until(async () => heard, (channels) => channels.includes('last'))
  await ada.end()
  t.same(
    heard.filter((channel) => channel === 'rt' || channel.includes('{')),
    ['!{revoked}'],
    'internal messages of the plugin reach no app handler'
  )
  t.equal(heard.filter((channel) => channel === 'revoked').length, 1)
  t.match(await stage.lines.line('Ignored an unknown message on the control channel'), {
    redisChannel: 'rt:!{revoked}', bytes: 7
  })
  await stage.lines.line('A message of the control channel could not be handled')
  await stage.lines.line('A message of the control channel is not JSON')
})

t.test('apps that share a provider in one process apply each other\'s revocations', async (t) => {
  const pubsub = new LocalPubSub({ history: false })
  t.teardown(() => pubsub.close())
  const authorize = (): AccessGrant => ({ userId: 'ada' })
  const [one, two] = [await startApp(t, { pubsub, authorize }), await startApp(t, { pubsub, authorize, retryMs: 1 })]
  const stream = await EventStream.open(t, `${two.url}/api/chats/c/events`)
  await stream.next()
  await one.app.chatEvents.revoke('c', 'ada')
  await stream.end()
  await pubsub.close()
  await t.rejects(one.app.chatEvents.revoke('c', 'ada'), { code: 'RT_CLOSED' })
})
