import t from 'tap'
import { RedisPubSub } from '../../lib/index.ts'
import { LoadBalancer } from '../support/load-balancer.ts'
import { Random } from './random.ts'
import { Stage } from './stage.ts'
import { judgeCrowd } from './verdict.ts'
import type { EventLog } from '../../lib/pubsub/event-log.ts'

const CHATS = ['a', 'b', 'c', 'd', 'e']
const CLIENTS = 200
const RETRY_MS = 500

/** Drained clients are asked to reconnect after 1 to 3 times `retryMs`. */
const WINDOW_MS = 2 * RETRY_MS
const BUCKET_MS = 10

t.setTimeout(300_000)

t.test('a rolling restart under load loses no event, refuses no stream, and spreads out the reconnects', async (t) => {
  const random = new Random()
  t.comment(`SEED=${random.seed}`)
  const stage = await Stage.start(t, random, { realtime: { retryMs: RETRY_MS, history: { size: 2_000 } } })
  const inTime = AbortSignal.timeout(250_000)
  const balancer = await LoadBalancer.start(t)
  for (const { url } of stage.instances) balancer.add(url)
  const joining = Array.from({ length: CLIENTS }, (_, n) => {
    return stage.join(CHATS[n % CHATS.length] as string, inTime, balancer, { patient: true })
  })
  const clients = await Promise.all(joining)
  const publishers = CHATS.map((chatId) => stage.publishSteadily(chatId, chatId, 100))
  const spreads: { count: number, spread: number, densest: number }[] = []
  for (let index = 0; index < stage.instances.length; index++) {
    const before = clients.map(({ due }) => due.length)
    t.equal(await stage.replace(index), 0, 'an instance closes by itself')
    balancer.add(stage.instances[index]?.url as string)
    // A client that has seen this event has a stream again.
    await Promise.all(CHATS.map((chatId) => stage.publish(chatId, `successor ${index}`, 1, 0)))
    await Promise.all(clients.map((client) => client.saw(`successor ${index}`, 1, inTime)))
    spreads.push(spreadOf(clients.flatMap(({ due }, n) => due[before[n] as number] ?? [])))
  }
  const last = await Promise.all(publishers.map((stop) => stop()))

  const reader = new RedisPubSub({ url: stage.redis.url })
  t.teardown(() => reader.close())
  const published = new Map(CHATS.map((chatId, n) => [chatId, last[n] as number]))
  const verdict = await judgeCrowd(stage, reader.eventLog as EventLog, published, inTime)
  const refusals = clients.flatMap(({ refusals }) => refusals)
  t.comment(JSON.stringify({ published: last, retries: stage.retries, ...verdict, refusals, spreads }))
  const acknowledged = [...stage.acknowledged.values()].reduce((sum, { length }) => sum + length, 0)
  t.same(verdict, {
    events: acknowledged * (CLIENTS / CHATS.length),
    lost: 0,
    missed: 0,
    unreported: 0,
    astray: 0,
    notified: 0,
    losses: 0,
    duplicates: 0,
    disorders: 0,
    resets: {}
  })
  t.same(refusals, [])
  for (const { count, spread, densest } of spreads) {
    t.ok(count >= CLIENTS / 4, `${count} clients reconnected`)
    t.ok(spread >= WINDOW_MS / 2, `over ${spread} ms`)
    t.ok(densest <= count / 4, `at most ${densest} of them at once`)
  }
})

/** Over how many milliseconds these moments are spread, and the largest number of them in one bucket. */
function spreadOf (moments: number[]): { count: number, spread: number, densest: number } {
  const first = Math.min(...moments)
  const buckets = new Map<number, number>()
  for (const moment of moments) {
    const bucket = Math.floor((moment - first) / BUCKET_MS)
    buckets.set(bucket, (buckets.get(bucket) ?? 0) + 1)
  }
  const spread = Math.round(Math.max(...moments) - first)
  return { count: moments.length, spread, densest: Math.max(...buckets.values()) }
}
