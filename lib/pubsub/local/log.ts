import { copyCursor, randomTag, sameCursor, type Cursor } from '../cursor.ts'
import { ByteBudget } from '../byte-budget.ts'
import type { DraftContent } from './draft-content.ts'
import { EmptyLogs } from './empty-logs.ts'
import { EventRing } from '../event-ring.ts'
import { RingLog } from '../ring-log.ts'
import type { StateVersion } from '../state-store.ts'
import { budgets } from '../../core/budgets.ts'
import { RepeatingTimer } from '../../core/repeating-timer.ts'
import { timing } from '../../core/timing.ts'
import type { Envelope, EventLog, LogGap, LogPage, LogEntry, LogHead } from '../event-log.ts'

const PAGE: number = budgets.page

interface LocalLogOptions {
  /** Number of events to keep of each channel. */
  size: number
  /** Milliseconds to keep the events after the last one. */
  ttlMs: number
  /** Milliseconds to remember an idempotency key. */
  idempotencyTtlMs: number
}

/**
 * An idempotency key of the app, the key of a row of an outbox, or the key of a finalization. The prefixes keep them
 * apart: an app may let its clients choose the idempotency keys, and they must not be able to suppress a row or to end
 * a bot message.
 */
export type LogKey = `app ${string}` | `row ${string}` | `finalization ${string}`

interface KnownKey {
  /** The position of the event that was published with the key. */
  position: Cursor
  /** When the key expires, in milliseconds since 1970. */
  until: number
  /** The content of a finalized draft, if its event does not repeat it. */
  content?: DraftContent
}

interface ChannelLog {
  events: EventRing
  /** The version of the channel's state, if it ever had one. */
  state?: StateVersion
  /** What is known of each key. */
  keys?: Map<string, KnownKey>
  /** When the events expire, in milliseconds since 1970. */
  until: number
}

/**
 * The log of `LocalPubSub`: like the one in Redis, but in memory. The epochs of a restarted process are new, so clients
 * notice the restart.
 */
export class LocalLog extends RingLog implements EventLog {
  readonly #channels = new Map<string, ChannelLog>()
  readonly #empty = new EmptyLogs()
  readonly #options: LocalLogOptions
  /** Limits the bytes of all channels together. */
  readonly budget = new ByteBudget(budgets.localLogs)
  readonly #sweepTimer: RepeatingTimer

  constructor (options: LocalLogOptions) {
    super()
    this.#options = options
    this.#sweepTimer = new RepeatingTimer(Math.min(options.ttlMs, timing.emptyLog), () => this.#sweep())
  }

  /**
   * Appends an event, unless its key was used before. Returns the position of the event with this key, and the entry if
   * it was appended. `keyTtlMs` is how long to remember the key, if not as long as others of its kind.
   */
  append (
    channel: string, envelope: Envelope, key: LogKey | undefined, keyTtlMs?: number
  ): { position: Cursor, entry: LogEntry | undefined } {
    const now = Date.now()
    const log = this.#open(channel, now)
    const known = key === undefined ? undefined : log.keys?.get(key)
    if (known !== undefined && known.until > now) return { position: known.position, entry: undefined }
    const { epoch, offset, tag } = log.events.head
    const { from, timestamp, event, json, traceparent } = envelope
    const position = { epoch, offset: offset + 1, tag: randomTag(), previousTag: tag, isMarker: false }
    // A spread of the envelope takes several times as long as all else here.
    const entry = { from, timestamp, event, json, traceparent, position }
    log.events.push(entry)
    log.until = now + this.#options.ttlMs
    if (key !== undefined) {
      const keys = log.keys ??= new Map()
      keys.set(key, { position: copyCursor(position), until: now + (keyTtlMs ?? this.#ttlOf(key)) })
    }
    return { position, entry }
  }

  #ttlOf (key: LogKey): number {
    const { ttlMs, idempotencyTtlMs } = this.#options
    // A finalized draft must not be opened again as long as its owner may try to restore it.
    return key.startsWith('finalization ') ? Math.max(idempotencyTtlMs, ttlMs + timing.stateExtra) : idempotencyTtlMs
  }

  /** Whether an event was published with this key. */
  hasKey (channel: string, key: LogKey): boolean {
    return (this.#channels.get(channel)?.keys?.get(key)?.until ?? 0) > Date.now()
  }

  /** Keeps the content of a draft that was finalized with this key, as long as the budget allows. */
  keepContent (channel: string, key: LogKey, content: DraftContent): void {
    content.keep()
    const known = this.#channels.get(channel)?.keys?.get(key)
    if (known !== undefined) known.content = content
  }

  /** The JSON of the event that was published with this key, if the log still has it, and the content kept with it. */
  finalized (channel: string, key: LogKey): { event: string | undefined, content: DraftContent | undefined } {
    const known = this.hasKey(channel, key) ? this.#channels.get(channel)?.keys?.get(key) : undefined
    const events = this.#find(channel)?.events
    if (known === undefined || events === undefined) return { event: undefined, content: undefined }
    const index = events.indexAfter(known.position)
    const entry = index === undefined || index === 0 ? undefined : events.slice(index - 1, index)[0]
    return { event: entry?.json, content: known.content }
  }

  /** Stores the version of the channel's state, which is part of the log's head. */
  setStateVersion (channel: string, state: StateVersion): void {
    const log = this.#open(channel)
    log.state = state
    extendEmpty(log)
  }

  /** The version of the channel's state, if it ever had one. */
  stateVersion (channel: string): StateVersion | undefined {
    return this.#channels.get(channel)?.state
  }

  async read (
    channel: string, after: Cursor | undefined, limit: number, maxBytes = PAGE, before?: Cursor
  ): Promise<LogPage> {
    const log = this.#find(channel) ?? { events: this.#start(startOf(this.#empty.keep(channel))) }
    const { events } = log
    const head = headOf(log)
    if (after === undefined && before === undefined) return { head, ...lastOf(events, limit, maxBytes) }
    const start = after === undefined ? 0 : events.indexAfter(after)
    if (start === undefined) return { head, gap: gapAt(after as Cursor, events), entries: [] }
    const end = before === undefined ? events.size : indexOf(before, events)
    if (typeof end === 'string') return { head, gap: end, entries: [] }
    if (after !== undefined) {
      const count = events.countFirst(start, Math.min(limit, end - start), maxBytes)
      return { head, gap: undefined, entries: events.slice(start, start + count) }
    }
    // There were events before the first one that is left.
    if (end === 0 && (before as Cursor).offset > 1) return { head, gap: dropped(events), entries: [] }
    return { head, gap: undefined, entries: events.slice(end - events.countLast(end, limit, maxBytes), end) }
  }

  get capacity (): number {
    return this.#options.size
  }

  ring (channel: string): EventRing | undefined {
    return this.#channels.get(channel)?.events
  }

  async heads (channels: string[]): Promise<(LogHead | undefined)[]> {
    return channels.map((channel) => {
      const log = this.#channels.get(channel)
      if (log !== undefined) {
        extendEmpty(log)
        return headOf(log)
      }
      return this.#empty.has(channel) ? startOf(this.#empty.keep(channel)) : undefined
    })
  }

  close (): void {
    this.#sweepTimer.stop()
    for (const { events } of this.#channels.values()) events.clear()
    this.#channels.clear()
    this.#empty.clear()
  }

  #open (channel: string, now = Date.now()): ChannelLog {
    let log = this.#find(channel, now)
    if (log === undefined) {
      log = { events: this.#start(startOf(this.#empty.take(channel))), until: now + this.#options.ttlMs }
      this.#channels.set(channel, log)
      this.#sweepTimer.start()
    }
    return log
  }

  #find (channel: string, now = Date.now()): ChannelLog | undefined {
    const log = this.#channels.get(channel)
    if (log === undefined) return undefined
    if (log.until <= now) this.#expire(log)
    extendEmpty(log, now)
    return log
  }

  #start (position: Cursor): EventRing {
    return new EventRing(position, { capacity: this.#options.size, budget: this.budget })
  }

  #expire (log: ChannelLog): void {
    if (log.events.size === 0) return
    log.events.clear()
    log.events = this.#start(log.events.head)
  }

  /**
   * Drops expired events and keys. A log itself is dropped much later than its events: it then gets a new epoch, and
   * its clients get a reset.
   */
  #sweep (): void {
    const now = Date.now()
    for (const [channel, log] of this.#channels) {
      const { until, keys, events } = log
      if (until <= now) this.#expire(log)
      for (const [key, known] of keys ?? []) {
        if (known.until > now) continue
        known.content?.clear()
        keys?.delete(key)
      }
      const extra = events.offset === 0 ? 0 : timing.metaExtra
      if (until + extra <= now && (keys?.size ?? 0) === 0) this.#channels.delete(channel)
    }
    if (this.#channels.size === 0) this.#sweepTimer.stop()
  }
}

/** Postpones the end of a log without events. It is kept while it is read or polled, or while its state changes. */
function extendEmpty (log: ChannelLog, now = Date.now()): void {
  if (log.events.offset === 0) log.until = now + timing.emptyLog
}

/** Returns the position before the first event of a log. */
function startOf (epoch: string): Cursor {
  return { epoch, offset: 0, tag: 0 }
}

function headOf ({ events, state }: Pick<ChannelLog, 'events' | 'state'>): LogHead {
  return state === undefined ? events.head : { ...events.head, state }
}

/** Returns the last events that fit, and the position before the last `limit` events if that is earlier. */
function lastOf (events: EventRing, limit: number, maxBytes: number): Pick<LogPage, 'entries' | 'start'> {
  const { size } = events
  const first = size - (maxBytes === 0 ? 0 : events.countLast(size, limit, maxBytes))
  const firstOfLimit = Math.max(0, size - limit)
  const start = firstOfLimit < first ? events.positionBefore(firstOfLimit) : undefined
  return { entries: events.slice(first, size), start }
}

/**
 * Returns the index of the event that a cursor names, or why it is unknown. The position before the first event of a
 * log counts as index 0, too: nothing comes before it.
 */
function indexOf (cursor: Cursor, events: EventRing): number | LogGap {
  const next = events.indexAfter(cursor)
  if (next !== undefined && next > 0) return next - 1
  if (sameCursor(cursor, startOf(events.head.epoch))) return 0
  return next === undefined ? gapAt(cursor, events) : dropped(events)
}

/** Returns why a cursor is not a position in the log, by the rules of lua/read.lua. */
function gapAt ({ epoch, offset }: Cursor, events: EventRing): LogGap {
  const { base, head } = events
  if (epoch !== head.epoch) return 'epoch'
  if (offset > head.offset) return 'ahead'
  return offset >= base.offset ? 'diverged' : dropped(events)
}

/** Returns why the first events of a log are missing. */
function dropped ({ size }: EventRing): LogGap {
  return size === 0 ? 'expired' : 'trimmed'
}
