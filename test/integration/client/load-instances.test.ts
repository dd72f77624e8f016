import t from 'tap'
import { startApp } from '../../support/app.ts'
import { HeldReplies } from '../../support/held-replies.ts'
import { startRedis } from '../../support/redis.ts'
import { dropAll, Page } from './page.ts'
import { Database, StateReader } from './state-reader.ts'

t.setTimeout(60_000)

t.test('the state comes from an instance that is ahead of the stream: no event is lost or doubled', async (t) => {
  const redis = await startRedis(t)
  const proxy = await HeldReplies.start(t, redis.port)
  const ahead = await startApp(t, { redisUrl: redis.url })
  const behind = await startApp(t, { redisUrl: `redis://127.0.0.1:${proxy.port}`, retryMs: 1 })
  const database = new Database(ahead.app)
  await database.write(1, 'before all')
  const page = new Page(t, behind.url)
  const stream = new StateReader(page.client, database, { after: await database.lastEventId() })
  const early = new StateReader(page.client, database)
  await early.loads()

  proxy.holdUntil(Infinity)
  await database.write(2, 'that the stream does not have yet')
  const loading = new StateReader(page.client, database)
  await loading.loads()
  const lastEventId = await database.lastEventId()
  await database.write(3, 'while the rows are read')
  loading.release()
  await loading.has(3)
  t.same([loading.chat.lastEventId, stream.seen, loading.seen], [lastEventId, [], []])
  const rendered = new StateReader(new Page(t, behind.url).client, database, { after: lastEventId })
  await database.write(1, 'after the rows were read')

  proxy.release()
  await Promise.all([stream, loading, rendered].map((reader) => reader.sees(1)))
  dropAll(behind.app)
  early.release()
  await database.write(4, 'after all')
  const readers = [stream, early, loading, rendered]
  await Promise.all(readers.map((reader) => reader.sees(4)))
  t.same(readers.map(({ seen }) => seen), [[2, 3, 1, 4], [2, 3, 1, 4], [3, 1, 4], [3, 1, 4]])
  t.same(readers.map(({ calls, resets }) => [calls, resets]), [[0, []], [1, []], [1, []], [0, []]])
  for (const { rows } of [early, loading]) t.same([...rows].sort(), [...database.rows].sort())
})
