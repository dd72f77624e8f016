import t, { type Test } from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { formatCursor, type Cursor } from '../../lib/pubsub/cursor.ts'
import { RedisPubSub } from '../../lib/index.ts'
import { judge } from './hopping-client.ts'
import { Random } from './random.ts'
import { Stage, type Fault } from './stage.ts'
import { judgeCrowd, type CrowdVerdict } from './verdict.ts'
import type { EventLog } from '../../lib/pubsub/event-log.ts'

const CHATS = ['a', 'b', 'c']
const CLIENTS = 18
const PER_CHAT = 200
const FAULTS: Fault[] = [
  'kill redis', 'kill redis', 'kill redis', 'kill instance', 'drop clients', 'freeze instance', 'cut subscribers'
]

t.setTimeout(300_000)

/** Runs clients over a Redis without persistence through these faults, and judges them. */
async function forget (t: Test, random: Random, faults: Fault[]): Promise<CrowdVerdict> {
  t.comment(`SEED=${random.seed}`)
  const stage = await Stage.start(t, random)
  const inTime = AbortSignal.timeout(150_000)
  await Promise.all(Array.from({ length: CLIENTS }, (_, n) => stage.join(CHATS[n % CHATS.length] as string, inTime)))
  const publishing = Promise.all(CHATS.map((chatId) => stage.publish(chatId, chatId, PER_CHAT, 70)))
  for (const fault of faults) {
    await delay(300 + random.next() * 1_000)
    await stage.suffer(fault)
  }
  await publishing
  // Clients without a reset since the last loss get one with this event.
  for (const chatId of CHATS) await stage.publish(chatId, chatId, 1, 0, { from: PER_CHAT + 1 })

  const reader = new RedisPubSub({ url: stage.redis.url })
  t.teardown(() => reader.close())
  const published = new Map(CHATS.map((chatId) => [chatId, PER_CHAT + 1]))
  const verdict = await judgeCrowd(stage, reader.eventLog as EventLog, published, inTime)
  t.comment(JSON.stringify({ retries: stage.retries, ...verdict }))
  t.match(verdict, { unreported: 0, astray: 0, losses: 0, duplicates: 0, disorders: 0, notified: CLIENTS })
  t.ok(verdict.lost > 0, 'Redis has lost acknowledged events')
  return verdict
}

t.test('over a Redis without persistence, each loss is reported in the interval in which it happened', async (t) => {
  const random = new Random()
  const { resets } = await forget(t, random, random.shuffled(FAULTS))
  t.same(Object.keys(resets).filter((reason) => !['epoch', 'failover'].includes(reason)), [])
  t.ok((resets.epoch ?? 0) >= CLIENTS, 'all clients got a reset for the new log')
})

t.test('over a Redis that restarts from an older snapshot and reuses offsets, each loss is reported', async (t) => {
  const random = new Random()
  const faults = random.shuffled<Fault>([...FAULTS, 'save redis', 'fall back', 'fall back'])
  const { resets } = await forget(t, random, ['save redis', ...faults])
  t.same(Object.keys(resets).filter((reason) => !['ahead', 'diverged', 'failover'].includes(reason)), [])
  t.ok((resets.ahead ?? 0) + (resets.diverged ?? 0) > 0, 'some clients had followed the lost branch')
})

t.test('all clients get the last event before a silence, even if subscribers are cut right before it', async (t) => {
  const random = new Random()
  t.comment(`SEED=${random.seed}`)
  const stage = await Stage.start(t, random)
  const inTime = AbortSignal.timeout(60_000)
  const clients = await Promise.all(Array.from({ length: 12 }, () => stage.join('c', inTime)))
  const reader = new RedisPubSub({ url: stage.redis.url })
  t.teardown(() => reader.close())
  for (let n = 1; n <= 4; n++) {
    const published = stage.instances.map((instance) => instance.post('c', { by: `${instance.url}`, n }))
    await stage.admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    published.push(random.pick(stage.instances).post('c', { by: 'last', n }))
    for (const response of await Promise.all(published)) t.equal(response.status, 202)
    const [top] = await (reader.eventLog as EventLog).heads(['chat:c'])
    await Promise.all(clients.map((client) => client.reached(formatCursor(top as Cursor), inTime)))
  }
  for (const client of clients) {
    t.match(judge(client), { events: 16, losses: 0, duplicates: 0, disorders: 0, resets: {} })
  }
})

t.test('an event whose broadcast is lost while every connection holds is found by the idle check', async (t) => {
  const random = new Random()
  t.comment(`SEED=${random.seed}`)
  const stage = await Stage.start(t, random, { count: 2 })
  const inTime = AbortSignal.timeout(30_000)
  const clients = await Promise.all(Array.from({ length: 6 }, () => stage.join('c', inTime)))
  // As if an event were published elsewhere and its broadcast did not arrive.
  await stage.admin.call('ACL', 'SETUSER', 'mute', 'on', '>mute', 'allchannels', 'allkeys', '+@all', '-publish')
  const mute = new RedisPubSub({ url: stage.redis.url.replace('//', '//mute:mute@') })
  t.teardown(() => mute.close())
  await mute.publish('chat:c', { type: 'message', chatId: 'c', message: { by: 'mute', n: 1 } })
  await Promise.all(clients.map((client) => client.saw('mute', 1, inTime)))
  for (const client of clients) {
    t.match(judge(client), { events: 1, losses: 0, duplicates: 0, disorders: 0, resets: {} })
  }
})
