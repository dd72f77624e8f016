import t from 'tap'
import { LocalPubSub, type PubSubProvider } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { freePort } from '../../support/free-port.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { until } from '../../support/until.ts'
import { timing } from '../../../lib/core/timing.ts'

t.test('the health of a local app', async (t) => {
  const { app, url } = await startApp(t)
  await (await EventStream.open(t, `${url}/api/chats/c1/events`)).next()
  app.pubsub.subscribe('jobs:*', () => {})
  const response = await fetch(`${url}/api/health/pubsub`)
  t.equal(response.status, 200)
  t.equal(response.headers.get('cache-control'), 'no-store')
  const { timestamp, ...health } = await response.json() as Record<string, unknown>
  t.strictSame(health, {
    status: 'ok',
    provider: 'local',
    healthy: true,
    stats: { channels: 1, patterns: 1 },
    chatSubscriptions: { localChats: 1, remoteSubscriptions: 1, pubsubProvider: 'local' }
  })
  t.equal(new Date(timestamp as string).toISOString(), timestamp)
})

t.test('a frozen Redis shows within two seconds, and so do a dead one and its return', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const { url } = await startApp(t, { redisUrl: redis.url })
  const stream = await EventStream.open(t, `${url}/api/chats/c1/events`)
  await stream.next()
  const health = async (): Promise<unknown> => {
    // The route responds within `timing.healthTimeout`, which is 1 s. Twice that leaves room for a busy machine.
    const signal = AbortSignal.timeout(2 * timing.healthTimeout)
    const response = await fetch(`${url}/api/health/pubsub`, { signal })
    return [response.status, ((await response.json()) as { status: string }).status]
  }
  t.same(await health(), [200, 'ok'])
  await redis.freeze()
  t.same(await Promise.all([health(), health(), health()]), Array(3).fill([503, 'error']))
  const isWell = (answer: unknown): boolean => String(answer) === '200,ok'
  await redis.thaw()
  // A connection that was dropped while Redis was frozen may be back a moment later.
  await until(health, isWell)
  await redis.kill()
  // At once, whatever the app has noticed: each check asks Redis, and its process has ended.
  t.same(await health(), [503, 'error'])
  await redis.restart()
  t.match(await stream.next(), { event: 'reset' }, 'the stream gets a reset for events that it may have missed')
  // The connection that publishes may be back a moment later.
  await until(health, isWell)
})

t.test('chats that receive no events of other instances are counted separately', async (t) => {
  const { app, url } = await startApp(t, { redisUrl: `redis://127.0.0.1:${await freePort()}` })
  const stream = await EventStream.open(t, `${url}/api/chats/c1/events`)
  t.equal(stream.response.status, 200)
  t.match((await app.inject('/api/health/pubsub')).json(), {
    healthy: false, chatSubscriptions: { localChats: 1, remoteSubscriptions: 0 }
  })
})

t.test('the app\'s own provider may hang, reject or lack counts', async (t) => {
  const make = (isHealthy: () => Promise<boolean>): PubSubProvider => {
    const local = new LocalPubSub()
    return {
      name: 'own',
      publish: (channel, data, options) => local.publish(channel, data, options),
      subscribe: (pattern, handler) => local.subscribe(pattern, handler),
      subscribeExact: (channel, handler) => local.subscribeExact(channel, handler),
      isHealthy,
      close: () => local.close()
    }
  }
  for (const isHealthy of [
    async () => { throw new Error('broken') },
    () => { throw new Error('broken') },
    () => new Promise<boolean>(() => {}),
    async () => false
  ]) {
    const { app } = await startApp(t, { pubsub: make(isHealthy) })
    const response = await app.inject('/api/health/pubsub')
    t.equal(response.statusCode, 503)
    t.match(response.json(), { provider: 'own', healthy: false, stats: { channels: null, patterns: null } })
  }
})
