import t from 'tap'
import fc from 'fast-check'
import type { Redis } from 'ioredis'
import { ChatEvents, LocalPubSub, RedisPubSub, type HistoryPage } from '../../../lib/index.ts'
import { budgets } from '../../../lib/core/budgets.ts'
import { keepLog } from '../../support/log.ts'
import { client } from '../../support/redis.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'

t.beforeEach(nothingUnhandled)

const RUNS = Number(process.env.RUNS ?? 60)

/** An entry that a log has kept. */
interface Kept { id: string, isMarker: boolean }

/** A chat in a log that can lose what logs lose. */
interface Chat {
  chatEvents: ChatEvents
  /** The entries that the log has kept, after the position before the first of them. */
  kept (): Promise<[before: string, ...Kept[]] | []>
  trim (most: number): Promise<unknown>
  expire (): Promise<unknown>
  mark (): Promise<unknown>
  close (): Promise<void>
}

type Step = { publish: number[] } | { trim: number } | 'expire' | 'mark'

const steps = fc.array(fc.oneof(
  { weight: 6, arbitrary: fc.record({ publish: fc.array(fc.constantFrom(1, 10, 2_000, 50_000), { maxLength: 12 }) }) },
  { weight: 2, arbitrary: fc.record({ trim: fc.nat({ max: 10 }) }) },
  { weight: 1, arbitrary: fc.constant('expire' as const) },
  { weight: 4, arbitrary: fc.constant('mark' as const) }
), { maxLength: 12 })

const limits = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 5 })

const server = await RedisServer.start()
t.teardown(() => server.stop())
const admin = client(t, server.url)
let count = 0

function inRedis (): Chat {
  const keyPrefix = `paging${count++}:`
  const pubsub = new RedisPubSub({ url: server.url, keyPrefix })
  const key = `${keyPrefix}{chat:c}`
  return {
    chatEvents: new ChatEvents(pubsub, { ...keepLog(), retryMs: 0 }),
    kept: () => keptInRedis(admin, key),
    trim: (most) => admin.xtrim(`${key}:s`, 'MAXLEN', most),
    expire: () => admin.del(`${key}:s`),
    // Without a log there is nothing to mark.
    mark: async () => { if (await admin.exists(`${key}:m`) === 1) await admin.hset(`${key}:m`, 'r', 'another') },
    close: () => pubsub.close()
  }
}

async function keptInRedis (admin: Redis, key: string): Promise<[string, ...Kept[]] | []> {
  const [entries, epoch] = await Promise.all([admin.xrange(`${key}:s`, '-', '+'), admin.hget(`${key}:m`, 'e')])
  const [first] = entries
  if (first === undefined) return []
  const [id, [, , , previousTag]] = first
  return [
    `${epoch}-${Number(id.split('-')[0]) - 1}-${previousTag}`,
    ...entries.map(([id, [, kind]]): Kept => ({ id: `${epoch}-${id}`, isMarker: kind === 'f' }))
  ]
}

function inMemory (): Chat {
  const pubsub = new LocalPubSub({ history: { size: 20, ttlMs: 1_000 } })
  const { now } = Date
  let later = 0
  Date.now = () => now() + later
  return {
    chatEvents: new ChatEvents(pubsub, { ...keepLog(), retryMs: 0 }),
    kept: async () => {
      const { entries } = await pubsub.eventLog!.read('chat:c', undefined, 1_000, Infinity)
      const [first] = entries
      if (first === undefined) return []
      const { epoch, offset, previousTag } = first.position
      return [
        `${epoch}-${offset - 1}-${previousTag}`,
        ...entries.map(({ position: { epoch, offset, tag } }) => ({ id: `${epoch}-${offset}-${tag}`, isMarker: false }))
      ]
    },
    // It drops events by its size only, and has no failover.
    trim: async () => {},
    expire: async () => { later += 2_000 },
    mark: async () => {},
    close: async () => { Date.now = now; await pubsub.close() }
  }
}

async function run (chat: Chat, steps: Step[]): Promise<void> {
  for (const step of steps) {
    if (step === 'expire') await chat.expire()
    else if (step === 'mark') await chat.mark()
    else if ('trim' in step) await chat.trim(step.trim)
    else {
      await Promise.all(step.publish.map((size) =>
        chat.chatEvents.emitChatMessage('c', { text: 'é'.repeat(size / 2) })))
    }
  }
}

const idsOf = ({ events }: HistoryPage): string[] => events.map(({ id }) => id)

/** The page is as large as it may be, and says so if it has a marker between two positions. */
function assertPage ({ events, gap }: HistoryPage, limit: number, hasMarker: boolean): void {
  const bytes = Buffer.byteLength(JSON.stringify(events))
  if (events.length > limit) throw new Error(`${events.length} events instead of ${limit}`)
  if (events.length > 1 && bytes > budgets.page) throw new Error(`${bytes} bytes`)
  if (hasMarker && gap === null) throw new Error('a page with a marker claims to be whole')
}

function assertSame (what: string, actual: unknown, expected: unknown): void {
  const [one, other] = [actual, expected].map((value) => JSON.stringify(value))
  if (one !== other) throw new Error(`${what}: ${one} instead of ${other}`)
}

/** Reads pages from the first kept event to the last one, or the other way. Returns the ids in the order of the log. */
async function readAll (
  { chatEvents, kept }: Chat, limits: number[], start: string | undefined
): Promise<{ ids: string[], last: HistoryPage }> {
  const entries = (await kept()).slice(1) as Kept[]
  const between = (from: number, to: number): boolean => entries.slice(from, to).some(({ isMarker }) => isMarker)
  const indexOf = (id: string | undefined): number => entries.findIndex((entry) => entry.id === id)
  const isForward = start !== undefined
  const ids: string[] = []
  for (let n = 0, at = start; ; n++) {
    const limit = limits[n % limits.length] as number
    const last = await chatEvents.history('c', isForward ? { after: at, limit } : { before: at, limit })
    const page = idsOf(last)
    if (page.length === 0) return { ids, last }
    const ends = [indexOf(at), indexOf(isForward ? page.at(-1) : page[0])] as const
    const [from, to] = isForward ? [ends[0] + 1, ends[1]] : [ends[1], at === undefined ? entries.length : ends[0]]
    assertPage(last, limit, between(from, to))
    if (isForward) ids.push(...page)
    else ids.unshift(...page)
    at = isForward ? page.at(-1) : page[0]
  }
}

for (const [name, open] of Object.entries({ 'in one process': inMemory, 'over Redis': inRedis })) {
  t.test(`${name}, pages in both directions have every event that is kept once and in order`, async () => {
    await fc.assert(fc.asyncProperty(steps, limits, fc.nat(), fc.nat(), async (steps, limits, i, j) => {
      const chat = open()
      try {
        await run(chat, steps)
        // Also writes a marker, if there must be one.
        const end = await chat.chatEvents.lastEventId('c')
        const [start = end, ...entries] = await chat.kept()
        const events = entries.filter(({ isMarker }) => !isMarker).map(({ id }) => id)
        const forward = await readAll(chat, limits, start)
        assertSame('forward', forward.ids, events)
        assertSame('the end', forward.last.lastEventId, end)
        const backward = await readAll(chat, limits, undefined)
        assertSame('backward', backward.ids, events)
        const reason = entries.length === 0 || start.split('-')[1] === '0' ? null : 'trimmed'
        assertSame('the reason', backward.last.gap, entries[0]?.isMarker === true ? 'failover' : reason)
        if (entries.length < 2) return
        const [from, to] = [i % entries.length, j % entries.length]
        const between = entries.slice(from + 1, to).filter(({ isMarker }) => !isMarker).map(({ id }) => id)
        const bounds = { after: entries[from]?.id, before: entries[to]?.id }
        const page = await chat.chatEvents.history('c', { ...bounds, limit: 1_000 })
        assertSame('between', idsOf(page), between.slice(0, page.events.length))
        if (between.length > 0 && page.events.length === 0) throw new Error('no event between two')
      } finally {
        await chat.close()
      }
    }), { numRuns: RUNS })
  })
}
