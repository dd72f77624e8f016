import t, { type Test } from 'tap'
import { Redis } from 'ioredis'
import { streamUIMessage, type UIChunk } from '../../../lib/ai/index.ts'
import { startApp } from '../../support/app.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import { LEASE, type Side } from '../bot-messages/sides.ts'
import { streaming, text } from './ui-stream.ts'

t.beforeEach(nothingUnhandled)

/** Two instances. Redis stores what the first one writes, but broadcasts it only while that is allowed. */
async function start (t: Test): Promise<{
  one: Side, two: Side, allow (rule: '+publish' | '-publish'): Promise<void>
}> {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const admin = new Redis(redis.url)
  t.teardown(() => { admin.disconnect() })
  const allow = async (rule: string): Promise<void> => {
    await admin.call('ACL', 'SETUSER', 'one', 'on', '>secret', 'allchannels', 'allkeys', '+@all', rule)
  }
  await allow('+publish')
  const urls = { one: redis.url.replace('//', '//one:secret@'), two: redis.url }
  const [one, two] = await Promise.all(Object.entries(urls).map(([instanceId, redisUrl]) =>
    startApp(t, { redisUrl, instanceId, botMessageWindowMs: 0, botMessageLeaseMs: LEASE })))
  return { one, two, allow } as Awaited<ReturnType<typeof start>> // Two, as above.
}

t.test('a reader gets each chunk once and in order, and the end, although their broadcasts are lost', async (t) => {
  const { one, two, allow } = await start(t)
  let say: ReadableStreamDefaultController<UIChunk> | undefined
  const source = new ReadableStream<UIChunk>({ start (controller) { say = controller } })
  const ended = streamUIMessage(one.app.chatEvents, 'c', source, { id: 'm' })
  const written = (count: number): Promise<void> =>
    until(() => two.app.chatEvents.getBotMessage('c', 'm'), (message) => message?.chunks?.length === count)
  say?.enqueue(text('a'))
  const stream = await streaming(t, two)
  t.same(await stream.chunk(), text('a'))

  await allow('-publish')
  for (const [n, delta] of ['b', 'c'].entries()) {
    say?.enqueue(text(delta))
    await written(n + 2)
  }
  await allow('+publish')
  say?.enqueue(text('d'))
  for (const delta of ['b', 'c', 'd']) t.same(await stream.chunk(), text(delta), 'by the next broadcast')

  await allow('-publish')
  say?.enqueue(text('e'))
  t.same(await stream.chunk(), text('e'), 'without any broadcast')
  say?.close()
  t.same(await ended, { id: 'm', status: 'finished' })
  t.same(await stream.rest(), [])
})
