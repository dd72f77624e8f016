import t, { type Test } from 'tap'
import { ChatEvents, RedisPubSub } from '../../../lib/index.ts'
import { features } from '../../../lib/chat/features.ts'
import { silentLogger } from '../../../lib/core/logger.ts'
import { FakeConnection } from '../../support/fake-connection.ts'
import { readMarkers, type ReadMarkerMethods } from '../../support/read-marker/feature.ts'
import { startRedis } from '../../support/redis.ts'
import { until } from '../../support/until.ts'

type Instance = ChatEvents & ReadMarkerMethods

/** An instance with one more feature. */
function openInstance (t: Test, url: string): { chatEvents: Instance, calls: string[] } {
  const pubsub = new RedisPubSub({ url })
  t.teardown(() => pubsub.close())
  const calls: string[] = []
  const all = [...features, readMarkers(calls)]
  return { chatEvents: new ChatEvents(pubsub, { log: silentLogger, retryMs: 1, features: all }) as Instance, calls }
}

/** Opens a stream of a chat for a user. Returns the data of its `read` events, as they arrive. */
function join (chatEvents: ChatEvents, userId: string): unknown[] {
  const got: unknown[] = []
  const connection = new FakeConnection(({ event, data }) => {
    if (event === 'read') {
      got.push(JSON.parse(data.toString()))
    }
  }, false)
  const stream = Object.assign(connection.asConnection, { userId })
  for (const entrance of chatEvents.entrances.enter('c')(stream)) entrance.join()
  return got
}

t.test('a feature is added as one folder and one line, and takes part in each step of a chat', async (t) => {
  const redis = await startRedis(t)
  const [here, there] = [openInstance(t, redis.url), openInstance(t, redis.url)]
  const seen = join(there.chatEvents, 'ann')
  await until(async () => there.chatEvents.stats().remoteSubscriptions, (count) => count === 1)
  await here.chatEvents.markRead('c', 'bob', '1-1-1')
  await until(async () => seen, ({ length }) => length === 1)
  t.same(seen, [{ userId: 'bob', eventId: '1-1-1' }], 'a stream of another instance sees it')
  const late = join(there.chatEvents, 'cem')
  await until(async () => late, ({ length }) => length === 1)
  t.same(late, seen, 'a stream that opens later receives it, too')
  await here.chatEvents.revoke('c', 'ann')
  here.chatEvents.close()
  there.chatEvents.cleanupChatSubscriptions()
  t.same(here.calls, ['revoke c ann', 'close', 'cleanup'])
  t.same(there.calls, ['join c ann', 'join c cem', 'cleanup'])
})
