import { parseCursor, sameCursor } from './cursor.ts'
import type { EventLog, LogEntry } from './event-log.ts'

/** Events of a page, and events that may be appended while an entry is looked for. */
const FEW = 4

/**
 * Returns the entry with an event id, or `undefined` if the log does not have it any more. A log is read after a
 * position, and that of the entry before is unknown: so this takes several reads. Rejects with `RT_LOG_UNAVAILABLE`.
 */
export async function findEntry (log: EventLog, channel: string, id: string): Promise<LogEntry | undefined> {
  const position = parseCursor(id)
  const [head] = await log.heads([channel])
  if (position === undefined || head?.epoch !== position.epoch) return undefined
  // A log that cannot count bytes returns the entries themselves.
  let page = await log.read(channel, undefined, head.offset - position.offset + 1 + FEW, 0)
  let after = page.start
  while (after !== undefined && after.offset < position.offset) {
    page = await log.read(channel, after, FEW)
    after = page.entries.at(-1)?.position
  }
  return page.entries.find((entry) => sameCursor(entry.position, position))
}
