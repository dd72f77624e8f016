import t from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { RedisPubSub } from '../../lib/index.ts'
import { InstanceProcess } from '../support/instance-process.ts'
import { RedisSentinel } from '../support/redis-sentinel.ts'
import type { RedisServer } from '../support/redis-server.ts'
import { Crowd } from './crowd.ts'
import { Random } from './random.ts'
import { judgeCrowd } from './verdict.ts'
import type { EventLog } from '../../lib/pubsub/event-log.ts'

const CHATS = ['a', 'b', 'c']
const CLIENTS = 12

t.setTimeout(120_000)

const failovers: [name: string, fail: (group: RedisSentinel, primary: RedisServer) => Promise<void>][] = [
  ['killed', (_group, primary) => primary.kill()],
  ['frozen', (_group, primary) => primary.freeze()],
  ['replaced by command', (group) => group.failover()]
]

for (const [name, fail] of failovers) {
  // All start at once: they spend most of the time waiting for each other.
  const started = RedisSentinel.start()
  t.teardown(async () => { await (await started).stop() })
  t.test(`when the primary is ${name}, streams recover within 5 s and every loss is reported by a reset`, async (t) => {
    const random = new Random()
    t.comment(`SEED=${random.seed}`)
    const group = await started
    const primary = await group.primary()
    const env = { REDIS_SENTINEL: JSON.stringify(group.options), REALTIME: JSON.stringify({ heartbeatMs: 300 }) }
    const crowd = new Crowd(t, random, await InstanceProcess.startAll(t, 2, env))
    const inTime = AbortSignal.timeout(60_000)
    await Promise.all(Array.from({ length: CLIENTS }, (_, n) => crowd.join(CHATS[n % CHATS.length] as string, inTime)))
    const watchers = await Promise.all(crowd.instances.map((instance) => crowd.join('a', inTime, instance)))
    const publishers = CHATS.map((chatId) => crowd.publishSteadily(chatId, chatId, 40))
    await delay(500 + random.next() * 500)

    // Events acknowledged from here on don't reach the replicas. A failover by command needs them, and loses enough by
    // itself.
    if (name !== 'replaced by command') await primary.loseReplicas()
    await delay(200)
    const failed = performance.now()
    const switched = group.switched()
    await fail(group, primary)
    await switched
    const replaced = performance.now()
    await crowd.works('a', watchers, inTime)
    const recovered = performance.now()
    t.not((await group.primary()).port, primary.port)
    const [replacedMs, recoveredMs] = [replaced - failed, recovered - failed].map(Math.round)
    t.comment(`a new primary after ${replacedMs} ms, recovered after ${recoveredMs} ms`)
    t.ok(recovered - failed < 5_000, 'within 5 s')

    // The old primary wakes up and still considers itself the primary.
    if (name === 'frozen') await primary.thaw()
    await delay(1_000)
    const last = await Promise.all(publishers.map((stop) => stop()))
    const client = new Redis({ ...group.options, role: 'master' })
    t.teardown(() => client.disconnect())
    const reader = new RedisPubSub({ client })
    t.teardown(() => reader.close())
    const published = new Map(CHATS.map((chatId, n) => [chatId, last[n] as number]))
    const verdict = await judgeCrowd(crowd, reader.eventLog as EventLog, published, inTime)
    t.comment(JSON.stringify({ published: last, retries: crowd.retries, ...verdict }))
    t.match(verdict, {
      unreported: 0, astray: 0, losses: 0, duplicates: 0, disorders: 0, notified: crowd.clients.length
    })
    if (name !== 'replaced by command') t.ok(verdict.lost > 0, 'Redis has lost acknowledged events')
  })
}
