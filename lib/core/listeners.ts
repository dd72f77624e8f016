/**
 * Calls the listeners of a set one after another: those that are in it now, except those that are removed meanwhile. If
 * a call throws or its promise rejects, the error is reported, and the other listeners are still called.
 */
export function notifyEach<Listener> (
  listeners: ReadonlySet<Listener>, call: (listener: Listener) => unknown, report: (error: unknown) => void
): void {
  // Iterates over a copy: otherwise a listener that removes and adds itself would be called endlessly.
  for (const listener of [...listeners]) {
    if (!listeners.has(listener)) continue
    try {
      const result = call(listener) as Partial<PromiseLike<unknown>> | undefined | null
      result?.then?.(undefined, report)
    } catch (error) {
      report(error)
    }
  }
}

/** Listeners by key, such as a channel. A key without listeners takes no memory. */
export class ListenerMap<Listener> {
  readonly #sets = new Map<string, Set<Listener>>()
  readonly #report: (error: unknown, key: string) => void

  /** `report` gets the errors of listeners. */
  constructor (report: (error: unknown, key: string) => void) {
    this.#report = report
  }

  /** The number of keys. */
  get size (): number {
    return this.#sets.size
  }

  get (key: string): ReadonlySet<Listener> | undefined {
    return this.#sets.get(key)
  }

  keys (): string[] {
    return [...this.#sets.keys()]
  }

  /** Adds a listener, unless its key has it already. Returns a function that removes it. */
  add (key: string, listener: Listener): () => void {
    const set = this.#sets.get(key) ?? new Set()
    this.#sets.set(key, set)
    set.add(listener)
    return () => {
      set.delete(listener)
      // Another set of the same key may have replaced this one.
      if (set.size === 0 && this.#sets.get(key) === set) this.#sets.delete(key)
    }
  }

  /** Calls the listeners of a key, as `notifyEach` does. */
  notify (key: string, call: (listener: Listener) => unknown): void {
    const set = this.#sets.get(key)
    if (set !== undefined) notifyEach(set, call, (error) => this.#report(error, key))
  }

  /** Removes all listeners, including those that a notification in progress has not reached yet. */
  clear (): void {
    for (const set of this.#sets.values()) set.clear()
    this.#sets.clear()
  }
}
