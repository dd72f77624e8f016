import type { Locks } from '../../lib/client/tab-leader.ts'

interface Held {
  /** Takes the lock away: the promise of the request that has it rejects. */
  break (): void
  released: Promise<unknown>
}

/** Web Locks, which Node does not have. A lock has one holder at a time, in the order of requests, or a thief. */
export class FakeLocks implements Locks {
  readonly #held = new Map<string, Held>()
  readonly #queues = new Map<string, (() => void)[]>()

  async request (
    name: string, { signal, steal = false }: { signal?: AbortSignal, steal?: boolean }, granted: () => Promise<void>
  ): Promise<void> {
    if (steal && signal !== undefined) throw new TypeError('A signal and steal do not go together')
    await new Promise<void>((resolve, reject) => {
      const abort = (): void => reject(new DOMException('The request was given up', 'AbortError'))
      signal?.addEventListener('abort', abort)
      const take = (): void => {
        signal?.removeEventListener('abort', abort)
        if (signal?.aborted === true) return this.#next(name)
        const held: Held = {
          break: () => reject(new DOMException('The lock was stolen', 'AbortError')),
          released: Promise.resolve()
        }
        this.#held.set(name, held)
        held.released = granted()
          .then(resolve, reject)
          .finally(() => {
            if (this.#held.get(name) === held) this.#next(name)
          })
      }
      // Later, as in a browser.
      queueMicrotask(() => {
        const queue = this.#queues.get(name) ?? []
        this.#queues.set(name, queue)
        const held = this.#held.get(name)
        if (held === undefined) return take()
        if (!steal) return queue.push(take)
        held.break()
        take()
      })
    })
  }

  #next (name: string): void {
    this.#held.delete(name)
    this.#queues.get(name)?.shift()?.()
  }
}
