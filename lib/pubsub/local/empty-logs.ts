import { RepeatingTimer } from '../../core/repeating-timer.ts'
import { newEpoch } from '../cursor.ts'
import { timing } from '../../core/timing.ts'

/**
 * The epochs of logs without events. Readers hold a position in such a log, so its epoch must stay the same. An epoch
 * that is not requested for a while is removed.
 */
export class EmptyLogs {
  /** Ordered by the last call of `keep`, the oldest first. */
  readonly #epochs = new Map<string, { epoch: string, until: number }>()
  readonly #sweep = new RepeatingTimer(timing.emptyLog, () => this.#removeExpired())

  has (channel: string): boolean {
    return this.#epochs.has(channel)
  }

  /** Returns the epoch of a channel's log, or a new one if there is none. Keeps it for a while from now on. */
  keep (channel: string): string {
    const epoch = this.take(channel)
    this.#epochs.set(channel, { epoch, until: Date.now() + timing.emptyLog })
    this.#sweep.start()
    return epoch
  }

  /** Returns the epoch of a channel's log, or a new one if there is none. Does not keep it any longer. */
  take (channel: string): string {
    const epoch = this.#epochs.get(channel)?.epoch ?? newEpoch()
    this.#epochs.delete(channel)
    return epoch
  }

  clear (): void {
    this.#sweep.stop()
    this.#epochs.clear()
  }

  #removeExpired (): void {
    const now = Date.now()
    for (const [channel, { until }] of this.#epochs) {
      if (until > now) return
      this.#epochs.delete(channel)
    }
    this.clear()
  }
}
