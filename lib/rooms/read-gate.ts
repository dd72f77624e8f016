import { LinkedList, type Linked } from '../core/linked-list.ts'
import { promiseTry } from '../core/promise-try.ts'

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

  /**
   * Calls `read` once its bytes are free, and returns what it returns. A read larger than the limit runs alone. Without
   * a wait, no turn is added: a listener in the process of the log is then in sync earlier.
   */
  run<T> (bytes: number, read: () => Promise<T>): Promise<T> {
    const wanted = Math.min(bytes, this.#limit)
    if (this.#waiting.size > 0 || wanted > this.#free) {
      return new Promise<void>((resolve) => { this.#waiting.add({ bytes: wanted, enter: resolve }) })
        .then(() => this.#start(wanted, read))
    }
    this.#free -= wanted
    return this.#start(wanted, read)
  }

  #start<T> (bytes: number, read: () => Promise<T>): Promise<T> {
    const reading = promiseTry(read)
    const leave = (): void => this.#leave(bytes)
    // Added before the caller's callbacks, so that the bytes are free when the caller continues.
    reading.then(leave, leave)
    return reading
  }

  #leave (bytes: number): void {
    this.#free += bytes
    for (const next of this.#waiting) {
      if (next.bytes > this.#free) return
      this.#waiting.delete(next)
      this.#free -= next.bytes
      next.enter()
    }
  }
}
