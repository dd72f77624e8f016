/**
 * Processes items in the order in which they were added, with limited concurrency. Adding an item that is already
 * waiting has no effect.
 */
export class LimitedQueue<T> {
  readonly #waiting = new Set<T>()
  readonly #limit: number
  readonly #work: (item: T) => Promise<void>
  #running = 0

  /** `work` must not reject. */
  constructor (limit: number, work: (item: T) => Promise<void>) {
    this.#limit = limit
    this.#work = work
  }

  add (item: T): void {
    this.#waiting.add(item)
    this.#next()
  }

  delete (item: T): void {
    this.#waiting.delete(item)
  }

  #next (): void {
    for (const item of this.#waiting) {
      if (this.#running >= this.#limit) return
      this.#waiting.delete(item)
      this.#running++
      this.#work(item).then(() => {
        this.#running--
        this.#next()
      })
    }
  }
}
