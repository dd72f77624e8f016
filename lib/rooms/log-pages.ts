import type { Cursor } from '../pubsub/cursor.ts'
import type { ReadGate } from './read-gate.ts'
import { timing } from '../core/timing.ts'
import type { EventLog, LogPage } from '../pubsub/event-log.ts'

/** How many events a page has at most. */
const EVENTS = 500

/** After so many failures one after another, one event is asked for. */
const SMALLEST = 2

/** By how much less is asked for after each failure. */
const SHRINK = 32

/** After so many pages that could be read one after another, more is asked for again. */
const RECOVERY = 32

export interface LogPagesOptions {
  /** Called once for each time that not even one event can be read. */
  onStuck? (error: Error): void
  /** The longest wait before a failed reading is tried again, in milliseconds. @default 15_000 */
  longestRetry?: number
}

/**
 * Reads the log of one chat, page by page. A page that could not be read may have been too large, for Redis or for the
 * time that it had: less is asked for next, down to one event, and if that fails, to one event while nothing else
 * is read.
 */
export class LogPages {
  readonly #channel: string
  readonly #log: EventLog
  readonly #gate: ReadGate
  readonly #onStuck: (error: Error) => void
  readonly #longestRetry: number
  /** How many there were of late: a page that reaches the end of the log makes up for all. */
  #failures = 0
  #successes = 0

  constructor (channel: string, log: EventLog, gate: ReadGate, options: LogPagesOptions = {}) {
    this.#channel = channel
    this.#log = log
    this.#gate = gate
    this.#onStuck = options.onStuck ?? (() => {})
    this.#longestRetry = options.longestRetry ?? timing.resyncRetryMax
  }

  /** Milliseconds after which a failed reading is tried again. */
  get retryMs (): number {
    return Math.min(timing.resyncRetry * 2 ** Math.max(0, this.#failures - 1), this.#longestRetry)
  }

  /** Where the log ends, and where its last `count` events begin. Rejects where it can't be read. */
  async ends (count: number): Promise<LogPage> {
    try {
      return await this.#log.read(this.#channel, undefined, count, 0)
    } catch (error) {
      throw this.#failed(error as Error)
    }
  }

  /** At most so many bytes after a cursor, or of the last events. Rejects where it can't be read. */
  async read (after: Cursor | undefined, bytes: number, limit = EVENTS): Promise<LogPage> {
    const smaller = SHRINK ** Math.min(this.#failures, SMALLEST)
    const asked = Math.ceil(bytes / smaller)
    const weight = this.#failures <= SMALLEST ? asked : Infinity
    const entered = this.#gate.enter(weight)
    // Without an `await` where there is nothing to wait for: who listens in one process is in sync all the sooner.
    if (entered !== undefined) await entered
    let page: LogPage
    try {
      page = await this.#log.read(this.#channel, after, Math.ceil(limit / smaller), asked)
    } catch (error) {
      this.#gate.leave(weight)
      throw this.#failed(error as Error)
    }
    this.#gate.leave(weight)
    if (this.#failures > 0) this.#succeeded(page)
    return page
  }

  #succeeded (page: LogPage): void {
    if (isAtEnd(page)) this.#failures = 0
    else if (++this.#successes === RECOVERY) this.#failures--
    else return
    this.#successes = 0
  }

  #failed (error: Error): Error {
    this.#successes = 0
    // No later one says more.
    if (this.#failures++ === SMALLEST) this.#onStuck(error)
    return error
  }
}

function isAtEnd ({ head, entries }: LogPage): boolean {
  return (entries.at(-1)?.position.offset ?? head.offset) === head.offset
}
