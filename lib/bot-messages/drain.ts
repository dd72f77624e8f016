import type { BotMessageFollower } from './follower.ts'
import type { BotMessageWriters } from './writers.ts'

interface DrainContext {
  writers: BotMessageWriters
  /** Passes all events of a chat to the streams of this instance. */
  syncChat (chatId: string): Promise<void>
}

/** Lets the bot messages of a closing app end, and their readers on this instance get the end. */
export class Drain {
  readonly #context: DrainContext
  /** They serve bot messages that this instance produces. */
  readonly #followers = new Set<BotMessageFollower>()

  constructor (context: DrainContext) {
    this.#context = context
  }

  /** Adds a follower that is to reach the end of its bot message. */
  add (follower: BotMessageFollower): void {
    this.#followers.add(follower)
    follower.whenClosed.then(() => this.#followers.delete(follower))
  }

  /** Resolves once all have the end, at the latest after `ms`. Bot messages that start meanwhile may end, too. */
  async run (ms: number): Promise<void> {
    if (this.#context.writers.size === 0) return
    await new Promise<void>((resolve) => {
      // It keeps the process alive: otherwise a process without a server would exit in the middle of closing.
      const timer = setTimeout(resolve, ms)
      this.#whenDone().then(() => { clearTimeout(timer); resolve() })
    })
  }

  async #whenDone (): Promise<void> {
    const chatIds = await this.#context.writers.whenIdle()
    // The broadcast of an end may be under way.
    await Promise.all([...chatIds].map((chatId) => this.#context.syncChat(chatId)))
    await Promise.all([...this.#followers].map(({ whenClosed }) => whenClosed))
  }
}
