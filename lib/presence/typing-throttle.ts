import { timing } from '../core/timing.ts'

/** Of how many users at a time it is remembered. Of more, the oldest are told once more than they need be. */
const MOST_PUBLISHED = 10_000

/** Lets one sign of typing in so many milliseconds through for each user of a chat, and each change of it at once. */
export class TypingThrottle {
  /** In the order in which they were told. */
  readonly #published = new Map<string, { typing: boolean, at: number }>()

  /** Whether it shall be told; then it counts as told. `now` is milliseconds of a clock that never goes back. */
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
