import { budgets } from '../core/budgets.ts'

/** How many messages are held at most. */
const MOST = 1_000

/** Messages that arrive while something is read. If there are too many, all are dropped and have to be read, too. */
export class HeldBuffer<T> {
  #held: T[] = []
  #bytes = 0

  /** The oldest message. */
  get first (): T | undefined {
    return this.#held[0]
  }

  /** Holds a message of about so many bytes. Returns false where all were dropped. */
  add (message: T, bytes: number): boolean {
    this.#held.push(message)
    this.#bytes += bytes
    if (this.#held.length <= MOST && this.#bytes <= budgets.held) return true
    this.take()
    return false
  }

  /** Returns all messages in their order, and holds none any more. */
  take (): T[] {
    const held = this.#held
    this.#held = []
    this.#bytes = 0
    return held
  }
}
