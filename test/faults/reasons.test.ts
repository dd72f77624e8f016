import t, { type Test } from 'tap'
import type { Redis } from 'ioredis'
import { EventStream, type StreamEvent } from '../support/event-stream.ts'
import { InstanceProcess } from '../support/instance-process.ts'
import { client, startRedis } from '../support/redis.ts'
import type { RedisServer } from '../support/redis-server.ts'
import { until } from '../support/until.ts'

t.setTimeout(300_000)

async function start (t: Test): Promise<{ redis: RedisServer, admin: Redis, instance: (realtime?: object) => Promise<InstanceProcess> }> {
  const redis = await startRedis(t)
  const admin = client(t, redis.url)
  return { redis, admin, instance: (realtime = {}) => InstanceProcess.start(t, { REDIS_URL: redis.url, REALTIME: JSON.stringify(realtime) }) }
}

/** Publishes these numbers one after another. Returns their ids. */
async function publish (instance: InstanceProcess, chatId: string, ...numbers: number[]): Promise<string[]> {
  const ids: string[] = []
  for (const n of numbers) ids.push((await (await instance.post(chatId, { n })).json() as { id: string }).id)
  return ids
}

/** A client that comes back with the last id that it has. */
function comeBack (t: Test, instance: InstanceProcess, chatId: string, id: string | undefined): Promise<EventStream> {
  return EventStream.open(t, `${instance.url}/api/chats/${chatId}/events`, id === undefined ? {} : { headers: { 'last-event-id': id } })
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

function says (events: StreamEvent[]): unknown[] {
  return events.map(({ event, data }) => event === 'reset' ? (data as { reason: string }).reason : (data as { message: { n: number } }).message.n)
}

t.test('what was done to a log is told with its exact reason by an instance that knows nothing of it', async (t) => {
  const { admin, instance } = await start(t)
  const [old, small, short] = await Promise.all([instance(), instance({ history: { size: 10 } }), instance({ history: { ttlMs: 100 } })])
  const gone = (key: string): Promise<void> => until(() => admin.exists(key), (count) => count === 0)
  const rows: { name: string, by: InstanceProcess, count: number, harm: (key: string) => unknown, reason: string, level: 'epoch' | undefined }[] = [
    { name: 'meta deleted', by: old, count: 5, harm: (key) => admin.del(`${key}:m`), reason: 'epoch', level: 'epoch' },
    { name: 'all deleted', by: old, count: 5, harm: (key) => admin.del(`${key}:m`, `${key}:s`), reason: 'epoch', level: 'epoch' },
    { name: 'stream trimmed by somebody', by: old, count: 5, harm: (key) => admin.xtrim(`${key}:s`, 'MAXLEN', '=', '2'), reason: 'trimmed', level: undefined },
    { name: 'stream trimmed at its size', by: small, count: 300, harm: () => {}, reason: 'trimmed', level: undefined },
    { name: 'stream deleted', by: old, count: 5, harm: (key) => admin.del(`${key}:s`), reason: 'expired', level: undefined },
    { name: 'stream expired', by: short, count: 5, harm: (key) => gone(`${key}:s`), reason: 'expired', level: undefined }
  ]
  const places: { first: string, last: string }[] = []
  for (const [index, { by, count, harm }] of rows.entries()) {
    const ids = await publish(by, `c${index}`, ...upTo(count))
    await harm(`rt:{chat:c${index}}`)
    places.push({ first: ids[0] as string, last: ids.at(-1) as string })
  }
  const [outlived] = await publish(old, 'outlived', 1, 2)
  await admin.del('rt:{chat:outlived}:s')
  const [, newest] = await publish(old, 'outlived', 3, 4)
  await Promise.all([old, small, short].map((instance) => instance.kill()))
  const fresh = await instance()
  for (const [index, { name, reason, level }] of rows.entries()) {
    const { first, last } = places[index] as { first: string, last: string }
    const chatId = `c${index}`
    const behind = await comeBack(t, fresh, chatId, first)
    const told = await behind.take(2)
    const at = told[1]?.id
    t.match(told, [ready(first, false), reset(at, reason)], name)
    // Who had the last event has missed nothing, unless the log is another.
    const abreast = await comeBack(t, fresh, chatId, last)
    t.match(await abreast.take(level === undefined ? 1 : 2), level === undefined ? [ready(last, true)] : [ready(last, false), reset(at, level)], `${name}: who had seen all`)
    const [next] = await publish(fresh, chatId, 0)
    for (const stream of [behind, abreast]) t.match(await stream.next(), { id: next, data: { message: { n: 0 } } }, `${name}: goes on`)
  }
  t.match(await (await comeBack(t, fresh, 'outlived', outlived)).take(2), [ready(outlived, false), reset(newest, 'trimmed')], 'what has expired is trimmed once there is a newer event')
})

t.test('after a failover offsets are used again: whoever followed the lost branch is told so, and nobody else', async (t) => {
  const { redis, admin, instance } = await start(t)
  const old = await instance()
  // One chat for each time at which clients come, so that nobody has made the instance follow it before.
  const chats = ['empty', 'level', 'beyond']
  const kept = await Promise.all(chats.map((chatId) => publish(old, chatId, 1, 2, 3)))
  await admin.call('SAVE')
  // The Redis of later has not heard of these.
  const lost = await Promise.all(chats.map((chatId) => publish(old, chatId, 4, 5, 6)))
  await old.kill()
  await redis.restart()
  const fresh = await instance()
  const offset = (id: string | undefined): string | undefined => id?.split('-')[1]
  for (const [index, chatId] of chats.entries()) {
    // With a fence before them, the first two take just the places of what was lost.
    const again = await publish(fresh, chatId, ...[7, 8, 9].slice(0, [0, 2, 3][index]))
    t.same(again.slice(0, 2).map(offset), again.length === 0 ? [] : lost[index]?.slice(1).map(offset))
    // Where nothing was published, the first who reads writes the marker, in the place of the first that was lost.
    for (const [n, id] of (lost[index] as string[]).entries()) {
      const reason = again.length > 0 ? 'diverged' : n > 0 ? 'ahead' : 'failover'
      const at = again.at(-1) ?? /^\w+-4-\d+$/
      t.match(await (await comeBack(t, fresh, chatId, id)).take(2), [ready(id, false), { event: 'reset', id: at, data: { reason, certain: reason === 'diverged' } }], `${chatId}: had seen ${id}`)
    }
    const stream = await comeBack(t, fresh, chatId, kept[index]?.[1])
    t.match(await stream.next(), ready(kept[index]?.[1], true), 'who had not, goes on')
    const all = [3, 'failover', 7, 8, 9]
    t.same(says(await stream.take(again.length + 2)), all.slice(0, again.length + 2))
  }
})

t.test('an acknowledged event that was lost with all who had seen it: each client gets a reset at once, and one only', async (t) => {
  const { redis, admin, instance } = await start(t)
  const old = await instance()
  const [one] = await publish(old, 'c', 1)
  await admin.call('SAVE')
  const [two] = await publish(old, 'c', 2)
  t.ok(two, 'it was acknowledged')
  await old.kill()
  await redis.restart()
  const [fresh, other] = await Promise.all([instance(), instance()])
  const streams = await Promise.all([fresh, other, fresh, other].map((each) => comeBack(t, each, 'c', one)))
  const markers = await Promise.all(streams.map(async (stream) => {
    const events = await stream.take(2)
    t.match(events, [ready(one, true), { event: 'reset', data: { reason: 'failover', certain: false } }])
    return events[1]?.id
  }))
  t.equal(new Set(markers).size, 1, 'all readers find one marker')
  t.equal(markers[0]?.split('-')[1], two?.split('-')[1], 'in the very place of what was lost')
  const [three] = await publish(fresh, 'c', 3)
  for (const stream of streams) t.match(await stream.next(), { id: three, data: { message: { n: 3 } } })
  const late = await comeBack(t, other, 'c', markers[0])
  t.match(await late.take(2), [ready(markers[0], true), { id: three }], 'who has it goes on behind it')
})

t.test('an open stream of an idle chat gets a reset soon after Redis was replaced, though its connections went on', async (t) => {
  const redis = await startRedis(t, ['--enable-debug-command', 'yes'])
  const admin = client(t, redis.url)
  const [one, two] = await Promise.all([1, 2].map(() => InstanceProcess.start(t, { REDIS_URL: redis.url }))) as [InstanceProcess, InstanceProcess]
  const [last] = await publish(one, 'c', 1)
  const streams = await Promise.all([one, two].map((each) => comeBack(t, each, 'c', last)))
  for (const stream of streams) t.match(await stream.next(), ready(last, true))
  // As of a replica that was promoted.
  await admin.call('DEBUG', 'CHANGE-REPL-ID')
  const resets = await Promise.all(streams.map((stream) => stream.next()))
  t.match(resets, [{ event: 'reset', data: { reason: 'failover', certain: false } }, { event: 'reset', id: resets[0]?.id }])
})
