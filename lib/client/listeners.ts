import { notifyEach } from '../core/listeners.ts'

/** Options of a listener. */
export interface ListenOptions {
  /** Removes the listener when it aborts, as the returned function does. */
  signal?: AbortSignal | undefined
}

type Listener<Args extends readonly unknown[]> = (...args: Args) => unknown

/**
 * Listeners, called one after another. If one throws or its promise rejects, the error is reported and the other ones
 * are still called.
 */
export interface Listeners<Args extends readonly unknown[]> {
  /** Adds a listener, unless it was added before. Returns a function that removes it. */
  add (listener: Listener<Args>, options?: ListenOptions): () => void
  /** Calls the listeners that are added now, except those that are removed meanwhile. */
  notify (...args: Args): void
}

export function createListeners<Args extends readonly unknown[]> (): Listeners<Args> {
  const listeners = new Set<Listener<Args>>()
  return {
    add (listener, { signal } = {}) {
      const remove = (): void => { listeners.delete(listener) }
      listeners.add(listener)
      whenAborted(signal, remove)
      return remove
    },
    notify: (...args) => notifyEach(listeners, (listener) => listener(...args), reportError)
  }
}

/** Reports the error of a listener as an uncaught error, after the other listeners have been called. */
export function reportError (error: unknown): void {
  queueMicrotask(() => { throw error })
}

/** Calls `act` when the signal aborts, at once if it has aborted. */
export function whenAborted (signal: AbortSignal | undefined, act: () => void): void {
  if (signal?.aborted) act()
  // Node keeps a signal of `AbortSignal.any`, also once it has aborted, as long as it has a listener.
  else signal?.addEventListener('abort', act, { once: true })
}
