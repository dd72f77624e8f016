import type { Cursor } from '../pubsub/cursor.ts'
import type { ReadGate } from './read-gate.ts'
import { timing } from '../core/timing.ts'
import type { EventLog, LogPage } from '../pubsub/event-log.ts'

/** Maximum number of events per page. */
const PAGE_EVENTS = 500

/** Each failure divides the size of the next page by this number. */
const SHRINK = 32

/** After this many failures, pages are not made smaller: a page of `PAGE_EVENTS` is one event by then. */
const FAILURES_UNTIL_SMALLEST = 2

/** After this many successful pages in a row, pages grow again: one failure less is counted. */
const RECOVERY = 32

export interface LogPagesOptions {
  /** Called when not even one event could be read; again only after reads have succeeded in between. */
  onStuck? (error: Error): void
  /** The longest wait before a failed read is retried, in milliseconds. @default 15_000 */
  longestRetry?: number
}

/**
 * Reads the log of one chat, page by page. A page that could not be read may have been too large for Redis or for the
 * time limit. So the next read asks for less, down to one event. If that fails too, it asks for one event while no
 * other read runs.
 */
export class LogPages {
  readonly #channel: string
  readonly #log: EventLog
  readonly #gate: ReadGate
  readonly #options: LogPagesOptions
  /** Recent failures. A page that reaches the end of the log resets them. */
  #failures = 0
  /** Successful pages since the last failure, counted while there are recent failures. */
  #successes = 0

  constructor (channel: string, log: EventLog, gate: ReadGate, options: LogPagesOptions = {}) {
    this.#channel = channel
    this.#log = log
    this.#gate = gate
    this.#options = options
  }

  /** Milliseconds after which a failed read is retried. */
  get retryMs (): number {
    const { longestRetry = timing.resyncRetryMax } = this.#options
    return Math.min(timing.resyncRetry * 2 ** Math.max(0, this.#failures - 1), longestRetry)
  }

  /**
   * Reads no events, only the head of the log and in `start` the position before its last `count` events. Rejects if
   * the log can't be read.
   */
  async readBounds (count: number): Promise<LogPage> {
    try {
      return await this.#log.read(this.#channel, undefined, count, 0)
    } catch (error) {
      throw this.#failed(error as Error)
    }
  }

  /**
   * Reads at most `bytes` bytes after a cursor, or of the last events if there is no cursor. Rejects if the log can't
   * be read.
   */
  async read (after: Cursor | undefined, bytes: number, limit = PAGE_EVENTS): Promise<LogPage> {
    const divisor = SHRINK ** Math.min(this.#failures, FAILURES_UNTIL_SMALLEST)
    const maxBytes = Math.ceil(bytes / divisor)
    // `Infinity` reserves all bytes, so that no other read runs.
    const reserved = this.#failures <= FAILURES_UNTIL_SMALLEST ? maxBytes : Infinity
    const events = Math.ceil(limit / divisor)
    let page: LogPage
    try {
      page = await this.#gate.runWhenFree(reserved, () => this.#log.read(this.#channel, after, events, maxBytes))
    } catch (error) {
      throw this.#failed(error as Error)
    }
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
    // Report only the first failure of a read of one event: later ones add no information.
    if (this.#failures++ === FAILURES_UNTIL_SMALLEST) this.#options.onStuck?.(error)
    return error
  }
}

function isAtEnd ({ head, entries }: LogPage): boolean {
  return (entries.at(-1)?.position.offset ?? head.offset) === head.offset
}
