import t, { type Test } from 'tap'
import { RedisPubSub } from '../../lib/index.ts'
import { EventStream } from '../support/event-stream.ts'
import { InstanceProcess } from '../support/instance-process.ts'
import { LossyProxy } from '../support/lossy-proxy.ts'
import { RedisServer } from '../support/redis-server.ts'
import type { EventLog } from '../../lib/pubsub/event-log.ts'

t.setTimeout(200_000)

/** Two instances, the first of which reaches Redis over a proxy, with a client each. */
async function start (t: Test): Promise<{ proxy: LossyProxy, one: InstanceProcess, two: InstanceProcess, seenByAll: () => Promise<unknown[][]> }> {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const proxy = await LossyProxy.start(t, redis.port)
  const [one, two] = await Promise.all([`redis://127.0.0.1:${proxy.port}`, redis.url].map((url) => InstanceProcess.start(t, { REDIS_URL: url }))) as [InstanceProcess, InstanceProcess]
  const streams = await Promise.all([one, two].map(({ url }) => EventStream.open(t, `${url}/api/chats/c/events`)))
  for (const stream of streams) t.match(await stream.next(), { event: 'ready' })
  const reader = new RedisPubSub({ url: redis.url })
  t.teardown(() => reader.close())
  /** What the log has, and what each client was given, up to an event that is published now. */
  const seenByAll = async (): Promise<unknown[][]> => {
    const { id: last } = await (await two.post('c', { n: 'last' })).json() as { id: string }
    const { entries } = await (reader.eventLog as EventLog).read('chat:c', undefined, 100)
    const log = entries.map(({ json }) => (JSON.parse(json.toString()) as Message).message.n)
    return [log, ...await Promise.all(streams.map(async (stream) => {
      const seen: unknown[] = []
      for (;;) {
        const { id, data } = await stream.next()
        seen.push((data as Message).message.n)
        if (id === last) return seen
      }
    }))]
  }
  return { proxy, one, two, seenByAll }
}

interface Message { message: { n: unknown } }

t.test('an instance whose reply from Redis is lost with the connection has published once, and answers as if nothing were', async (t) => {
  const { proxy, one, seenByAll } = await start(t)
  const before = await (await one.post('c', { n: 0 })).json() as { id: string }
  for (const [n, options] of [{}, { key: 'key' }].entries()) {
    const lost = proxy.loseReplyTo(`"n":${n + 1}`)
    const answer = one.post('c', { n: n + 1 }, options)
    await lost
    const response = await answer
    t.equal(response.status, 202)
    const { id, duplicate } = await response.json() as { id: string, duplicate: boolean }
    t.equal(Number(id.split('-')[1]), Number(before.id.split('-')[1]) + n + 1)
    t.equal(duplicate, false, 'the one who published it is told so')
  }
  for (const seen of await seenByAll()) t.same(seen, [0, 1, 2, 'last'])
})

t.test('a publisher whose answer from an instance is lost publishes once, if it asks another one again with its key', async (t) => {
  const { one, two, seenByAll } = await start(t)
  const front = await LossyProxy.start(t, Number(new URL(one.url).port))
  const lost = front.loseReplyTo('POST')
  const post = (url: string): Promise<Response> => fetch(`${url}/api/chats/c/messages`, {
    method: 'POST', headers: { 'content-type': 'application/json', 'idempotency-key': 'key' }, body: '{"n":1}'
  })
  await t.rejects(post(`http://127.0.0.1:${front.port}`))
  await lost
  const answers = await Promise.all([two, one].map(async ({ url }) => await (await post(url)).json()))
  t.match(answers, [{ duplicate: true }, { duplicate: true }])
  t.equal((answers[0] as { id: string }).id, (answers[1] as { id: string }).id)
  for (const seen of await seenByAll()) t.same(seen, [1, 'last'])
})
