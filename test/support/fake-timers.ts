import { AsyncResource } from 'node:async_hooks'

/** Timers that fire when the test says so, regardless of their delay, in the async context in which they were set. */
export class FakeTimers {
  /** Of all timers that were set, in milliseconds. */
  readonly delays: number[] = []
  readonly #due = new Set<() => void>()
  readonly #real = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout }

  get size (): number {
    return this.#due.size
  }

  install (): void {
    const fake = {
      setTimeout: (callback: () => void, ms: number) => {
        this.delays.push(ms)
        const timer = AsyncResource.bind((): void => callback())
        this.#due.add(timer)
        return Object.assign(timer, { unref: () => timer, refresh: () => timer })
      },
      clearTimeout: (timer: () => void) => { this.#due.delete(timer) }
    }
    Object.assign(globalThis, fake)
  }

  uninstall (): void {
    Object.assign(globalThis, this.#real)
    this.clear()
  }

  clear (): void {
    this.#due.clear()
  }

  /** Fires those that are set now. */
  fire (): void {
    for (const timer of [...this.#due]) {
      if (this.#due.delete(timer)) timer()
    }
  }
}
