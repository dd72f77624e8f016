import { budgets } from '../core/budgets.ts'

/** Maximum number of messages in the buffer. */
const MAX_MESSAGES = 1_000

/**
 * Buffers messages that arrive during a read. If it overflows, it drops all of them, and the caller must read again.
 */
export class HeldBuffer<T> {
  #held: T[] = []
  #bytes = 0

  /** The oldest message. */
  get first (): T | undefined {
    return this.#held[0]
  }

  /** Adds a message of about `bytes` bytes. Returns false if the buffer overflowed and all messages were dropped. */
  add (message: T, bytes: number): boolean {
    this.#held.push(message)
    this.#bytes += bytes
    if (this.#held.length <= MAX_MESSAGES && this.#bytes <= budgets.held) return true
    this.take()
    return false
  }

  /** Returns all messages in order and empties the buffer. */
  take (): T[] {
    const held = this.#held
    this.#held = []
    this.#bytes = 0
    return held
  }
}
