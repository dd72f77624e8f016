import t from 'tap'
import { once } from 'node:events'
import type { Redis } from 'ioredis'
import { RedisPubSub } from '../../../../lib/index.ts'
import { live } from '../../../support/live.ts'
import { client, open, startRedis } from '../../../support/redis.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'
import { next } from './next-message.ts'

t.beforeEach(nothingUnhandled)

t.test('the app\'s own client publishes, is duplicated to subscribe, and stays open', async (t) => {
  const redis = await startRedis(t)
  for (const [index, options] of [{}, { lazyConnect: true }, { keyPrefix: 'app:' }].entries()) {
    const app = client(t, redis.url, options)
    const pubsub = new RedisPubSub({ client: app })
    const message = next(pubsub, 'c')
    await live(pubsub)
    await pubsub.publish('c', 1)
    t.match(await message, { data: 1 })
    await pubsub.close()
    t.equal(await app.ping(), 'PONG')
    t.equal(
      (await app.client('LIST') as string).trim().split('\n').length, index + 1, 'only clients of the app are left'
    )
    t.same([app.listenerCount('ready'), app.listenerCount('error')], [0, 1])
  }
})

/** The behaviour of ioredis if a Sentinel reports a failover while it connects: it ends for good. */
async function failOver (client: Redis): Promise<void> {
  const ended = ends(client)
  client.once('connecting', () => (client as unknown as { connector: { disconnect (): void } }).connector.disconnect())
  client.disconnect(true)
  await ended
}

/** Resolves when it has ended, which it also reports by an error. */
function ends (client: Redis): Promise<unknown> {
  return new Promise((resolve) => client.once('end', resolve))
}

t.test('a failover during connecting ends neither publishing nor subscribing', async (t) => {
  const redis = await startRedis(t)
  const app = client(t, redis.url)
  const duplicate = app.duplicate.bind(app)
  const own: Redis[] = []
  app.duplicate = (options) => {
    const other = duplicate(options)
    own.push(other)
    return other
  }
  const pubsub = open(t, { client: app, publishTimeoutMs: 500 })
  const got: unknown[] = []
  pubsub.subscribe('*', ({ data }) => { got.push(data) })
  await live(pubsub)
  for (const connection of [app, own[0] as Redis]) {
    await failOver(connection)
    await once(connection, 'ready')
  }
  await live(pubsub)
  await pubsub.publish('c', 1)
  await live(pubsub)
  t.same(got, [1])
  const ended = ends(app)
  app.disconnect()
  await ended
  await t.rejects(pubsub.publish('c', 2), { code: 'RT_PUBLISH_REJECTED' })
  t.equal(app.status, 'end', 'unlike one that the app has ended')
})

t.test('a client that the app has ended stays ended in any state', async (t) => {
  const redis = await startRedis(t)
  const app = client(t, redis.url)
  const pubsub = open(t, { client: app, publishTimeoutMs: 500 })
  await live(pubsub)
  const ended = ends(app)
  app.once('connecting', () => app.disconnect())
  app.disconnect(true)
  await ended
  await t.rejects(pubsub.publish('c', 1), { code: 'RT_PUBLISH_REJECTED' })
  t.equal(app.status, 'end')
})

t.test('an ended client of the app rejects publishes with the reason', async (t) => {
  const redis = await startRedis(t)
  const app = client(t, redis.url)
  const pubsub = open(t, { client: app, publishTimeoutMs: 50 })
  await live(pubsub)
  app.disconnect()
  await once(app, 'end')
  await t.rejects(pubsub.publish('c', 1), { code: 'RT_PUBLISH_REJECTED' })
  t.equal(await pubsub.isHealthy(), false)
})
