/** Options of a listener. */
export interface ListenOptions {
  /** Removes the listener when it aborts, as the returned function does. */
  signal?: AbortSignal | undefined
}

/** A set of listeners. If one throws, the error is reported as an uncaught error and the other listeners still run. */
export class ListenerSet<Args extends readonly unknown[]> {
  readonly #all = new Set<(...args: Args) => unknown>()

  add (listener: (...args: Args) => unknown, { signal }: ListenOptions = {}): () => void {
    const unsubscribe = (): void => { this.#all.delete(listener) }
    this.#all.add(listener)
    whenAborted(signal, unsubscribe)
    return unsubscribe
  }

  notify (...args: Args): void {
    for (const listener of [...this.#all]) {
      try {
        listener(...args)
      } catch (error) {
        queueMicrotask(() => { throw error })
      }
    }
  }
}

export function whenAborted (signal: AbortSignal | undefined, act: () => void): void {
  if (signal?.aborted === true) act()
  else signal?.addEventListener('abort', act, { once: true })
}
