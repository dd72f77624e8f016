import { formatCursor, randomTag, type Cursor } from '../cursor.ts'
import { ByteBudget } from '../byte-budget.ts'
import { EmptyLogs } from './empty-logs.ts'
import { EventRing } from '../event-ring.ts'
import type { StateVersion } from '../state-store.ts'
import { budgets } from '../../core/budgets.ts'
import { timing } from '../../core/timing.ts'
import type { Envelope, EventLog, LogGap, LogPage, LogEntry, LogHead } from '../event-log.ts'

const PAGE: number = budgets.page

export interface LocalLogOptions {
  /** Number of events to keep of each channel. */
  size: number
  /** Milliseconds to keep the events after the last one. */
  ttlMs: number
  /** Milliseconds to remember an idempotency key. */
  idempotencyTtlMs: number
}

/**
 * A key with its owner: an idempotency key of the app, or a key of a finalization. The prefixes keep them apart, since
 * an app may let clients choose its keys.
 */
export type LogKey = `app ${string}` | `finalization ${string}`

interface ChannelLog {
  run: EventRing
  /** The version of the channel's state, if it ever had one. */
  state?: StateVersion
  /** The ids of events that were published with a key, if any, and when each key is forgotten. */
  keys?: Map<string, { id: string, until: number }>
  /** When the entries expire, in milliseconds since 1970. */
  until: number
}

/**
 * The log of `LocalPubSub`: like the one in Redis, but in memory. Each channel gets a new epoch in each process, so
 * clients also notice a restart.
 */
export class LocalLog implements EventLog {
  readonly #channels = new Map<string, ChannelLog>()
  readonly #empty = new EmptyLogs()
  readonly #options: LocalLogOptions
  /** Shared by all channels. */
  readonly #budget = new ByteBudget(budgets.localLogs)
  readonly #sweep: NodeJS.Timeout

  constructor (options: LocalLogOptions) {
    this.#options = options
    this.#sweep = setInterval(() => this.#forget(), Math.min(options.ttlMs, timing.emptyLog)).unref()
  }

  /** Appends an event, unless its key was used before. Returns its id, and the entry if it is new. */
  append (channel: string, envelope: Envelope, key: LogKey | undefined): { id: string, entry: LogEntry | undefined } {
    const log = this.#open(channel)
    const now = Date.now()
    const known = key === undefined ? undefined : log.keys?.get(key)
    if (known !== undefined && known.until > now) return { id: known.id, entry: undefined }
    const { epoch, offset, tag } = log.run.head
    const entry = {
      ...envelope,
      position: { epoch, offset: offset + 1, tag: randomTag(), previousTag: tag, isMarker: false }
    }
    log.run.push(entry)
    log.until = now + this.#options.ttlMs
    const id = formatCursor(entry.position)
    if (key !== undefined) {
      const keys = log.keys ??= new Map()
      const { ttlMs, idempotencyTtlMs } = this.#options
      keys.set(key, {
        id,
        until: now + (key.startsWith('app ') ? idempotencyTtlMs : Math.max(idempotencyTtlMs, ttlMs + timing.stateExtra))
      })
    }
    return { id, entry }
  }

  /** Whether an event was published with this key. */
  knows (channel: string, key: LogKey): boolean {
    return (this.#channels.get(channel)?.keys?.get(key)?.until ?? 0) > Date.now()
  }

  /** Stores the version of the channel's state. */
  mark (channel: string, state: StateVersion): void {
    const log = this.#open(channel)
    log.state = state
    keepEmpty(log)
  }

  /** The version of the channel's state, if it ever had one. */
  stateVersion (channel: string): StateVersion | undefined {
    return this.#channels.get(channel)?.state
  }

  async read (channel: string, after: Cursor | undefined, limit: number, maxBytes = PAGE): Promise<LogPage> {
    const log = this.#find(channel) ?? { run: this.#start(startOf(this.#empty.keep(channel))) }
    const { run } = log
    const head = topOf(log)
    if (after === undefined) return { head, ...lastOf(run, limit, maxBytes) }
    const start = run.indexAfter(after)
    if (start === undefined) return { head, gap: gapAfter(after, run), entries: [] }
    return { head, gap: undefined, entries: run.slice(start, start + run.fitAfter(start, limit, maxBytes)) }
  }

  async heads (channels: string[]): Promise<(LogHead | undefined)[]> {
    return channels.map((channel) => {
      const log = this.#channels.get(channel)
      if (log !== undefined) {
        keepEmpty(log)
        return topOf(log)
      }
      return this.#empty.has(channel) ? startOf(this.#empty.keep(channel)) : undefined
    })
  }

  close (): void {
    clearInterval(this.#sweep)
    for (const { run } of this.#channels.values()) run.clear()
    this.#channels.clear()
    this.#empty.clear()
  }

  #open (channel: string): ChannelLog {
    let log = this.#find(channel)
    if (log === undefined) {
      log = { run: this.#start(startOf(this.#empty.take(channel))), until: Date.now() + this.#options.ttlMs }
      this.#channels.set(channel, log)
    }
    return log
  }

  #find (channel: string): ChannelLog | undefined {
    const log = this.#channels.get(channel)
    if (log === undefined) return undefined
    if (log.until <= Date.now()) this.#expire(log)
    keepEmpty(log)
    return log
  }

  #start (position: Cursor): EventRing {
    return new EventRing(position, { capacity: this.#options.size, budget: this.#budget })
  }

  #expire (log: ChannelLog): void {
    if (log.run.size === 0) return
    log.run.clear()
    log.run = this.#start(log.run.head)
  }

  /**
   * Drops expired entries and keys. Whole logs are dropped much later than their entries; clients that reconnect after
   * that, or still listen, get another epoch.
   */
  #forget (): void {
    const now = Date.now()
    for (const [channel, log] of this.#channels) {
      const { until, keys, run } = log
      if (until <= now) this.#expire(log)
      for (const [key, known] of keys ?? []) {
        if (known.until <= now) keys?.delete(key)
      }
      const extra = run.head.offset === 0 ? 0 : timing.metaExtra
      if (until + extra <= now && (keys?.size ?? 0) === 0) this.#channels.delete(channel)
    }
  }
}

/** Extends the life of a log without an event, which is kept while its state changes or it is read or polled. */
function keepEmpty (log: ChannelLog): void {
  if (log.run.head.offset === 0) log.until = Date.now() + timing.emptyLog
}

/** The position at the start of a log. */
function startOf (epoch: string): Cursor {
  return { epoch, offset: 0, tag: 0 }
}

function topOf ({ run, state }: Pick<ChannelLog, 'run' | 'state'>): LogHead {
  return state === undefined ? run.head : { ...run.head, state }
}

/** The last events of a ring that fit, and the position before the last `limit` events if that is earlier. */
function lastOf (run: EventRing, limit: number, maxBytes: number): Pick<LogPage, 'entries' | 'start'> {
  const { size } = run
  const first = size - (maxBytes === 0 ? 0 : run.fitBeforeEnd(limit, maxBytes))
  const wanted = Math.max(0, size - limit)
  return { entries: run.slice(first, size), start: wanted < first ? run.positionBefore(wanted) : undefined }
}

/** Returns why the events after a cursor can't be read, by the rules of lua/read.lua. */
function gapAfter ({ epoch, offset }: Cursor, { base, head, size }: EventRing): LogGap {
  if (epoch !== head.epoch) return 'epoch'
  if (offset > head.offset) return 'ahead'
  if (offset >= base.offset) return 'diverged'
  return size === 0 ? 'expired' : 'trimmed'
}
