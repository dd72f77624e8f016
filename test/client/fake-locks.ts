import type { Locks } from '../../lib/client/tabs.ts'

/** The Web Locks of a browser, which Node has not: each is granted to one at a time, in the order of asking. */
export class FakeLocks implements Locks {
  readonly #queues = new Map<string, Promise<unknown>>()

  request (name: string, { signal }: { signal: AbortSignal }, granted: () => Promise<void>): Promise<void> {
    const before = this.#queues.get(name) ?? Promise.resolve()
    const held = before.then(async () => {
      signal.throwIfAborted()
      await granted()
    })
    this.#queues.set(name, held.catch(() => {}))
    return held
  }
}
