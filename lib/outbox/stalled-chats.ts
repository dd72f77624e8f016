import { timing } from '../core/timing.ts'
import { delayAfter } from './backoff.ts'

/** Most chats that are retried one by one. If there are more, all chats wait. */
const MOST = 1_000

interface Stall { failures: number, retryAt: number }

/** The chats whose last publish failed, each with the time at which it is tried again. Times are monotonic. */
export class StalledChats {
  readonly #chats = new Map<string, Stall>()

  fail (chat: string): void {
    const failures = (this.#chats.get(chat)?.failures ?? 0) + 1
    this.#chats.set(chat, { failures, retryAt: performance.now() + delayAfter(failures) })
  }

  recover (chat: string): void {
    this.#chats.delete(chat)
  }

  /** The chats whose time has not come. Forgets those that were due long ago: they have no rows any more. */
  waiting (): string[] {
    const now = performance.now()
    for (const [chat, { retryAt }] of this.#chats) {
      if (retryAt + timing.outboxRetryMax < now) this.#chats.delete(chat)
    }
    return [...this.#chats].filter(([, { retryAt }]) => retryAt > now).map(([chat]) => chat)
  }

  /** Whether so many chats wait that no other is worth a try. */
  get isFull (): boolean {
    return this.#chats.size >= MOST && this.waiting().length >= MOST
  }

  /** Milliseconds until the next chat is tried again; `Infinity` if none waits. */
  get retryMs (): number {
    const now = performance.now()
    let next = Infinity
    for (const { retryAt } of this.#chats.values()) if (retryAt > now && retryAt < next) next = retryAt
    return next - now
  }
}
