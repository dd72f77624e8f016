import type { Cursor } from '../../../lib/pubsub/cursor.ts'
import { formatCursor } from '../../../lib/pubsub/cursor.ts'
import type { Envelope, EventLog, LogGap, LogPage, LogEntry, LogHead } from '../../../lib/pubsub/event-log.ts'

/** The log as it was at one time. */
interface Version {
  top: Cursor | undefined
  entries: readonly LogEntry[]
}

/** A read that is on its way. */
interface Pending {
  serve: () => LogPage
  served: LogPage | undefined
  resolve: (page: LogPage) => void
  reject: (error: Error) => void
}

/**
 * A log by the rules of lua/includes/log.lua and lua/read.lua, that can lose whatever a Redis can lose, and remembers
 * all that ever was.
 */
export class ModelLog implements EventLog {
  /** Every event that was ever appended. */
  readonly records = new Map<string, LogEntry>()
  /** Whether reads are answered at once; otherwise each is served, and then answered, by `step`. */
  prompt = true
  /** Called when a read made a new log: nothing is broadcast then. */
  onSilentStart: () => void = () => {}
  hasFallenBack = false
  readonly #versions: Version[] = []
  #version: Version = { top: undefined, entries: [] }
  /** All events of this log, also those that were trimmed. */
  #branch: LogEntry[] = []
  #pending: Pending[] = []
  #count = 0
  #fenceIsDue = false

  get top (): Cursor | undefined {
    return this.#version.top
  }

  /** How many changes there were. */
  get now (): number {
    return this.#versions.length
  }

  get pending (): number {
    return this.#pending.length
  }

  /** Appends an event. Returns what is broadcast. */
  append (payload: object): LogEntry[] {
    if (this.top === undefined) this.#open()
    else if (this.#fenceIsDue) return [this.#add({}, true), this.#add(payload, false)]
    return [this.#add(payload, false)]
  }

  /** Only the last ones are kept. */
  trim (keep: number): void {
    const { top, entries } = this.#version
    this.#change({ top, entries: entries.slice(Math.max(0, entries.length - keep)) })
  }

  loseMeta (): void {
    this.#change({ top: undefined, entries: this.#version.entries })
  }

  /** A failover to a replica that lacks the last events. Without a marker, nothing shows that it is another Redis. */
  fallBack (count: number, withFence: boolean): void {
    if (this.top === undefined) return
    const { epoch } = this.top
    this.hasFallenBack = true
    this.#branch = this.#branch.slice(0, Math.max(0, this.#branch.length - count))
    const { offset, tag } = this.#branch.at(-1)?.position ?? { offset: 0, tag: 0 }
    this.#fenceIsDue ||= withFence
    this.#change({
      top: { epoch, offset, tag },
      entries: this.#version.entries.filter(({ position }) => position.offset <= offset)
    })
  }

  read (_channel: string, after: Cursor | undefined, limit: number): Promise<LogPage> {
    const serve = (): LogPage => this.#read(after, limit)
    if (this.prompt) return Promise.resolve(serve())
    return new Promise((resolve, reject) => { this.#pending.push({ serve, served: undefined, resolve, reject }) })
  }

  async heads (channels: string[]): Promise<(LogHead | undefined)[]> {
    return channels.map(() => this.top && { ...this.top, ...this.#fenceIsDue && { unproven: true } })
  }

  /** Serves or answers one of the reads that are on their way, or makes it fail. */
  step (index: number, fails: boolean): void {
    const pending = this.#pending[index % this.#pending.length]
    if (pending === undefined) return
    if (!fails && pending.served === undefined) {
      pending.served = pending.serve()
      return
    }
    this.#pending = this.#pending.filter((other) => other !== pending)
    if (pending.served === undefined || fails) pending.reject(new Error('The log can\'t be read now'))
    else pending.resolve(pending.served)
  }

  /** Answers all reads, later ones as well. */
  heal (): void {
    this.prompt = true
    while (this.#pending.length > 0) this.step(0, false)
  }

  /** Whether at some time since then a cursor could not be followed for this reason. */
  hadGap (since: number, cursor: Cursor, reason: string): boolean {
    return this.#versions.slice(Math.max(0, since - 1)).some((version) => gapAfter(cursor, version) === reason)
  }

  /** Returns whether this position ever existed. */
  wasPosition (cursor: Cursor): boolean {
    return this.records.has(formatCursor(cursor)) || (cursor.offset === 0 && cursor.tag === 0)
  }

  /** Whether an event was appended, but fell out of the log as if it had not been. */
  hasLost (envelope: Envelope): boolean {
    return envelope.position !== undefined && !this.#branch.includes(envelope as LogEntry)
  }

  #read (after: Cursor | undefined, limit: number): LogPage {
    // Others notice what a read writes when they read or poll.
    const isEmpty = this.top === undefined || (this.#fenceIsDue && this.top.offset === 0)
    if (isEmpty) this.onSilentStart()
    else if (this.#fenceIsDue) this.#add({}, true)
    const top = isEmpty ? this.#open() : this.top as Cursor // It is not empty.
    const { entries } = this.#version
    if (after === undefined) return { head: top, entries: entries.slice(-limit) }
    const gap = gapAfter(after, this.#version)
    return {
      head: top,
      gap,
      entries: gap === undefined ? entries.filter(({ position }) => position.offset > after.offset).slice(0, limit) : []
    }
  }

  #open (): Cursor {
    const top = { epoch: `e${++this.#count}`, offset: 0, tag: 0 }
    this.#branch = []
    this.#fenceIsDue = false
    this.#change({ top, entries: [] })
    return top
  }

  #add (payload: object, fence: boolean): LogEntry {
    const { epoch, offset, tag } = this.top as Cursor
    const top = { epoch, offset: offset + 1, tag: ++this.#count }
    const json = JSON.stringify({ ...payload, n: this.#count })
    const entry = {
      from: 'model',
      timestamp: 0,
      event: fence ? 'fence' : 'message',
      json,
      position: { ...top, previousTag: tag, isMarker: fence }
    }
    this.#fenceIsDue = false
    this.#branch.push(entry)
    this.records.set(formatCursor(top), entry)
    this.#change({ top, entries: [...this.#version.entries, entry] })
    return entry
  }

  #change (version: Version): void {
    this.#version = version
    this.#versions.push(version)
  }
}

function gapAfter (cursor: Cursor, { top, entries }: Version): LogGap | undefined {
  if (top === undefined || cursor.epoch !== top.epoch) return 'epoch'
  if (cursor.offset > top.offset) return 'ahead'
  if (cursor.offset === top.offset) return cursor.tag === top.tag ? undefined : 'diverged'
  const next = entries.find(({ position }) => position.offset > cursor.offset)
  if (next === undefined) return 'expired'
  if (next.position.offset !== cursor.offset + 1) return 'trimmed'
  return next.position.previousTag === cursor.tag ? undefined : 'diverged'
}
