export type Listener<Args extends readonly unknown[]> = (...args: Args) => unknown

/**
 * A set of listeners, called one after another. If a listener throws or its promise rejects, the error is reported and
 * the other listeners are still called. Used in browsers, too.
 */
export class ListenerSet<Args extends readonly unknown[]> {
  /** Maps each listener to the function that calls it. */
  readonly #listeners = new Map<Listener<Args>, Listener<Args>>()
  readonly #report: (error: unknown) => void

  constructor (report: (error: unknown) => void) {
    this.#report = report
  }

  get size (): number {
    return this.#listeners.size
  }

  /**
   * Adds a listener, unless it was added before. If `call` is given, it is called instead of the listener. Returns a
   * function that removes the listener.
   */
  add (listener: Listener<Args>, call = listener): () => void {
    if (!this.#listeners.has(listener)) this.#listeners.set(listener, call)
    return () => this.delete(listener)
  }

  delete (listener: Listener<Args>): void {
    this.#listeners.delete(listener)
  }

  clear (): void {
    this.#listeners.clear()
  }

  /** Calls the listeners that are in the set now, except those that are removed meanwhile. */
  notify (...args: Args): void {
    // Iterates over a copy: otherwise a listener that removes and adds itself would be called endlessly.
    for (const [listener, call] of [...this.#listeners]) {
      if (this.#listeners.has(listener)) this.#call(call, args)
    }
  }

  #call (call: Listener<Args>, args: Args): void {
    try {
      const result = call(...args) as Partial<PromiseLike<unknown>> | undefined | null
      if (typeof result?.then === 'function') result.then(undefined, this.#report)
    } catch (error) {
      this.#report(error)
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
