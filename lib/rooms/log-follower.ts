import { outsideRequests } from '../core/async-context.ts'
import { copyCursor, positionBefore, sameCursor, type Cursor } from '../pubsub/cursor.ts'
import { HeldBuffer } from './held-buffer.ts'
import type { LogPages } from './log-pages.ts'
import { budgets } from '../core/budgets.ts'
import type { LogGap, LogEntry, LogPage, LogHead } from '../pubsub/event-log.ts'

/** What a log follower reports to its owner. The entries come in the same order on every instance. */
export interface LogFollowerEvents {
  /** The follower has a position for the first time: the first entry follows `at`. */
  started? (at: Cursor): void
  /** The next entry of the log. */
  entry (entry: LogEntry): void
  /** Continuity is lost: the next entry follows `at`. */
  gap (reason: LogGap, at: Cursor): void
  /** The log was read to its end, and no entry will be missed from now on. */
  inSync (): void
  /** A read of the log begins. */
  readStarted? (): void
  /** A page of the log was read; `head` is the end of the log. */
  headRead? (head: LogHead): void
  /** The log could not be read; the read is retried later. */
  readFailed (error: Error): void
  /**
   * Returns true if the entry at this position was reported before, so that a second copy is dropped. Without this
   * method, a second copy causes a read of the log.
   */
  isKnown? (position: Cursor): boolean
}

/**
 * - `detached`: the subscription is not active.
 * - `syncing`: the subscription is active, and the log is being read, or the read will be retried.
 * - `in sync`: no entry is missing. Each received entry is reported at once, unless one before it is missing.
 * - `closed`: nothing is reported any more.
 *
 * Received entries are held unless the follower is in sync.
 */
type State = 'detached' | 'syncing' | 'in sync' | 'closed'

/**
 * Reports the entries of one channel's log, each once and in order. Broadcasts can be lost, duplicated or late, and the
 * log can be trimmed or fall back. A received entry is reported only if it follows the previous one by offset and by
 * tag. Missing entries are read from the log.
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
  /** True if the log must be read, or read again after the read in progress. */
  #mustRead = false
  #retry: NodeJS.Timeout | undefined
  /** True if no entry has been received since the last call of `checkQuiet`. */
  #isQuiet = false

  constructor (pages: LogPages, events: LogFollowerEvents) {
    this.#pages = pages
    this.#events = events
  }

  /** The position after the last reported entry; `undefined` until the log has been read. */
  get position (): Cursor | undefined {
    return this.#position && copyCursor(this.#position)
  }

  get inSync (): boolean {
    return this.#state === 'in sync'
  }

  /**
   * True if acknowledged events may be missing, and no discontinuity marker can be written at the moment. Until one is
   * written, nothing proves that a client has all events before its position.
   */
  get isUnproven (): boolean {
    return this.#unproven
  }

  /**
   * Called when the subscription is active. Reads the log: only a read that starts now reaches up to the entries that
   * will be received.
   */
  live (): Promise<void> {
    this.#to('syncing')
    return this.sync()
  }

  lost (): void {
    this.#to('detached')
  }

  receive (entry: LogEntry): void {
    this.#isQuiet = false
    if (this.#state === 'in sync' && this.#apply(entry)) return
    this.#hold(entry)
    if (this.#state === 'in sync') this.sync()
  }

  /** Returns true if the follower is in sync and has received no entry since the last call. */
  checkQuiet (): boolean {
    const wasQuiet = this.#isQuiet
    this.#isQuiet = true
    return wasQuiet && this.inSync
  }

  /**
   * Reads the log if `head` is not the position. Without this, the loss of the last entry before a silence would go
   * unnoticed.
   */
  reconcile (head: LogHead | undefined): void {
    if (this.#state !== 'in sync' || head === undefined) return
    if (head.unproven === true || !sameCursor(head, this.#position as Cursor)) this.sync()
  }

  /**
   * Reads the log from the position to its end. All calls during a read share one more read. Never rejects. Without a
   * position, reads only the head. The owner calls it before the subscription is active, too: whatever is published
   * after that read is not missed.
   */
  sync (): Promise<void> {
    this.#mustRead = true
    this.#reading ??= outsideRequests(() => this.#readToEnd())
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

  async #readToEnd (): Promise<void> {
    if (this.#state === 'in sync') this.#to('syncing')
    clearTimeout(this.#retry)
    try {
      while (this.#mustRead && this.#state !== 'closed') {
        this.#mustRead = false
        this.#events.readStarted?.()
        // No other await here: with an in-process log, a listener must be in sync before a publish of the same turn
        // resolves.
        let hasMore = this.#applyPage(await this.#readPage(budgets.firstPage))
        while (hasMore) {
          hasMore = this.#applyPage(await this.#readPage(budgets.page))
          // Rooms write the events of one turn at once, so yield between pages to keep those writes small.
          if (hasMore) await new Promise(setImmediate)
        }
        // No await between this and `in sync`: an entry received in between would stay in the buffer.
        this.#applyHeld()
      }
      if (this.#state === 'syncing') this.#to('in sync')
    } catch (error) {
      // Logs reject with an Error only.
      if (this.#state === 'syncing') this.#tryLater(error as Error)
    }
    // No await before this: a call of `sync` must not get the promise of a read that is over.
    this.#reading = undefined
    if (this.inSync) this.#events.inSync()
  }

  /** Reads the entries after the position. Without a position, reads only the head of the log. */
  #readPage (bytes: number): Promise<LogPage> {
    return this.#position === undefined ? this.#pages.readBounds(1) : this.#pages.read(this.position, bytes)
  }

  #tryLater (error: Error): void {
    this.#events.readFailed(error)
    this.#retry = setTimeout(() => this.sync(), this.#pages.retryMs).unref()
  }

  #applyHeld (): void {
    for (const entry of this.#held.takeAll()) {
      if (!this.#apply(entry) && !this.#isPast(entry.position)) this.#mustRead = true
    }
  }

  /**
   * Sets the first position: the head of the log, or the position before the first entry that was received, if that is
   * earlier. Such an entry was published after listening began, so it must be reported.
   */
  #start (head: Cursor): void {
    const first = this.#held.first?.position
    const isEarlier = first !== undefined && first.epoch === head.epoch && first.offset <= head.offset
    const start = isEarlier ? positionBefore(first) : copyCursor(head)
    if (isEarlier) this.#mustRead = true
    this.#position = start
    this.#events.started?.(copyCursor(start))
  }

  /** Applies a page of the log. Returns true if there is more to read. */
  #applyPage ({ head, gap, entries }: LogPage): boolean {
    if (this.#state === 'closed') return false
    this.#events.headRead?.(head)
    const wasUnproven = this.#unproven
    this.#unproven = gap === 'failover' && head.unproven === true
    // Report this gap once, however often the log is read until a marker can be written.
    if (wasUnproven && this.#unproven) return false
    if (this.#position === undefined) {
      this.#start(head)
      return false
    }
    if (gap === 'epoch') {
      // All entries of the new log come after the lost entries of the old one.
      this.#skipTo({ epoch: head.epoch, offset: 0, tag: 0 }, gap)
      return true
    }
    // An entry that can't be read leaves a gap that no later read fills.
    const reason = gap ?? (entries.every((entry) => this.#apply(entry)) ? undefined : 'diverged')
    if (reason !== undefined) this.#skipTo(head, reason)
    return reason === undefined && entries.length > 0 && this.#position.offset < head.offset
  }

  #skipTo (position: Cursor, reason: LogGap): void {
    this.#position = copyCursor(position)
    this.#events.gap(reason, position)
  }

  /** Reports the entry if it comes next. Returns true if it is reported, now or before. */
  #apply (entry: LogEntry): boolean {
    const { epoch, offset, tag, previousTag } = entry.position
    const at = this.#position
    if (at === undefined || epoch !== at.epoch || offset !== at.offset + 1 || previousTag !== at.tag) {
      return this.#events.isKnown?.(entry.position) === true
    }
    // Updated in place: a new object for each entry of each chat would burden the garbage collector.
    at.offset = offset
    at.tag = tag
    this.#events.entry(entry)
    return true
  }

  /** Keeps an entry until the log has been read. */
  #hold (entry: LogEntry): void {
    if (!this.#held.add(entry, entry.json.length)) this.#mustRead = true
  }

  /** Returns true if an entry of this position, or of a later one, was reported or skipped. */
  #isPast ({ epoch, offset }: Cursor): boolean {
    return this.#position?.epoch === epoch && offset <= this.#position.offset
  }
}
