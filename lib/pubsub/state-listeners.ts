import type { StateChange } from './state-store.ts'

type StateListener = (change: StateChange) => void

/** The listeners for state changes, by channel. */
export class StateListeners {
  readonly #channels = new Map<string, Set<StateListener>>()

  /** Adds a listener. Returns a function that removes it. */
  add (channel: string, listener: StateListener): () => void {
    const listeners = this.#channels.get(channel) ?? new Set()
    this.#channels.set(channel, listeners.add(listener))
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0 && this.#channels.get(channel) === listeners) this.#channels.delete(channel)
    }
  }

  notify (channel: string, change: StateChange): void {
    for (const listener of this.#channels.get(channel) ?? []) listener(change)
  }
}
