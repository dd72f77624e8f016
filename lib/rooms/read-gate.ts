import { LinkedList, type Linked } from '../core/linked-list.ts'
import { promiseTry } from '../core/promise-try.ts'

/** A read that waits for its bytes. */
interface WaitingRead extends Linked<WaitingRead> {
  bytes: number
  /** Starts the read. */
  start (): void
}

/**
 * Limits the bytes that all chats of an instance read at the same time, so that the replies that Redis buffers stay
 * bounded, however many clients reconnect at once. Reads start in the order in which they were requested.
 */
export class ReadGate {
  readonly #limit: number
  #freeBytes: number
  readonly #waiting = new LinkedList<WaitingRead>()

  constructor (limit: number) {
    this.#limit = this.#freeBytes = limit
  }

  /**
   * Calls `read` once `bytes` bytes are free, and settles as it does. A read larger than the limit runs alone. If the
   * bytes are free, calls `read` at once: with a log in this process, a room is then in sync before a publish of the
   * same turn resolves.
   */
  runWhenFree<T> (bytes: number, read: () => Promise<T>): Promise<T> {
    const reserved = Math.min(bytes, this.#limit)
    if (this.#waiting.size > 0 || reserved > this.#freeBytes) {
      return new Promise<void>((resolve) => { this.#waiting.add({ bytes: reserved, start: resolve }) })
        .then(() => this.#run(reserved, read))
    }
    this.#freeBytes -= reserved
    return this.#run(reserved, read)
  }

  /** Runs a read whose bytes are reserved, and frees them at its end. */
  #run<T> (reserved: number, read: () => Promise<T>): Promise<T> {
    const reading = promiseTry(read)
    const release = (): void => this.#release(reserved)
    // Added before the caller's callbacks, so that the bytes are free when the caller continues.
    reading.then(release, release)
    return reading
  }

  #release (bytes: number): void {
    this.#freeBytes += bytes
    for (const next of this.#waiting) {
      if (next.bytes > this.#freeBytes) return
      this.#waiting.delete(next)
      this.#freeBytes -= next.bytes
      next.start()
    }
  }
}
