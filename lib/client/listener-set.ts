/** What listening may be given along. */
export interface ListenOptions {
  /** Ends it, as the returned undo does. */
  signal?: AbortSignal | undefined
}

/** Functions that are told of something. One that throws is reported as any uncaught error is, and stops no other. */
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
