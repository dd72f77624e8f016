import type { Listener, ListenerSet } from '../core/listener-set.ts'

/** Options of a listener. */
export interface ListenOptions {
  /** Removes the listener when it aborts, as the returned function does. */
  signal?: AbortSignal | undefined
}

/** Adds a listener. Returns a function that removes it. */
export function listen<Args extends readonly unknown[]> (
  listeners: ListenerSet<Args>, listener: Listener<Args>, { signal }: ListenOptions = {}
): () => void {
  const remove = listeners.add(listener)
  whenAborted(signal, remove)
  return remove
}

/** Reports the error of a listener as an uncaught error, after the other listeners have been called. */
export function reportError (error: unknown): void {
  queueMicrotask(() => { throw error })
}

export function whenAborted (signal: AbortSignal | undefined, act: () => void): void {
  if (signal?.aborted) act()
  else signal?.addEventListener('abort', act, { once: true })
}
