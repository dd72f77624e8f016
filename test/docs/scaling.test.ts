import t, { type Test } from 'tap'
import { Cluster, Redis } from 'ioredis'
import type { RealtimeOptions } from '../../lib/index.ts'
import { startApp } from '../support/app.ts'
import { EventStream } from '../support/event-stream.ts'
import { RedisCluster } from '../support/redis-cluster.ts'
import { RedisSentinel } from '../support/redis-sentinel.ts'
import { Document, serveSnippet } from '../support/snippets.ts'

const guide = await Document.read('docs/scaling.md')

/** Publishes on an instance with these options. What is published must reach a stream of the instance at `url`. */
async function reaches (t: Test, url: string, options: RealtimeOptions): Promise<void> {
  t.match(await (await fetch(`${url}/api/health/pubsub`)).json(), { provider: 'redis', healthy: true })
  const stream = await EventStream.open(t, `${url}/api/chats/general/events`)
  t.match(await stream.next(), { event: 'ready' })
  const { app } = await startApp(t, options)
  const { id } = await app.chatEvents.emitChatMessage('general', { text: 'Hello' })
  t.match(await stream.next(), { event: 'message', id, data: { message: { text: 'Hello' } } })
}

t.test('with Sentinel', async (t) => {
  const group = await RedisSentinel.start()
  t.teardown(() => group.stop())
  const { name, sentinels } = group.options
  const [code] = guide.snippets('Redis with Sentinel')
  const url = await serveSnippet(t, code, { env: { SENTINELS: JSON.stringify(sentinels), SENTINEL_NAME: name } })
  const redis = new Redis(group.options)
  t.teardown(() => redis.disconnect())
  await reaches(t, url, { redis })
})

t.test('with a Cluster, sharded', async (t) => {
  const nodes = await RedisCluster.start()
  t.teardown(() => nodes.stop())
  const [code] = guide.snippets('Redis Cluster')
  const url = await serveSnippet(t, code, { env: { REDIS_NODES: JSON.stringify(nodes.addresses) } })
  const redis = new Cluster(nodes.addresses)
  t.teardown(() => redis.disconnect())
  await reaches(t, url, { redis, sharded: true })
})
