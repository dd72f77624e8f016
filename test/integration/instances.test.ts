import t from 'tap'
import net from 'node:net'
import { once } from 'node:events'
import { EventSource } from 'eventsource'
import { EventStream } from '../support/event-stream.ts'
import { freePort } from '../support/free-port.ts'
import { InstanceProcess } from '../support/instance-process.ts'
import { RedisServer } from '../support/redis-server.ts'

t.setTimeout(240_000)

t.test('clients of two instances receive each other\'s events, each once and in order', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const env = { REDIS_URL: redis.url }
  const [one, two] = await Promise.all([InstanceProcess.start(t, env), InstanceProcess.start(t, env)])
  const byFetch = await EventStream.open(t, `${one.url}/api/chats/c/events`)
  const byPackage = new EventSource(`${two.url}/api/chats/c/events`)
  t.teardown(() => byPackage.close())
  const got: unknown[] = []
  const all = new Promise<void>((resolve) => {
    byPackage.addEventListener('message', ({ data }) => { if (got.push(JSON.parse(data).message.n) === 100) resolve() })
  })
  await Promise.all([byFetch.next(), once(byPackage, 'ready')])
  for (let n = 0; n < 100; n++) await (n % 2 === 0 ? one : two).post('c', { n })
  const expected = Array.from({ length: 100 }, (_, n) => n)
  t.same((await byFetch.take(100)).map(({ data }) => (data as { message: { n: number } }).message.n), expected)
  await all
  t.same(got, expected)
})

t.test('an instance closes soon and by itself, with anything open and Redis in any state', async (t) => {
  for (const state of ['local', 'healthy', 'absent', 'frozen', 'killed']) {
    const redis = state === 'local' ? undefined : await RedisServer.start()
    t.teardown(() => redis?.stop())
    if (state === 'absent') await redis?.kill()
    const instance = await InstanceProcess.start(t, redis && { REDIS_URL: redis.url })
    const stream = await EventStream.open(t, `${instance.url}/api/chats/c/events`)
    if (state !== 'absent') await stream.next()
    const unused = net.connect(Number(new URL(instance.url).port), '127.0.0.1')
    await once(unused, 'connect')
    unused.on('error', () => {})
    if (state === 'frozen') await redis?.freeze()
    if (state === 'killed') await redis?.kill()
    // A publish whose promise is not awaited: it may fail, but the process may not.
    await fetch(`${instance.url}/ignore`, { method: 'POST' })
    const { code, ms } = await instance.stop()
    t.equal(code, 0, state)
    t.ok(ms < 3_000, `${state}: ${Math.round(ms)} ms`)
    t.same(await stream.end(), [], 'its stream was ended')
  }
})

t.test('an instance that started without Redis joins the others once Redis is there', async (t) => {
  const port = await freePort()
  const env = { REDIS_URL: `redis://127.0.0.1:${port}` }
  const [one, two] = await Promise.all([InstanceProcess.start(t, env), InstanceProcess.start(t, env)])
  const stream = await EventStream.open(t, `${two.url}/api/chats/c/events`)
  t.equal(stream.response.status, 200, 'a stream opens anyway')
  t.equal((await fetch(`${one.url}/api/health/pubsub`)).status, 503)
  const redis = await RedisServer.start({ port })
  t.teardown(() => redis.stop())
  t.match(await stream.next(), { event: 'ready' }, 'ready is sent once the stream is live')
  t.equal((await one.post('c', { n: 1 })).status, 202)
  t.match(await stream.next(), { data: { message: { n: 1 } } })
})

t.test('a publish without Redis gets a 503 with its code', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const instance = await InstanceProcess.start(t, { REDIS_URL: redis.url })
  await redis.freeze()
  const answer = instance.post('c', { n: 1 })
  await redis.kill()
  const response = await answer
  t.equal(response.status, 503)
  t.match(
    await response.json(),
    { code: /RT_PUBLISH_(UNKNOWN|REJECTED)/ },
    'depending on whether it was sent before Redis died'
  )
})
