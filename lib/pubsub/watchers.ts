import type { StateChange } from './state-store.ts'

type Watcher = (change: StateChange) => void

/** Who is told of the changes of which channel's state. */
export class Watchers {
  readonly #channels = new Map<string, Set<Watcher>>()

  /** Returns its undo. */
  add (channel: string, watcher: Watcher): () => void {
    const watchers = this.#channels.get(channel) ?? new Set()
    this.#channels.set(channel, watchers.add(watcher))
    return () => {
      watchers.delete(watcher)
      if (watchers.size === 0 && this.#channels.get(channel) === watchers) this.#channels.delete(channel)
    }
  }

  tell (channel: string, change: StateChange): void {
    for (const watcher of this.#channels.get(channel) ?? []) watcher(change)
  }
}
