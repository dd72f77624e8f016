import { timing } from '../core/timing.ts'

/** Maximum number of remembered events. Beyond it the oldest are forgotten; each may then be published once more. */
const MAX_REMEMBERED = 10_000

/** Throttles typing events: for each user of a chat, admits each change at once and repetitions once per interval. */
export class TypingThrottle {
  /** The last admitted value of each user, in the order of admission. */
  readonly #admitted = new Map<string, { typing: boolean, at: number }>()

  /** Returns whether the event is to be published; if so, remembers it. `now` is a monotonic time in milliseconds. */
  admits (chatId: string, user: string, typing: boolean, now = performance.now()): boolean {
    this.#forget(now)
    const key = JSON.stringify([chatId, user])
    if (this.#admitted.get(key)?.typing === typing) return false
    // Deleted first, so that the entry moves to the end of the map.
    this.#admitted.delete(key)
    this.#admitted.set(key, { typing, at: now })
    return true
  }

  #forget (now: number): void {
    for (const [key, { at }] of this.#admitted) {
      if (now - at < timing.typingThrottle && this.#admitted.size < MAX_REMEMBERED) return
      this.#admitted.delete(key)
    }
  }
}
