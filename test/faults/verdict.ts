import { formatCursor } from '../../lib/pubsub/cursor.ts'
import { wholeLog } from '../support/whole-log.ts'
import type { Crowd } from './crowd.ts'
import { judge, unreported, type Seen, type Verdict } from './hopping-client.ts'
import type { EventLog } from '../../lib/pubsub/event-log.ts'

/** More events than any chat has. */
const ALL = 5_000

/** The faults of a whole crowd, summed over all clients. */
export interface CrowdVerdict extends Verdict {
  /** Acknowledged events that Redis has lost. */
  lost: number
  /** Acknowledged events that a client has not seen. */
  missed: number
  /** Those of them for which the client got no reset. */
  unreported: number
  /** Events that a client received directly after a lost one, without a reset between them. */
  astray: number
  /** Clients that got a reset, for any reason. */
  notified: number
}

/**
 * Waits until all clients are at the end of their chats, then judges them. `published` is the last number that the
 * publisher of each chat sent.
 */
export async function judgeCrowd (
  crowd: Crowd, events: EventLog, published: Map<string, number>, signal: AbortSignal
): Promise<CrowdVerdict> {
  const total: CrowdVerdict = {
    events: 0,
    lost: 0,
    missed: 0,
    unreported: 0,
    astray: 0,
    notified: 0,
    losses: 0,
    duplicates: 0,
    disorders: 0,
    resets: {}
  }
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
      if (Object.keys(resets).length > 0) total.notified++
      const ids = new Set(client.seen.map(({ id }) => id))
      total.missed += acknowledged.filter((id) => !ids.has(id)).length
      total.unreported += unreported(client, chatId, last)
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
