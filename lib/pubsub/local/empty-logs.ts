import { RepeatingTimer } from '../../core/repeating-timer.ts'
import { newEpoch } from '../cursor.ts'
import { timing } from '../../core/timing.ts'

/**
 * The epochs of logs without an event. Readers of such a log hold a position in it, so its epoch must stay the same.
 * An epoch that is not asked for any more is forgotten after a while.
 */
export class EmptyLogs {
  /** Ordered by the last call of `keep`, the oldest first. */
  readonly #logs = new Map<string, { epoch: string, until: number }>()
  readonly #sweep = new RepeatingTimer(timing.emptyLog, () => this.#forget())

  has (channel: string): boolean {
    return this.#logs.has(channel)
  }

  /** Returns the epoch of a channel's log, a new one if there is none, and keeps it for a while from now on. */
  keep (channel: string): string {
    const epoch = this.take(channel)
    this.#logs.set(channel, { epoch, until: Date.now() + timing.emptyLog })
    this.#sweep.start()
    return epoch
  }

  /** Returns the epoch of a channel's log, a new one if there is none, and stops keeping it. */
  take (channel: string): string {
    const epoch = this.#logs.get(channel)?.epoch ?? newEpoch()
    this.#logs.delete(channel)
    return epoch
  }

  clear (): void {
    this.#sweep.stop()
    this.#logs.clear()
  }

  #forget (): void {
    const now = Date.now()
    for (const [channel, { until }] of this.#logs) {
      if (until > now) return
      this.#logs.delete(channel)
    }
    this.clear()
  }
}
