import { outsideRequests } from '../core/async-context.ts'
import { copyCursor, positionBefore, sameCursor, type Cursor } from '../pubsub/cursor.ts'
import { HeldBuffer } from './held-buffer.ts'
import type { LogPages } from './log-pages.ts'
import { budgets } from '../core/budgets.ts'
import type { LogGap, LogEntry, LogPage, LogHead } from '../pubsub/event-log.ts'

/** The events that a log follower reports to its owner, in the same order on every instance. */
export interface LogFollowerEvents {
  /** The next event of the log. */
  event (entry: LogEntry): void
  /** Continuity is lost: the next event follows `at`. */
  gap (reason: LogGap, at: Cursor): void
  /** A read of the log begins. */
  reading (): void
  /** The log was read; `head` is its end. */
  read (head: LogHead): void
  /** The log was read to its end, and no event will be missed from now on. */
  inSync (): void
  /** Returns true if the event was reported already. */
  isKnown (cursor: Cursor): boolean
  /** The log could not be read; the read is retried later. */
  failed (error: Error): void
}

/**
 * - `detached`: the subscription is not active.
 * - `syncing`: the subscription is active, and the log is being read, or the read will be retried.
 * - `in sync`: no event is missed. Each received event is reported at once, unless one before it is missing.
 * - `closed`: nothing is reported any more.
 *
 * Received events are held unless the follower is in sync.
 */
type State = 'detached' | 'syncing' | 'in sync' | 'closed'

/**
 * Puts the events of a channel into the order of its log. Broadcasts can be lost, duplicated or late, and the log can
 * be trimmed or fall back. An event is reported only if it follows the previous one by offset and by tag. Missing
 * events are read from the log.
 */
export class LogFollower {
  readonly #pages: LogPages
  readonly #events: LogFollowerEvents
  #position: Cursor | undefined
  #state: State = 'detached'
  #unproven = false
  readonly #held = new HeldBuffer<LogEntry>()
  /** The read in progress. The log is also read while the follower is detached. */
  #reading: Promise<void> | undefined
  /** True if the read in progress must be followed by another. */
  #again = false
  #retry: NodeJS.Timeout | undefined

  constructor (pages: LogPages, events: LogFollowerEvents) {
    this.#pages = pages
    this.#events = events
  }

  /** The position after the last event that was reported. */
  get position (): Cursor | undefined {
    return this.#position && copyCursor(this.#position)
  }

  get inSync (): boolean {
    return this.#state === 'in sync'
  }

  /**
   * True if acknowledged events may be missing and no discontinuity marker can be written. Until one is written, every
   * position in the log is in doubt.
   */
  get isUnproven (): boolean {
    return this.#unproven
  }

  /**
   * Called when the subscription is active: only a read that starts from now on connects to the received events
   * without a gap.
   */
  live (): Promise<void> {
    this.#to('syncing')
    return this.sync()
  }

  lost (): void {
    this.#to('detached')
  }

  receive (entry: LogEntry): void {
    if (this.#state !== 'in sync') {
      this.#buffer(entry)
    } else if (!this.#apply(entry)) {
      this.#buffer(entry)
      this.sync()
    }
  }

  /**
   * Compares the position with the head of the log. Without this, the loss of the last event before a silence would go
   * unnoticed.
   */
  reconcile (head: LogHead | undefined): void {
    if (this.#state !== 'in sync' || head === undefined) return
    if (head.unproven === true || !sameCursor(head, this.#position as Cursor)) this.sync()
  }

  /**
   * Reads the log from the position to its end. Calls during a read share one more read. Never rejects. The first call,
   * before the subscription is active, reads only the head: no event published by this process from then on is missed.
   */
  sync (): Promise<void> {
    this.#again = true
    this.#reading ??= outsideRequests(() => this.#run())
    return this.#reading
  }

  close (): void {
    this.#to('closed')
    clearTimeout(this.#retry)
  }

  /** The only place that changes the state. A closed follower stays closed. */
  #to (state: State): void {
    if (this.#state !== 'closed') this.#state = state
  }

  async #run (): Promise<void> {
    if (this.#state === 'in sync') this.#to('syncing')
    clearTimeout(this.#retry)
    try {
      while (this.#again && this.#state !== 'closed') {
        this.#again = false
        this.#events.reading()
        // No other await here: with an in-process log, a listener must be in sync before a publish of the same turn
        // resolves.
        let more = this.#take(await this.#read(budgets.firstPage))
        while (more) {
          more = this.#take(await this.#read(budgets.page))
          // Rooms write the events of one turn at once, so yield between pages to keep those writes small.
          if (more) await new Promise(setImmediate)
        }
        // Apply held events in the turn in which the follower gets in sync: events before it are held, and the buffer
        // is not read after it.
        this.#applyHeld()
      }
      if (this.#state === 'syncing') this.#to('in sync')
    } catch (error) {
      // Logs reject with an Error only.
      if (this.#state === 'syncing') this.#tryLater(error as Error)
    }
    // Reset it in this turn: this read is over, so a later call of `sync` must not share it.
    this.#reading = undefined
    if (this.inSync) this.#events.inSync()
  }

  /** Reads the head of the log if there is no position yet; otherwise the events after the position. */
  #read (bytes: number): Promise<LogPage> {
    return this.#position === undefined ? this.#pages.ends(1) : this.#pages.read(this.position, bytes)
  }

  #tryLater (error: Error): void {
    this.#events.failed(error)
    this.#retry = setTimeout(() => this.sync(), this.#pages.retryMs).unref()
  }

  #applyHeld (): void {
    for (const entry of this.#held.take()) {
      if (!this.#apply(entry) && !this.#isPast(entry.position)) this.#again = true
    }
  }

  /**
   * Starts at the head of the log. If an event was received already, starts before that event, since it was published
   * after listening began.
   */
  #start (head: Cursor): void {
    const first = this.#held.first?.position
    if (first === undefined || first.epoch !== head.epoch || first.offset > head.offset) {
      this.#position = copyCursor(head)
    } else {
      this.#position = positionBefore(first)
      this.#again = true
    }
  }

  /** Applies a page of the log. Returns true if there is more to read. */
  #take ({ head, gap, entries }: LogPage): boolean {
    if (this.#state === 'closed') return false
    this.#events.read(head)
    const known = this.#unproven
    this.#unproven = gap === 'failover' && head.unproven === true
    // The doubt is reported once, however often the log is read until a marker can be written.
    if (known && this.#unproven) return false
    if (this.#position === undefined) {
      this.#start(head)
      return false
    }
    if (gap === 'epoch') {
      // All events of the new log come after the lost events of the old one.
      this.#jump(gap, { epoch: head.epoch, offset: 0, tag: 0 })
      return true
    }
    // An entry that can't be read leaves a gap that no later read fills.
    const broken = gap ?? (entries.every((entry) => this.#apply(entry)) ? undefined : 'diverged')
    if (broken !== undefined) this.#jump(broken, head)
    return broken === undefined && entries.length > 0 && this.#position.offset < head.offset
  }

  #jump (gap: LogGap, to: Cursor): void {
    this.#position = copyCursor(to)
    this.#events.gap(gap, to)
  }

  /** Reports the event if it comes next. Returns true if it is reported, now or before. */
  #apply (entry: LogEntry): boolean {
    const { epoch, offset, tag, previousTag } = entry.position
    const at = this.#position
    if (at === undefined || epoch !== at.epoch || offset !== at.offset + 1 || previousTag !== at.tag) {
      return this.#events.isKnown(entry.position)
    }
    // Updated in place: a new object for each event of each chat would burden the garbage collector.
    at.offset = offset
    at.tag = tag
    this.#events.event(entry)
    return true
  }

  #buffer (entry: LogEntry): void {
    if (!this.#held.add(entry, entry.json.length)) this.#again = true
  }

  /** Returns true if the log, which was just read to its end, is past this position. */
  #isPast ({ epoch, offset }: Cursor): boolean {
    return this.#position?.epoch === epoch && offset <= this.#position.offset
  }
}
