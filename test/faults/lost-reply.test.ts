import t, { type Test } from 'tap'
import { RedisPubSub } from '../../lib/index.ts'
import { EventStream } from '../support/event-stream.ts'
import { InstanceProcess } from '../support/instance-process.ts'
import { LossyProxy } from '../support/lossy-proxy.ts'
import { RedisServer } from '../support/redis-server.ts'
import type { EventLog } from '../../lib/pubsub/event-log.ts'

t.setTimeout(200_000)

interface Setup {
  proxy: LossyProxy
  one: InstanceProcess
  two: InstanceProcess
  seenByAll: () => Promise<unknown[][]>
}

/** Two instances, the first of which reaches Redis over a proxy, with a client each. */
async function start (t: Test): Promise<Setup> {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const proxy = await LossyProxy.start(t, redis.port)
  const urls = [`redis://127.0.0.1:${proxy.port}`, redis.url]
  const starting = urls.map((url) => InstanceProcess.start(t, { REDIS_URL: url }))
  const [one, two] = await Promise.all(starting) as [InstanceProcess, InstanceProcess]
  const streams = await Promise.all([one, two].map(({ url }) => EventStream.open(t, `${url}/api/chats/c/events`)))
  for (const stream of streams) t.match(await stream.next(), { event: 'ready' })
  const reader = new RedisPubSub({ url: redis.url })
  t.teardown(() => reader.close())
  /** The events of the log and of each client, up to an event that is published now. */
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

t.test('an instance that loses a reply from Redis publishes once, and answers its client as usual', async (t) => {
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
    t.equal(duplicate, false, 'the response to the original publisher is not marked as a duplicate')
  }
  for (const seen of await seenByAll()) t.same(seen, [0, 1, 2, 'last'])
})

t.test('a publisher that loses a response publishes once if it retries elsewhere with its key', async (t) => {
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
