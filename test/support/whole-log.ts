import type { EventLog, LogPage, LogEntry } from '../../lib/pubsub/event-log.ts'

/** Reads the last `limit` events of a channel, page by page. */
export async function wholeLog (log: EventLog, channel: string, limit: number): Promise<LogPage> {
  const last = await log.read(channel, undefined, limit)
  if (last.start === undefined) return last
  const entries: LogEntry[] = []
  for (let page = await log.read(channel, last.start, limit); page.entries.length > 0;) {
    entries.push(...page.entries)
    page = await log.read(channel, (page.entries.at(-1) as LogEntry).position, limit)
  }
  return { head: last.head, entries }
}
