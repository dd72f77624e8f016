import t, { type Test } from 'tap'
import { Cluster } from 'ioredis'
import { ChatEvents, RedisPubSub, type RedisPubSubOptions } from '../../../../lib/index.ts'
import { HeldReplies } from '../../../support/held-replies.ts'
import { inTime } from '../../../support/in-time.ts'
import { keepLog } from '../../../support/log.ts'
import { upTo } from '../../../support/numbers.ts'
import { client, startRedis } from '../../../support/redis.ts'
import { RedisCluster } from '../../../support/redis-cluster.ts'
import { nothingUnhandled } from '../../../support/unhandled.ts'

t.beforeEach(nothingUnhandled)

const chats = upTo(60).map((n) => `c${n}`)

function openChats (t: Test, options: RedisPubSubOptions): ChatEvents {
  const pubsub = new RedisPubSub(options)
  t.teardown(() => pubsub.close())
  return new ChatEvents(pubsub, { ...keepLog(), retryMs: 0 })
}

/** Reads the chats, while no reply arrives before `hold` has seen all calls. */
async function readsAtOnce (t: Test, chatEvents: ChatEvents, hold: () => void, ids: unknown[]): Promise<void> {
  // Opens the connections, and gives the scripts to each Redis.
  await chatEvents.history(chats)
  await chatEvents.lastEventId(chats)
  hold()
  t.same(await inTime(chatEvents.lastEventId(chats), 'The ids'), ids)
  hold()
  const pages = await inTime(chatEvents.history(chats, { limit: 1 }), 'The pages')
  t.same(pages.map(({ events }) => events[0]?.id), ids)
}

t.test('the history of many chats takes one command', async (t) => {
  const redis = await startRedis(t)
  const proxy = await HeldReplies.start(t, redis.port)
  const chatEvents = openChats(t, { url: `redis://127.0.0.1:${proxy.port}` })
  const ids = await Promise.all(chats.map(async (chatId) => (await chatEvents.emitChatMessage(chatId, {})).id))
  await readsAtOnce(t, chatEvents, () => proxy.holdUntil(1), ids)
  t.equal(proxy.calls, 1)
  const admin = client(t, redis.url)
  const calls = async (): Promise<number> =>
    Number(/cmdstat_evalsha:calls=(\d+)/.exec(await admin.info('commandstats'))?.[1])
  const before = await calls()
  await chatEvents.lastEventId(chats)
  t.equal(await calls() - before, 1)
  await chatEvents.history(chats)
  t.equal(await calls() - before, 2)
})

t.test('in a Cluster, it takes one round trip to each node', async (t) => {
  const cluster = await RedisCluster.start()
  t.teardown(() => cluster.stop())
  const proxies = new Map<number, HeldReplies>()
  for (const { server: { port } } of cluster.nodes) proxies.set(port, await HeldReplies.start(t, port))
  const natMap = Object.fromEntries([...proxies].map(([port, proxy]) =>
    [`127.0.0.1:${port}`, { host: '127.0.0.1', port: proxy.port }]))
  const redis = new Cluster(Object.values(natMap), { natMap })
  t.teardown(() => redis.disconnect())
  const chatEvents = openChats(t, { client: redis })
  const ids = await Promise.all(chats.map(async (chatId) => (await chatEvents.emitChatMessage(chatId, {})).id))
  const counts = new Map<HeldReplies, number>()
  for (const chatId of chats) {
    const { server } = await cluster.ownerOf(`rt:{chat:${chatId}}:m`)
    const proxy = proxies.get(server.port) as HeldReplies
    counts.set(proxy, (counts.get(proxy) ?? 0) + 1)
  }
  t.equal(counts.size, 3, 'all masters have some of them')
  const hold = (): void => { for (const [proxy, count] of counts) proxy.holdUntil(count) }
  await readsAtOnce(t, chatEvents, hold, ids)
  for (const [proxy, count] of counts) t.equal(proxy.calls, count)
})
