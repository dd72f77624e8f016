import { budgets } from '../core/budgets.ts'
import { checkOptions } from '../core/options.ts'
import { RealtimeError, kindOf } from '../errors.ts'
import type { ChatEvent } from '../event-types.ts'
import { formatCursor, parseCursor, type Cursor } from '../pubsub/cursor.ts'
import type { EventLog, LogEntry, LogGap, LogPosition } from '../pubsub/event-log.ts'
import { getChatChannel } from '../pubsub/names.ts'
import { parseEvent } from '../rooms/chat-event.ts'
import { ReadGate } from '../rooms/read-gate.ts'

/** What to read of the history of a chat: the first events after `after`, or else the last ones. */
export interface HistoryQuery {
  /** The id of an event: only later ones are read. */
  after?: string | undefined
  /** The id of an event: only earlier ones are read. */
  before?: string | undefined
  /** Maximum number of events, from 1 to 1000. @default 100 */
  limit?: number | undefined
}

/** The same for several chats: event ids in the order of the chats, and `undefined` where there is none. */
export interface HistoryQueries {
  after?: readonly (string | undefined)[] | undefined
  before?: readonly (string | undefined)[] | undefined
  /** Maximum number of events of each chat, from 1 to 1000. @default 100 */
  limit?: number | undefined
}

/** An event of the history of a chat. */
export interface HistoryEvent {
  /** The event id, which is its position in the chat's log. */
  id: string
  /** The time of the publish in milliseconds since 1970, by the publisher's clock. */
  timestamp: number
  event: ChatEvent
}

/** A page of the history of a chat. */
export interface HistoryPage {
  /** The events, in the order of the log. The next page begins after the last one, or ends before the first one. */
  events: HistoryEvent[]
  /** The end of the chat's log, from which a stream can continue. */
  lastEventId: string
  /**
   * Why the page is not whole, or `null`. If `after` or `before` can't be followed, there are no events. With
   * `failover`, acknowledged events may be missing between the events of the page; with `diverged`, events that this
   * instance can't read.
   */
  gap: LogGap | null
}

const FIELDS = 'after, before and limit'
const MOST_CHATS = 100
const MOST_EVENTS = 1_000
const DEFAULT_EVENTS = 100

/** Bytes of an event in a page of JSON, besides its id and its payload. */
const OVERHEAD = 45

/** What to read of one chat, after the checks. */
interface Range {
  channel: string
  after: Cursor | undefined
  before: Cursor | undefined
  limit: number
  maxBytes: number
}

/** Reads the events that the logs of chats have kept. All reads of an instance share a limit of bytes. */
export class HistoryReader {
  readonly #eventLog: EventLog | undefined
  readonly #maxPayloadBytes: number
  readonly #gate = new ReadGate(budgets.reads)

  constructor (eventLog: EventLog | undefined, maxPayloadBytes: number) {
    this.#eventLog = eventLog
    this.#maxPayloadBytes = maxPayloadBytes
  }

  /** Returns the end of the log of each chat. Rejects as `ChatEvents.lastEventId` does. */
  async lastEventIds (chatIds: readonly string[]): Promise<string[]> {
    const channels = channelsOf(chatIds)
    const log = this.#mustRead()
    // All reads are sent in one turn of the event loop, so they take one round trip.
    const pages = await Promise.all(channels.map((channel) => log.read(channel, undefined, 1, 0)))
    return pages.map(({ head }) => formatCursor(head))
  }

  /** Returns a page of one chat. Rejects as `ChatEvents.history` does. */
  async readOne (chatId: string, given: HistoryQuery | undefined): Promise<HistoryPage> {
    const { after, before, limit } = checkOptions(given, FIELDS)
    const pages = await this.read([chatId], { after: [after], before: [before], limit })
    return pages[0] as HistoryPage // There is a page for each chat.
  }

  /** Returns a page of each chat. Rejects as `ChatEvents.history` does. */
  async read (chatIds: readonly string[], given: HistoryQueries | undefined): Promise<HistoryPage[]> {
    const ranges = rangesOf(channelsOf(chatIds), checkOptions(given, FIELDS))
    const log = this.#mustRead()
    // A page has at least one event, if there is one.
    const bytes = Math.max(budgets.page, ranges.length * this.#maxPayloadBytes)
    return await this.#gate.runWhenFree(bytes, () => Promise.all(ranges.map((range) => readPage(log, range))))
  }

  #mustRead (): EventLog {
    if (this.#eventLog === undefined) throw new RealtimeError('RT_HISTORY_UNAVAILABLE')
    return this.#eventLog
  }
}

/** Throws `RT_CHAT_ID_INVALID` or `RT_HISTORY_INVALID`. */
function channelsOf (chatIds: readonly string[]): string[] {
  const { length } = chatIds
  if (length <= MOST_CHATS) return chatIds.map(getChatChannel)
  throw new RealtimeError('RT_HISTORY_INVALID', `At most ${MOST_CHATS} chats can be read at once, got ${length}`)
}

/** Throws `RT_HISTORY_INVALID`. */
function rangesOf (channels: string[], { after, before, limit = DEFAULT_EVENTS }: HistoryQueries): Range[] {
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST_EVENTS) {
    throw invalid('limit', `a whole number from 1 to ${MOST_EVENTS}`, typeof limit === 'number' ? limit : kindOf(limit))
  }
  const count = channels.length
  const [afters, befores] = [cursorsOf('after', after, count), cursorsOf('before', before, count)]
  const maxBytes = Math.floor(budgets.page / count)
  return channels.map((channel, n) => ({ channel, after: afters[n], before: befores[n], limit, maxBytes }))
}

/** Throws `RT_HISTORY_INVALID`. */
function cursorsOf (name: string, ids: HistoryQueries['after'], count: number): (Cursor | undefined)[] {
  if (ids === undefined) return []
  if (!Array.isArray(ids)) throw invalid(name, 'an array with an event id for each chat', kindOf(ids))
  if (ids.length !== count) throw invalid(name, `an array with an event id for each of ${count} chats`, ids.length)
  return ids.map((id: unknown) => {
    if (id === undefined) return undefined
    const cursor = typeof id === 'string' ? parseCursor(id) : undefined
    if (cursor !== undefined) return cursor
    const got = typeof id === 'string' && id !== '' ? 'another text' : kindOf(id)
    throw invalid(name, 'the id of an event, or a `lastEventId`', got)
  })
}

function invalid (name: string, expected: string, got: string | number): RealtimeError {
  return new RealtimeError('RT_HISTORY_INVALID', `\`${name}\` must be ${expected}, got ${got}`)
}

/** Reads one page. It has an event if there is one: entries without an event for the app do not end it. */
async function readPage (log: EventLog, range: Range): Promise<HistoryPage> {
  const { channel, limit, maxBytes } = range
  const isForward = range.after !== undefined
  let { after, before } = range
  let reason: LogGap | null = null
  for (;;) {
    const { head, gap, entries } = await log.read(channel, after, limit, maxBytes, before)
    const end = before?.offset ?? head.offset + 1
    const { events, flaw } = eventsOf(entries, after, isForward ? undefined : end)
    reason ??= gap ?? flaw
    if (events.length > 0 || gap !== undefined || entries.length === 0) {
      return { events: firstOf(events, maxBytes, isForward), lastEventId: formatCursor(head), gap: reason }
    }
    if (isForward) after = entries.at(-1)?.position
    else before = entries[0]?.position
  }
}

interface SizedEvent { event: HistoryEvent, bytes: number }

/**
 * Returns the events for the app, and why they are not all events from the position `after` to before the offset `end`.
 */
function eventsOf (
  entries: LogEntry[], after: Cursor | undefined, end: number | undefined
): { events: SizedEvent[], flaw: LogGap | null } {
  const events: SizedEvent[] = []
  let flaw: LogGap | null = null
  let previous = after
  for (const { event: name, json, timestamp, position } of entries) {
    if (previous !== undefined && !follows(previous, position)) flaw = 'diverged'
    if (position.isMarker) flaw ??= 'failover'
    previous = position
    try {
      const event = position.isMarker ? undefined : parseEvent(name, json)
      if (event === undefined) continue
      const id = formatCursor(position)
      events.push({ event: { id, timestamp, event }, bytes: id.length + Buffer.byteLength(json) + OVERHEAD })
    } catch {
      flaw = 'diverged'
    }
  }
  if (previous !== undefined && end !== undefined && previous.offset + 1 !== end) flaw = 'diverged'
  return { events, flaw }
}

function follows (previous: Cursor, { epoch, offset, previousTag }: LogPosition): boolean {
  return epoch === previous.epoch && offset === previous.offset + 1 && previousTag === previous.tag
}

/** Returns the first or the last events that fit into `maxBytes` bytes: at least one, if there is one. */
function firstOf (events: SizedEvent[], maxBytes: number, isForward: boolean): HistoryEvent[] {
  const ordered = isForward ? events : events.toReversed()
  let sum = 0
  const tooMany = ordered.findIndex(({ bytes }, n) => (sum += bytes) > maxBytes && n > 0)
  const fitting = tooMany === -1 ? ordered : ordered.slice(0, tooMany)
  return (isForward ? fitting : fitting.toReversed()).map(({ event }) => event)
}
