import { randomUUID } from 'node:crypto'
import { RepeatingTimer } from '../core/repeating-timer.ts'
import { timing } from '../core/timing.ts'
import type { Database } from './database.ts'

/** The right to publish the rows of an outbox. One relay at a time has it. */
export class Lease {
  readonly #owner = randomUUID()
  readonly #database: Database
  readonly #ms: number
  readonly #renewal: RepeatingTimer
  /** Until when this relay surely has it, by `performance.now()`. */
  #until = 0
  /** When it may be asked for again, by `performance.now()`. */
  #next = 0
  /** The latest request for it. */
  #claiming: Promise<boolean> | undefined

  constructor (database: Database, ms: number) {
    this.#database = database
    this.#ms = ms
    // A failed renewal shows when the lease has run out.
    this.#renewal = new RepeatingTimer(ms / 3, () => { this.#claim().catch(() => {}) })
  }

  /** Whether this relay has it. If this process was suspended for longer than it lasts, another relay may have it. */
  get isHeld (): boolean {
    return performance.now() < this.#until
  }

  /**
   * Takes it if it is free. Resolves with 0 if this relay has it, otherwise with the milliseconds to wait before the
   * next attempt. Rejects if the database does.
   */
  async take (): Promise<number> {
    if (this.isHeld) return 0
    this.#renewal.stop()
    const now = performance.now()
    if (now < this.#next) return this.#next - now
    this.#next = now + Math.min(timing.outboxStandby, this.#ms / 2)
    if (!await this.#claim()) return this.#ms / 2 * (1 + Math.random() / 2)
    // It may have been released meanwhile.
    if (this.isHeld) this.#renewal.start()
    return 0
  }

  /** Lets another relay take it at once. */
  async release (): Promise<void> {
    this.#renewal.stop()
    // A renewal that reaches the database after the release would take it again.
    await this.#claiming?.catch(() => {})
    if (!this.isHeld) return
    this.#until = 0
    await this.#database.release(this.#owner)
  }

  async #claim (): Promise<boolean> {
    // Counted from before the request, so that it never ends here later than in the database.
    const until = performance.now() + this.#ms
    this.#claiming = this.#database.claim(this.#owner, this.#ms)
    const isTaken = await this.#claiming
    this.#until = isTaken ? until : 0
    return isTaken
  }
}
