import { formatCursor, type Cursor } from '../../lib/cursor.ts'
import type { EventLog } from '../../lib/pubsub/provider.ts'
import type { Crowd } from './crowd.ts'
import { judge, untold, type Verdict } from './hopping-client.ts'

export interface CrowdVerdict extends Verdict {
  /** Acknowledged events that clients have not seen, and those of them of which they were not told. */
  missed: number
  untold: number
  /** Clients that were told of a reset, whichever. */
  told: number
}

/** Waits until all clients are at the end of their chats, and sums up what each was given. `published` says what whom published last. */
export async function judgeCrowd (crowd: Crowd, log: EventLog, published: Map<string, number>, signal: AbortSignal): Promise<CrowdVerdict> {
  const total: CrowdVerdict = { events: 0, missed: 0, untold: 0, told: 0, losses: 0, duplicates: 0, disorders: 0, resets: {} }
  for (const client of crowd.clients) {
    const [top] = await log.tops([`chat:${client.chatId}`])
    await client.reached(formatCursor(top as Cursor), signal)
    const { resets, ...counts } = judge(client)
    for (const [name, count] of Object.entries(counts)) total[name as keyof typeof counts] += count
    if (Object.keys(resets).length > 0) total.told++
    for (const [reason, count] of Object.entries(resets)) total.resets[reason] = (total.resets[reason] ?? 0) + count
    const ids = new Set(client.seen.map(({ id }) => id))
    total.missed += (crowd.acknowledged.get(client.chatId) ?? []).filter((id) => !ids.has(id)).length
    total.untold += untold(client, client.chatId, published.get(client.chatId) as number)
  }
  return total
}
