import { randomBytes, randomInt } from 'node:crypto'
import { formatCursor, type Cursor } from '../cursor.ts'
import { timing } from '../options.ts'
import type { Envelope, EventLog, LogGap, LogPage, Logged } from './provider.ts'

export interface LocalLogOptions {
  /** Events to keep of each channel. */
  size: number
  /** Milliseconds to keep them after the last one. */
  ttlMs: number
  /** Milliseconds to remember an idempotency key. */
  idempotencyTtlMs: number
}

interface ChannelLog {
  top: Cursor
  entries: Logged[]
  /** What was published with a key, oldest first, and when it is forgotten. */
  keys: Map<string, { id: string, until: number }>
  /** When the entries expire. */
  until: number
}

/** The log of `LocalPubSub`: the same as the one in Redis, in memory. A new epoch for each channel and start tells of a restart, too. */
export class LocalLog implements EventLog {
  readonly #channels = new Map<string, ChannelLog>()
  readonly #options: LocalLogOptions
  readonly #sweep: NodeJS.Timeout

  constructor (options: LocalLogOptions) {
    this.#options = options
    this.#sweep = setInterval(() => this.#forget(), options.ttlMs).unref()
  }

  /** Appends an event, unless its key was used before. Returns its id, and the entry if it is new. */
  append (channel: string, envelope: Envelope, key: string | undefined): { id: string, entry: Logged | undefined } {
    const log = this.#open(channel)
    const now = Date.now()
    const known = key === undefined ? undefined : log.keys.get(key)
    if (known !== undefined && known.until > now) return { id: known.id, entry: undefined }
    const { epoch, offset, tag } = log.top
    log.top = { epoch, offset: offset + 1, tag: randomTag() }
    const entry = { ...envelope, position: { ...log.top, previousTag: tag, fence: false } }
    log.entries.push(entry)
    if (log.entries.length > this.#options.size) log.entries.shift()
    log.until = now + this.#options.ttlMs
    const id = formatCursor(log.top)
    if (key !== undefined) {
      // So that it stands behind the older ones.
      log.keys.delete(key)
      log.keys.set(key, { id, until: now + this.#options.idempotencyTtlMs })
    }
    return { id, entry }
  }

  async read (channel: string, after: Cursor | undefined, limit: number): Promise<LogPage> {
    const { top, entries } = this.#open(channel)
    if (after === undefined) return { top, entries: entries.slice(-limit) }
    const start = entries.findIndex(({ position }) => position.offset > after.offset)
    const gap = gapAfter(after, top, entries[start]?.position)
    return { top, gap, entries: gap !== undefined || start === -1 ? [] : entries.slice(start, start + limit) }
  }

  async tops (channels: string[]): Promise<(Cursor | undefined)[]> {
    return channels.map((channel) => this.#channels.get(channel)?.top)
  }

  close (): void {
    clearInterval(this.#sweep)
    this.#channels.clear()
  }

  #open (channel: string): ChannelLog {
    let log = this.#channels.get(channel)
    if (log === undefined) {
      log = { top: { epoch: randomBytes(8).toString('hex'), offset: 0, tag: 0 }, entries: [], keys: new Map(), until: Date.now() + this.#options.ttlMs }
      this.#channels.set(channel, log)
    }
    if (log.until <= Date.now()) log.entries = []
    return log
  }

  /** Much later than their entries, logs are forgotten whole: who comes back then, or still listens, is told of another epoch. */
  #forget (): void {
    const now = Date.now()
    for (const [channel, log] of this.#channels) {
      const { until, keys } = log
      if (until <= now) log.entries = []
      for (const [key, known] of keys) {
        if (known.until > now) break
        keys.delete(key)
      }
      if (until + timing.metaExtra <= now && keys.size === 0) this.#channels.delete(channel)
    }
  }
}

/** Why the events after a cursor can't be told, if so, by the rules of lua/read.lua. `next` is the first event after it that is left. */
function gapAfter (cursor: Cursor, top: Cursor, next: { offset: number, previousTag: number } | undefined): LogGap | undefined {
  if (cursor.epoch !== top.epoch) return 'epoch'
  if (cursor.offset > top.offset) return 'ahead'
  if (cursor.offset === top.offset) return cursor.tag === top.tag ? undefined : 'diverged'
  if (next === undefined) return 'expired'
  if (next.offset !== cursor.offset + 1) return 'trimmed'
  return next.previousTag === cursor.tag ? undefined : 'diverged'
}

/** A number of 47 bits: written in decimal it has at most 15 digits, and JavaScript and Lua both count that far exactly. */
export function randomTag (): number {
  return randomInt(1, 2 ** 47)
}
