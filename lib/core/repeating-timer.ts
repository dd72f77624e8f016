import { outsideRequests } from './async-context.ts'

/** An interval that runs while there is work. It keeps neither the process nor the async context of a request alive. */
export class RepeatingTimer {
  readonly #ms: number
  readonly #callback: () => void
  #timer: NodeJS.Timeout | undefined

  /** `ms` is the interval in milliseconds. */
  constructor (ms: number, callback: () => void) {
    this.#ms = ms
    this.#callback = callback
  }

  /** Starts the interval, unless it is running. */
  start (): void {
    this.#timer ??= outsideRequests(() => setInterval(this.#callback, this.#ms).unref())
  }

  stop (): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
