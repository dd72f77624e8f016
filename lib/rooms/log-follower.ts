import { outsideRequests } from '../core/async-context.ts'
import { copyCursor, positionBefore, sameCursor, type Cursor } from '../pubsub/cursor.ts'
import { HeldBuffer } from './held-buffer.ts'
import type { LogPages } from './log-pages.ts'
import { budgets } from '../core/budgets.ts'
import type { LogGap, LogEntry, LogPage, LogHead } from '../pubsub/event-log.ts'

/** What a sequence tells its owner, in an order that no two instances see differently. */
export interface LogFollowerEvents {
  /** The next event of the log. */
  event (entry: LogEntry): void
  /** Continuity is lost: what comes next comes after `at`. */
  gap (reason: LogGap, at: Cursor): void
  /** The log is being read. */
  reading (): void
  /** The log was read up to here. */
  read (head: LogHead): void
  /** The log has been followed to its end, and nothing that comes is missed. */
  inSync (): void
  /** Whether an event was told already. */
  isKnown (cursor: Cursor): boolean
  /** The log could not be read, and that is tried again later. */
  failed (error: Error): void
}

/**
 * Puts the events of a channel into the order of its log. What is broadcast can be lost, doubled or late; the log can be trimmed or fall
 * back. An event is told only if it follows the one before by offset and by tag; whatever is missing is read from the log.
 */
export class LogFollower {
  readonly #pages: LogPages
  readonly #events: LogFollowerEvents
  #position: Cursor | undefined
  #live = false
  #inSync = false
  #unproven = false
  readonly #held = new HeldBuffer<LogEntry>()
  #again = false
  #syncing: Promise<void> | undefined
  #retry: NodeJS.Timeout | undefined
  #closed = false

  constructor (pages: LogPages, events: LogFollowerEvents) {
    this.#pages = pages
    this.#events = events
  }

  /** The place behind the last event that was told. */
  get position (): Cursor | undefined {
    return this.#position && copyCursor(this.#position)
  }

  get inSync (): boolean {
    return this.#inSync
  }

  /** Whether the log could not be marked where acknowledged events may be missing: each position in it is in doubt until it can be. */
  get isUnproven (): boolean {
    return this.#unproven
  }

  /** Looks where the log ends, before the subscription holds: what this process publishes from here on is told. */
  open (): void {
    this.sync()
  }

  /** The subscription holds: only what is read from now on is sure to join up with what is received. */
  live (): Promise<void> {
    this.#live = true
    return this.sync()
  }

  lost (): void {
    this.#live = false
    this.#inSync = false
  }

  receive (entry: LogEntry): void {
    if (!this.#inSync) {
      this.#buffer(entry)
    } else if (!this.#apply(entry)) {
      this.#buffer(entry)
      this.sync()
    }
  }

  /** Compares with the end of the log: the last event before a silence can be lost, too. */
  reconcile (head: LogHead | undefined): void {
    if (this.#inSync && head !== undefined && (head.unproven === true || !sameCursor(head, this.#position as Cursor))) this.sync()
  }

  /** Reads the log from the position to its end. Calls during a reading share one more reading. Never rejects. */
  sync (): Promise<void> {
    if (this.#closed) return Promise.resolve()
    this.#again = true
    this.#syncing ??= outsideRequests(() => this.#run())
    return this.#syncing
  }

  close (): void {
    this.#closed = true
    this.#live = false
    this.#inSync = false
    clearTimeout(this.#retry)
  }

  async #run (): Promise<void> {
    this.#inSync = false
    clearTimeout(this.#retry)
    try {
      while (this.#again && !this.#closed) {
        this.#again = false
        this.#events.reading()
        // Nothing else is awaited: in one process, who listens is level before what is published in that turn resolves.
        let more = this.#take(await this.#read(budgets.firstPage))
        while (more) {
          more = this.#take(await this.#read(budgets.page))
          // Rooms write what they were told in this turn: of all pages at once that could be very much.
          if (more) await new Promise(setImmediate)
        }
        // In the turn in which it becomes level: what comes before that turn is held, and after it nobody looks there.
        this.#applyHeld()
      }
      this.#inSync = this.#live
    } catch (error) {
      // Whatever a log rejects with is an Error.
      if (!this.#closed) this.#tryLater(error as Error)
    }
    // In this very turn: who asks for a reading from now on must not be given this one, which is over.
    this.#syncing = undefined
    if (this.#inSync) this.#events.inSync()
  }

  /** Where the log ends, as long as there is no position to go on from; else what comes after that. */
  #read (bytes: number): Promise<LogPage> {
    return this.#position === undefined ? this.#pages.ends(1) : this.#pages.read(this.position, bytes)
  }

  #tryLater (error: Error): void {
    if (!this.#live) return
    this.#events.failed(error)
    this.#retry = setTimeout(() => this.sync(), this.#pages.retryMs).unref()
  }

  #applyHeld (): void {
    for (const entry of this.#held.take()) {
      if (!this.#apply(entry) && !this.#isPast(entry.position)) this.#again = true
    }
  }

  /** Starts at the end of the log, or before what was received already: it was published after somebody began to listen. */
  #start (head: Cursor): void {
    const first = this.#held.first?.position
    if (first === undefined || first.epoch !== head.epoch || first.offset > head.offset) {
      this.#position = copyCursor(head)
    } else {
      this.#position = positionBefore(first)
      this.#again = true
    }
  }

  /** Follows what was read of the log. Returns whether there is more to read. */
  #take ({ head, gap, entries }: LogPage): boolean {
    if (this.#closed) return false
    this.#events.read(head)
    const known = this.#unproven
    this.#unproven = gap === 'failover' && head.unproven === true
    // It is reported once, however often the log is read until it can be marked.
    if (known && this.#unproven) return false
    if (this.#position === undefined) {
      this.#start(head)
      return false
    }
    if (gap === 'epoch') {
      // All of the new log comes after what was lost with the old one.
      this.#jump(gap, { epoch: head.epoch, offset: 0, tag: 0 })
      return true
    }
    // An entry that can't be read leaves a hole that no reading fills.
    const broken = gap ?? (entries.every((entry) => this.#apply(entry)) ? undefined : 'diverged')
    if (broken !== undefined) this.#jump(broken, head)
    return broken === undefined && entries.length > 0 && this.#position.offset < head.offset
  }

  #jump (gap: LogGap, to: Cursor): void {
    this.#position = copyCursor(to)
    this.#events.gap(gap, to)
  }

  /** Tells the event if it comes next. Returns whether it is told, now or before. */
  #apply (entry: LogEntry): boolean {
    const { epoch, offset, tag, previousTag } = entry.position
    const at = this.#position
    if (at === undefined || epoch !== at.epoch || offset !== at.offset + 1 || previousTag !== at.tag) return this.#events.isKnown(entry.position)
    // In place: a new object for each event of each chat would keep the garbage collector busy.
    at.offset = offset
    at.tag = tag
    this.#events.event(entry)
    return true
  }

  #buffer (entry: LogEntry): void {
    if (!this.#held.add(entry, entry.json.length)) this.#again = true
  }

  /** Whether the log, which was just read to its end, is beyond this place. */
  #isPast ({ epoch, offset }: Cursor): boolean {
    return this.#position?.epoch === epoch && offset <= this.#position.offset
  }
}
