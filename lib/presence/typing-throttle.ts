import { timing } from '../core/timing.ts'

/** The most users that are remembered. Beyond it the oldest are forgotten, so one redundant event may be published. */
const MOST_PUBLISHED = 10_000

/** Throttles typing events: admits one per interval for each user of a chat, and each change at once. */
export class TypingThrottle {
  /** The last admitted value of each user, in the order of admission. */
  readonly #published = new Map<string, { typing: boolean, at: number }>()

  /** Whether the event shall be published; if so, it counts as published. `now` is a monotonic time in milliseconds. */
  admits (chatId: string, user: string, typing: boolean, now = performance.now()): boolean {
    this.#forget(now)
    const key = JSON.stringify([chatId, user])
    if (this.#published.get(key)?.typing === typing) return false
    this.#published.delete(key)
    this.#published.set(key, { typing, at: now })
    return true
  }

  #forget (now: number): void {
    for (const [key, { at }] of this.#published) {
      if (now - at < timing.typingThrottle && this.#published.size < MOST_PUBLISHED) return
      this.#published.delete(key)
    }
  }
}
