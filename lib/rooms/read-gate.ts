import { LinkedList, type Linked } from '../core/linked-list.ts'

interface Waiting extends Linked<Waiting> {
  bytes: number
  enter (): void
}

/**
 * Limits the bytes that all chats of an instance read at the same time, first come, first served. It bounds the data
 * buffered in Redis and in transit, however many clients reconnect at once.
 */
export class ReadGate {
  readonly #limit: number
  #free: number
  readonly #waiting = new LinkedList<Waiting>()

  constructor (limit: number) {
    this.#limit = this.#free = limit
  }

  /** Reserves bytes for a read. A read larger than the limit runs alone. Returns `undefined` if it need not wait. */
  enter (bytes: number): Promise<void> | undefined {
    const wanted = Math.min(bytes, this.#limit)
    if (this.#waiting.size === 0 && wanted <= this.#free) {
      this.#free -= wanted
      return undefined
    }
    return new Promise((resolve) => { this.#waiting.add({ bytes: wanted, enter: resolve }) })
  }

  /** Releases the bytes of a read that has ended, successfully or not. `bytes` must be the value passed to `enter`. */
  leave (bytes: number): void {
    this.#free += Math.min(bytes, this.#limit)
    for (const next of this.#waiting) {
      if (next.bytes > this.#free) return
      this.#waiting.delete(next)
      this.#free -= next.bytes
      next.enter()
    }
  }
}
