import t, { type Test } from 'tap'
import type { Redis } from 'ioredis'
import { EventStream, type StreamEvent } from '../support/event-stream.ts'
import { InstanceProcess } from '../support/instance-process.ts'
import { client, startRedis } from '../support/redis.ts'
import type { RedisServer } from '../support/redis-server.ts'
import { until } from '../support/until.ts'

t.setTimeout(300_000)

interface Setup {
  redis: RedisServer
  admin: Redis
  instance: (realtime?: object) => Promise<InstanceProcess>
}

async function start (t: Test): Promise<Setup> {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  return {
    redis,
    admin,
    instance: (realtime = {}) => {
      return InstanceProcess.start(t, { REDIS_URL: redis.url, REALTIME: JSON.stringify(realtime) })
    }
  }
}

/** Publishes these numbers one after another. Returns their ids. */
async function publish (instance: InstanceProcess, chatId: string, ...numbers: number[]): Promise<string[]> {
  const ids: string[] = []
  for (const n of numbers) ids.push((await (await instance.post(chatId, { n })).json() as { id: string }).id)
  return ids
}

/** A client that reconnects with the last event id that it has. */
function reconnect (t: Test, instance: InstanceProcess, chatId: string, id: string | undefined): Promise<EventStream> {
  const url = `${instance.url}/api/chats/${chatId}/events`
  return EventStream.open(t, url, id === undefined ? {} : { headers: { 'last-event-id': id } })
}

function upTo (last: number): number[] {
  return Array.from({ length: last }, (_, n) => n + 1)
}

function ready (id: string | undefined, resumed: boolean): object {
  return { event: 'ready', id, data: { resumed } }
}

function reset (id: string | undefined, reason: string): object {
  return { event: 'reset', id, data: { reason, certain: ['trimmed', 'expired', 'diverged'].includes(reason) } }
}

/** The numbers of messages, and the reasons of resets between them. */
function numbersAndReasons (events: StreamEvent[]): unknown[] {
  return events.map(({ event, data }) => {
    return event === 'reset' ? (data as { reason: string }).reason : (data as { message: { n: number } }).message.n
  })
}

t.test('an instance that has never read a damaged log reports the exact reason for each kind of damage', async (t) => {
  const { admin, instance } = await start(t)
  const [old, small, short] = await Promise.all([
    instance(), instance({ history: { size: 10 } }), instance({ history: { ttlMs: 100 } })
  ])
  const gone = (key: string): Promise<void> => until(() => admin.exists(key), (count) => count === 0, 120_000)
  interface Row {
    name: string
    by: InstanceProcess
    count: number
    harm: (key: string) => unknown
    /** Why a client that has missed events gets a reset. */
    reason: string
    /** Why a client that has missed none gets a reset, if it does. */
    upToDateReason?: 'epoch'
  }
  const deleteMeta = (key: string): unknown => admin.del(`${key}:m`)
  const deleteAll = (key: string): unknown => admin.del(`${key}:m`, `${key}:s`)
  const trim = (key: string): unknown => admin.xtrim(`${key}:s`, 'MAXLEN', '=', '2')
  const rows: Row[] = [
    { name: 'meta deleted', by: old, count: 5, harm: deleteMeta, reason: 'epoch', upToDateReason: 'epoch' },
    { name: 'all deleted', by: old, count: 5, harm: deleteAll, reason: 'epoch', upToDateReason: 'epoch' },
    { name: 'stream trimmed by a third party', by: old, count: 5, harm: trim, reason: 'trimmed' },
    { name: 'stream trimmed at its size', by: small, count: 300, harm: () => {}, reason: 'trimmed' },
    { name: 'stream deleted', by: old, count: 5, harm: (key) => admin.del(`${key}:s`), reason: 'expired' },
    { name: 'stream expired', by: short, count: 5, harm: (key) => gone(`${key}:s`), reason: 'expired' }
  ]
  const idsOf: { first: string, last: string }[] = []
  for (const [index, { by, count, harm }] of rows.entries()) {
    const ids = await publish(by, `c${index}`, ...upTo(count))
    await harm(`rt:{chat:c${index}}`)
    idsOf.push({ first: ids[0] as string, last: ids.at(-1) as string })
  }
  const [outlived] = await publish(old, 'outlived', 1, 2)
  await admin.del('rt:{chat:outlived}:s')
  const [, newest] = await publish(old, 'outlived', 3, 4)
  await Promise.all([old, small, short].map((instance) => instance.kill()))
  const fresh = await instance()
  for (const [index, { name, reason, upToDateReason }] of rows.entries()) {
    const { first, last } = idsOf[index] as { first: string, last: string }
    const chatId = `c${index}`
    const outdated = await reconnect(t, fresh, chatId, first)
    const received = await outdated.take(2)
    const position = received[1]?.id
    t.match(received, [ready(first, false), reset(position, reason)], name)
    // A client that has the last event has missed nothing, unless the log is another one.
    const upToDate = await reconnect(t, fresh, chatId, last)
    const expected = upToDateReason === undefined
      ? [ready(last, true)]
      : [ready(last, false), reset(position, upToDateReason)]
    t.match(await upToDate.take(expected.length), expected, `${name}: a client that has seen all events`)
    const [next] = await publish(fresh, chatId, 0)
    for (const stream of [outdated, upToDate]) {
      t.match(await stream.next(), { id: next, data: { message: { n: 0 } } }, `${name}: the stream continues`)
    }
  }
  const late = await (await reconnect(t, fresh, 'outlived', outlived)).take(2)
  t.match(late, [ready(outlived, false), reset(newest, 'trimmed')], 'once there is a newer event, it is trimmed')
})

t.test('after a failover reuses offsets, exactly the clients that followed the lost branch get a reset', async (t) => {
  const { redis, admin, instance } = await start(t)
  const old = await instance()
  // One chat for each time at which clients connect, so that the instance does not follow it before.
  const chats = ['empty', 'equal', 'beyond']
  const kept = await Promise.all(chats.map((chatId) => publish(old, chatId, 1, 2, 3)))
  await admin.call('SAVE')
  // The restarted Redis does not have these.
  const lost = await Promise.all(chats.map((chatId) => publish(old, chatId, 4, 5, 6)))
  await old.kill()
  await redis.restart()
  const fresh = await instance()
  const offset = (id: string | undefined): string | undefined => id?.split('-')[1]
  for (const [index, chatId] of chats.entries()) {
    // Behind a discontinuity marker, the first two reuse exactly the offsets of the lost events.
    const again = await publish(fresh, chatId, ...[7, 8, 9].slice(0, [0, 2, 3][index]))
    t.same(again.slice(0, 2).map(offset), again.length === 0 ? [] : lost[index]?.slice(1).map(offset))
    // Without a publish, the first reader writes the marker, at the offset of the first lost event.
    for (const [n, id] of (lost[index] as string[]).entries()) {
      const reason = again.length > 0 ? 'diverged' : n > 0 ? 'ahead' : 'failover'
      const at = again.at(-1) ?? /^\w+-4-\d+$/
      const events = await (await reconnect(t, fresh, chatId, id)).take(2)
      const lostBranch = { event: 'reset', id: at, data: { reason, certain: reason === 'diverged' } }
      t.match(events, [ready(id, false), lostBranch], `${chatId}: a client that had seen ${id}`)
    }
    const stream = await reconnect(t, fresh, chatId, kept[index]?.[1])
    t.match(await stream.next(), ready(kept[index]?.[1], true), 'a client that had not seen lost events resumes')
    const all = [3, 'failover', 7, 8, 9]
    t.same(numbersAndReasons(await stream.take(again.length + 2)), all.slice(0, again.length + 2))
  }
})

t.test('if an acknowledged event is lost with all its readers, each client gets one reset at once', async (t) => {
  const { redis, admin, instance } = await start(t)
  const old = await instance()
  const [one] = await publish(old, 'c', 1)
  await admin.call('SAVE')
  const [two] = await publish(old, 'c', 2)
  t.ok(two, 'it was acknowledged')
  await old.kill()
  await redis.restart()
  const [fresh, other] = await Promise.all([instance(), instance()])
  const streams = await Promise.all([fresh, other, fresh, other].map((each) => reconnect(t, each, 'c', one)))
  const markers = await Promise.all(streams.map(async (stream) => {
    const events = await stream.take(2)
    t.match(events, [ready(one, true), { event: 'reset', data: { reason: 'failover', certain: false } }])
    return events[1]?.id
  }))
  t.equal(new Set(markers).size, 1, 'all readers find one marker')
  t.equal(markers[0]?.split('-')[1], two?.split('-')[1], 'at the offset of the lost event')
  const [three] = await publish(fresh, 'c', 3)
  for (const stream of streams) t.match(await stream.next(), { id: three, data: { message: { n: 3 } } })
  const late = await reconnect(t, other, 'c', markers[0])
  t.match(await late.take(2), [ready(markers[0], true), { id: three }], 'a client that has the marker resumes after it')
})

t.test('an open stream of an idle chat gets a reset soon after a failover that broke no connection', async (t) => {
  const redis = await startRedis(t, ['--enable-debug-command', 'yes'])
  const admin = client(t, redis.url)
  const starting = [1, 2].map(() => InstanceProcess.start(t, { REDIS_URL: redis.url }))
  const [one, two] = await Promise.all(starting) as [InstanceProcess, InstanceProcess]
  const [last] = await publish(one, 'c', 1)
  const streams = await Promise.all([one, two].map((each) => reconnect(t, each, 'c', last)))
  for (const stream of streams) t.match(await stream.next(), ready(last, true))
  // As after the promotion of a replica.
  await admin.call('DEBUG', 'CHANGE-REPL-ID')
  const resets = await Promise.all(streams.map((stream) => stream.next()))
  const failover = { event: 'reset', data: { reason: 'failover', certain: false } }
  t.match(resets, [failover, { event: 'reset', id: resets[0]?.id }])
})
