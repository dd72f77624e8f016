export type Listener<Args extends readonly unknown[]> = (...args: Args) => unknown

interface Entry<Args extends readonly unknown[]> {
  listener: Listener<Args>
  /** The function to call. */
  call: Listener<Args>
}

const NONE: readonly never[] = []

/**
 * A set of listeners, called one after another. If a listener throws or its promise rejects, the error is reported and
 * the other listeners are still called.
 */
export class ListenerSet<Args extends readonly unknown[]> {
  /** Replaced by each change, so that a notification in progress goes through the listeners that it began with. */
  #entries: readonly Entry<Args>[] = NONE
  readonly #report: (error: unknown, key: string) => void
  readonly #key: string

  /** `report` gets the errors, with the key of a set of a `ListenerMap`. */
  constructor (report: (error: unknown, key: string) => void, key = '') {
    this.#report = report
    this.#key = key
  }

  get size (): number {
    return this.#entries.length
  }

  /**
   * Adds a listener, unless it was added before. If `call` is given, it is called instead of the listener. Returns a
   * function that removes the listener.
   */
  add (listener: Listener<Args>, call = listener): () => void {
    const isNew = this.#entries.every((entry) => entry.listener !== listener)
    if (isNew) this.#entries = this.#entries.concat({ listener, call })
    return () => this.delete(listener)
  }

  delete (listener: Listener<Args>): void {
    this.#entries = this.#entries.filter((entry) => entry.listener !== listener)
  }

  clear (): void {
    this.#entries = NONE
  }

  /** Calls the listeners that are in the set now, except those that are removed meanwhile. */
  notify (...args: Args): void {
    const entries = this.#entries
    // Searches only after a change: otherwise the time would grow with the square of the listeners.
    for (const entry of entries) {
      if (this.#entries === entries || this.#entries.includes(entry)) this.#call(entry.call, args)
    }
  }

  #call (call: Listener<Args>, args: Args): void {
    try {
      const result = call(...args) as Partial<PromiseLike<unknown>> | undefined | null
      if (typeof result?.then === 'function') result.then(undefined, (error) => this.#report(error, this.#key))
    } catch (error) {
      this.#report(error, this.#key)
    }
  }
}

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

  keys (): string[] {
    return [...this.#sets.keys()]
  }

  /** Adds a listener. Returns a function that removes it. */
  add (key: string, listener: Listener<Args>): () => void {
    const set = this.#sets.get(key) ?? new ListenerSet(this.#report, key)
    this.#sets.set(key, set)
    set.add(listener)
    return () => {
      set.delete(listener)
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
