import t from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { formatCursor } from '../../lib/pubsub/cursor.ts'
import { RedisPubSub } from '../../lib/index.ts'
import { wholeLog } from '../support/whole-log.ts'
import { judge } from './hopping-client.ts'
import { Random } from './random.ts'
import { Stage, type Fault } from './stage.ts'
import type { EventLog } from '../../lib/pubsub/event-log.ts'

const CHATS = ['a', 'b', 'c', 'd', 'e', 'f']
const CLIENTS = 60
const PUBLISHERS = ['one', 'two', 'three']
/** With `LONG=1`, as in `npm run test:long`, each fault occurs twice or more. */
const LONG = process.env.LONG !== undefined
const PER_PUBLISHER = LONG ? 490 : 300
const FAULTS: Fault[] = [
  'kill instance', 'freeze instance', 'cut subscribers', 'cut publishers', 'mute publishers', 'freeze redis',
  'kill redis', 'drop clients', 'slow clients', 'garbage'
]
const TWICE_MORE: Fault[] = ['kill instance', 'freeze instance', 'cut subscribers', 'kill redis']
/** Beyond what is published to a chat, markers and bursts included: in the end the whole log is compared. */
const SIZE = 5_000

t.setTimeout(400_000)

t.test('despite all faults, every client sees every event once and in order', async (t) => {
  const random = new Random()
  t.comment(`SEED=${random.seed}`)
  const stage = await Stage.start(t, random, {
    redisArgs: ['--appendonly', 'yes', '--appendfsync', 'always'], realtime: { history: { size: SIZE } }
  })
  const inTime = AbortSignal.timeout(350_000)
  await Promise.all(Array.from({ length: CLIENTS }, (_, n) => stage.join(CHATS[n % CHATS.length] as string, inTime)))
  const publishing = Promise.all(CHATS.flatMap((chatId) => {
    return PUBLISHERS.map((by) => stage.publish(chatId, by, PER_PUBLISHER, 70))
  }))
  const faults = random.shuffled([...FAULTS, ...LONG ? FAULTS : [], ...TWICE_MORE])
  for (const fault of faults) {
    await delay(300 + random.next() * 1_000)
    await stage.suffer(fault)
  }
  await publishing

  const reader = new RedisPubSub({ url: stage.redis.url })
  t.teardown(() => reader.close())
  const totals = {
    published: 0,
    events: 0,
    losses: 0,
    duplicates: 0,
    disorders: 0,
    streams: 0,
    resumed: 0,
    cut: 0,
    resets: {} as Record<string, number>
  }
  for (const chatId of CHATS) {
    const { head: top, entries } = await wholeLog(reader.eventLog as EventLog, `chat:${chatId}`, SIZE)
    const events = entries.filter(({ position }) => !position.isMarker)
    totals.published += events.length
    const messages = events.map(({ json }) => JSON.parse(json.toString()).message as { by: string, n: number })
    for (const by of new Set(messages.map(({ by }) => by))) {
      const count = stage.bursts.get(by) ?? PER_PUBLISHER
      t.same(
        messages.filter((message) => message.by === by).map(({ n }) => n),
        Array.from({ length: count }, (_, n) => n + 1),
        `${chatId}: the log has all of ${by}, once and in order`
      )
    }
    t.same(
      [...stage.acknowledged.get(chatId) ?? []].sort(),
      events.map(({ position }) => formatCursor(position)).sort(),
      `${chatId}: the log has exactly the acknowledged events`
    )
    const ids = entries.map(({ position }) => formatCursor(position))
    for (const client of stage.clients.filter((client) => client.chatId === chatId)) {
      await client.reached(formatCursor(top), inTime)
      const { resets, ...counts } = judge(client)
      for (const [name, count] of Object.entries(counts)) totals[name as keyof typeof counts] += count
      for (const [reason, count] of Object.entries(resets)) totals.resets[reason] = (totals.resets[reason] ?? 0) + count
      totals.streams += client.streams
      totals.resumed += client.resumed
      totals.cut += client.cut
      t.same(
        client.seen.filter(({ event }) => event !== 'ready').map(({ id }) => id),
        ids,
        `a client of ${chatId} saw the log as it is`
      )
    }
  }
  t.comment(JSON.stringify({ faults: faults.length, retries: stage.retries, ...totals }))
  t.match(totals, {
    published: CHATS.length * PUBLISHERS.length * PER_PUBLISHER + sum(stage.bursts.values()),
    losses: 0,
    duplicates: 0,
    disorders: 0
  })
  const others = Object.keys(totals.resets).filter((reason) => reason !== 'failover')
  t.same(others, [], 'only discontinuity markers caused resets')
  t.ok(totals.cut > 0, 'a client was too slow')
})

function sum (numbers: Iterable<number>): number {
  return [...numbers].reduce((total, number) => total + number, 0)
}
