import t from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { formatCursor, type Cursor } from '../../lib/cursor.ts'
import { RedisPubSub } from '../../lib/index.ts'
import type { EventLog } from '../../lib/pubsub/provider.ts'
import { judge } from './hopping-client.ts'
import { Random } from './random.ts'
import { Stage, type Fault } from './stage.ts'

const CHATS = ['a', 'b', 'c']
const CLIENTS = 18
const PER_CHAT = 200
const FAULTS: Fault[] = ['kill redis', 'kill redis', 'kill redis', 'kill instance', 'drop clients', 'freeze instance', 'cut subscribers']

t.setTimeout(120_000)

t.test('over a Redis that forgets, whoever lost something is told so in that very interval', async (t) => {
  const random = new Random()
  t.comment(`SEED=${random.seed}`)
  const stage = await Stage.start(t, random)
  const inTime = AbortSignal.timeout(100_000)
  await Promise.all(Array.from({ length: CLIENTS }, (_, n) => stage.join(CHATS[n % CHATS.length] as string, inTime)))
  const publishing = Promise.all(CHATS.map((chatId) => stage.publish(chatId, 'one', PER_CHAT, 80)))
  for (const fault of random.shuffled(FAULTS)) {
    await delay(300 + random.next() * 1_000)
    await stage.suffer(fault)
  }
  await publishing
  // Whoever was told of nothing since the last loss is told by this one.
  for (const chatId of CHATS) await stage.publish(chatId, 'last', 1, 0)

  const reader = new RedisPubSub({ url: stage.redis.url })
  t.teardown(() => reader.close())
  const totals = { events: 0, missed: 0, losses: 0, duplicates: 0, disorders: 0, resets: {} as Record<string, number> }
  for (const chatId of CHATS) {
    const [top] = await (reader.log as EventLog).tops([`chat:${chatId}`])
    const acknowledged = new Set(stage.acknowledged.get(chatId))
    for (const client of stage.clients.filter((client) => client.chatId === chatId)) {
      await client.reached(formatCursor(top as Cursor), inTime)
      const { resets, ...counts } = judge(client)
      for (const [name, count] of Object.entries(counts)) totals[name as keyof typeof counts] += count
      for (const [reason, count] of Object.entries(resets)) totals.resets[reason] = (totals.resets[reason] ?? 0) + count
      const missed = [...acknowledged].filter((id) => !client.seen.some((seen) => seen.id === id)).length
      totals.missed += missed
      // That there are no losses between resets says the rest.
      if (missed > 0) t.ok(Object.keys(resets).length > 0, `a client of ${chatId} that missed ${missed} was told`)
    }
  }
  t.comment(JSON.stringify({ retries: stage.retries, ...totals }))
  t.match(totals, { losses: 0, duplicates: 0, disorders: 0 })
  t.same(Object.keys(totals.resets).filter((reason) => !['epoch', 'failover'].includes(reason)), [])
  t.ok((totals.resets.epoch ?? 0) >= CLIENTS, 'all were told of the new log')
})

t.test('when the subscribers die right before the last event, and silence follows, everybody gets it', async (t) => {
  const random = new Random()
  const stage = await Stage.start(t, random)
  const inTime = AbortSignal.timeout(60_000)
  const clients = await Promise.all(Array.from({ length: 12 }, () => stage.join('c', inTime)))
  for (let n = 1; n <= 4; n++) {
    const published = stage.instances.map((instance) => instance.post('c', { by: `${instance.url}`, n }))
    await stage.admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    published.push(random.pick(stage.instances).post('c', { by: 'last', n }))
    for (const response of await Promise.all(published)) t.equal(response.status, 202)
    await Promise.all(clients.map((client) => client.saw('last', n, inTime)))
  }
  for (const client of clients) t.match(judge(client), { events: 16, losses: 0, duplicates: 0, disorders: 0, resets: {} })
})

t.test('an event whose broadcast is lost while every connection holds is found by the idle check', async (t) => {
  const stage = await Stage.start(t, new Random(), { count: 2 })
  const inTime = AbortSignal.timeout(30_000)
  const clients = await Promise.all(Array.from({ length: 6 }, () => stage.join('c', inTime)))
  // As if it were published somewhere whose broadcast doesn't come through.
  await stage.admin.call('ACL', 'SETUSER', 'mute', 'on', '>mute', 'allchannels', 'allkeys', '+@all', '-publish')
  const mute = new RedisPubSub({ url: stage.redis.url.replace('//', '//mute:mute@') })
  t.teardown(() => mute.close())
  await mute.publish('chat:c', { type: 'message', chatId: 'c', message: { by: 'mute', n: 1 } })
  await Promise.all(clients.map((client) => client.saw('mute', 1, inTime)))
  for (const client of clients) t.match(judge(client), { events: 1, losses: 0, duplicates: 0, disorders: 0, resets: {} })
})
