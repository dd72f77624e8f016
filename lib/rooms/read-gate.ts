import { LinkedList, type Linked } from '../core/linked-list.ts'

interface Waiting extends Linked<Waiting> {
  bytes: number
  enter (): void
}

/**
 * Lets so many bytes be read at the same time, over all chats of an instance, first come first served. So much waits in
 * Redis, and on the way, however many clients reconnect at once.
 */
export class ReadGate {
  readonly #limit: number
  #free: number
  readonly #waiting = new LinkedList<Waiting>()

  constructor (limit: number) {
    this.#limit = this.#free = limit
  }

  /** Begins to read so many bytes; too many are read alone. Returns nothing where it need not wait. */
  enter (bytes: number): Promise<void> | undefined {
    const wanted = Math.min(bytes, this.#limit)
    if (this.#waiting.size === 0 && wanted <= this.#free) {
      this.#free -= wanted
      return undefined
    }
    return new Promise((resolve) => { this.#waiting.add({ bytes: wanted, enter: resolve }) })
  }

  /** Says that what was entered with so many bytes was read, or could not be. */
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
