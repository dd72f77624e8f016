import { outsideRequests } from './async-context.ts'

/** Calls back again and again while there is work. It neither keeps the process alive nor the context of a request. */
export class RepeatingTimer {
  readonly #ms: number
  readonly #callback: () => void
  #timer: NodeJS.Timeout | undefined

  /** `ms` is the interval in milliseconds. */
  constructor (ms: number, callback: () => void) {
    this.#ms = ms
    this.#callback = callback
  }

  /** Starts it, unless it runs. */
  start (): void {
    this.#timer ??= outsideRequests(() => setInterval(this.#callback, this.#ms).unref())
  }

  stop (): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
