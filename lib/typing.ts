import { timing } from './options.ts'

/** Of how many users at a time it is remembered. Of more, the oldest are told once more than they need be. */
const MOST_TOLD = 10_000

/** Lets one sign of typing in so many milliseconds through for each user of a chat, and each change of it at once. */
export class TypingThrottle {
  /** In the order in which they were told. */
  readonly #told = new Map<string, { typing: boolean, at: number }>()

  /** Whether it shall be told; then it counts as told. `now` is milliseconds of a clock that never goes back. */
  admits (chatId: string, user: string, typing: boolean, now = performance.now()): boolean {
    this.#forget(now)
    const key = JSON.stringify([chatId, user])
    if (this.#told.get(key)?.typing === typing) return false
    this.#told.delete(key)
    this.#told.set(key, { typing, at: now })
    return true
  }

  #forget (now: number): void {
    for (const [key, { at }] of this.#told) {
      if (now - at < timing.typingThrottle && this.#told.size < MOST_TOLD) return
      this.#told.delete(key)
    }
  }
}
