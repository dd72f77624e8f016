import { formatCursor } from '../../lib/pubsub/cursor.ts'
import { wholeLog } from '../support/whole-log.ts'
import type { Crowd } from './crowd.ts'
import { judge, untold, type Seen, type Verdict } from './hopping-client.ts'
import type { EventLog } from '../../lib/pubsub/event-log.ts'

/** More events than any chat has. */
const ALL = 5_000

/** What a whole crowd was given, over all clients. */
export interface CrowdVerdict extends Verdict {
  /** Acknowledged events that Redis has lost. */
  lost: number
  /** Acknowledged events that a client has not seen, and those of them of which it was not told. */
  missed: number
  untold: number
  /** Events that a client was given right behind a lost one, without a reset between them. */
  astray: number
  /** Clients that were told of a reset, whichever. */
  told: number
}

/** Waits until all clients are at the end of their chats, then judges them. `published` says how far the publisher of each chat came. */
export async function judgeCrowd (crowd: Crowd, events: EventLog, published: Map<string, number>, signal: AbortSignal): Promise<CrowdVerdict> {
  const total: CrowdVerdict = { events: 0, lost: 0, missed: 0, untold: 0, astray: 0, told: 0, losses: 0, duplicates: 0, disorders: 0, resets: {} }
  for (const [chatId, last] of published) {
    const { head: top, entries } = await wholeLog(events, `chat:${chatId}`, ALL)
    const log = new Set(entries.map(({ position }) => formatCursor(position)))
    const acknowledged = crowd.acknowledged.get(chatId) ?? []
    total.lost += acknowledged.filter((id) => !log.has(id)).length
    for (const client of crowd.clients.filter((client) => client.chatId === chatId)) {
      await client.reached(formatCursor(top), signal)
      const { resets, ...counts } = judge(client)
      for (const [name, count] of Object.entries(counts)) total[name as keyof typeof counts] += count
      for (const [reason, count] of Object.entries(resets)) total.resets[reason] = (total.resets[reason] ?? 0) + count
      if (Object.keys(resets).length > 0) total.told++
      const ids = new Set(client.seen.map(({ id }) => id))
      total.missed += acknowledged.filter((id) => !ids.has(id)).length
      total.untold += untold(client, chatId, last)
      total.astray += astray(client, log)
    }
  }
  return total
}

function astray ({ seen }: { seen: Seen[] }, log: Set<string>): number {
  let lost = false
  let count = 0
  for (const { event, id } of seen) {
    if (event === 'ready') continue
    if (event === 'reset') {
      lost = false
    } else {
      if (lost && log.has(id)) count++
      lost = !log.has(id)
    }
  }
  return count
}
