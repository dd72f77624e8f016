import { ListenerSet, type Listener } from './listener-set.ts'

/** Listeners by key, such as a channel. A key without listeners takes no memory. */
export class ListenerMap<Args extends readonly unknown[]> {
  readonly #sets = new Map<string, ListenerSet<Args>>()
  readonly #report: (error: unknown, key: string) => void

  constructor (report: (error: unknown, key: string) => void) {
    this.#report = report
  }

  /** The number of keys. */
  get size (): number {
    return this.#sets.size
  }

  get (key: string): ListenerSet<Args> | undefined {
    return this.#sets.get(key)
  }

  /** Adds a listener. Returns a function that removes it. */
  add (key: string, listener: Listener<Args>): () => void {
    const set = this.#sets.get(key) ?? new ListenerSet((error) => this.#report(error, key))
    this.#sets.set(key, set)
    const remove = set.add(listener)
    return () => {
      remove()
      // Another set of the same key may have replaced this one.
      if (set.size === 0 && this.#sets.get(key) === set) this.#sets.delete(key)
    }
  }

  notify (key: string, ...args: Args): void {
    this.#sets.get(key)?.notify(...args)
  }

  /** Removes all listeners, including those that a notification in progress has not reached yet. */
  clear (): void {
    for (const set of this.#sets.values()) set.clear()
    this.#sets.clear()
  }
}
