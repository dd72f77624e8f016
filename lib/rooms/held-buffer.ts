import { budgets } from '../core/budgets.ts'

/** Maximum number of messages in the buffer. */
const MAX_MESSAGES = 1_000

/**
 * Holds messages that arrive while the log or state that they belong to is read. If it overflows, it drops all of them,
 * and its owner must read again.
 */
export class HeldBuffer<T> {
  /** `undefined` if there is none, as most of the time. */
  #messages: T[] | undefined
  #bytes = 0

  /** The oldest message. */
  get first (): T | undefined {
    return this.#messages?.[0]
  }

  /** Adds a message of about `bytes` bytes. Returns false if the buffer overflowed and all messages were dropped. */
  add (message: T, bytes: number): boolean {
    const messages = this.#messages ??= []
    messages.push(message)
    this.#bytes += bytes
    if (messages.length <= MAX_MESSAGES && this.#bytes <= budgets.held) return true
    this.takeAll()
    return false
  }

  /** Returns all messages in order and empties the buffer. */
  takeAll (): T[] {
    const messages = this.#messages ?? []
    this.#messages = undefined
    this.#bytes = 0
    return messages
  }
}
