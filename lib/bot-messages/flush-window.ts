interface FlushWindowOptions {
  /** The least number of milliseconds between the starts of two scheduled flushes. */
  windowMs: number
  /** Writes all that was appended so far. Must not reject. */
  flush (): Promise<void>
  /** True if there is something to write. Called after each flush. */
  isDue (): boolean
}

type State =
  | { readonly name: 'idle' }
  | { readonly name: 'scheduled', readonly timer: NodeJS.Timeout }
  | { readonly name: 'flushing', readonly done: Promise<void> }

const IDLE: State = { name: 'idle' }

/** Collects what is appended within a window, and writes it with one flush. Only one flush runs at a time. */
export class FlushWindow {
  readonly #options: FlushWindowOptions
  #state: State = IDLE
  #flushedAt = -Infinity

  constructor (options: FlushWindowOptions) {
    this.#options = options
  }

  /** Flushes once the window has passed. The first flush begins at once, since readers are waiting for it. */
  soon (): void {
    const ms = this.#flushedAt + this.#options.windowMs - performance.now()
    if (ms <= 0) this.now()
    else if (this.#state.name === 'idle') this.#state = { name: 'scheduled', timer: setTimeout(() => this.now(), ms) }
  }

  /** Starts a flush, unless one is in progress. Resolves when that flush has ended. */
  now (): Promise<void> {
    if (this.#state.name === 'flushing') return this.#state.done
    this.cancel()
    this.#flushedAt = performance.now()
    const done = this.#options.flush().finally(() => {
      this.#state = IDLE
      if (this.#options.isDue()) this.soon()
    })
    this.#state = { name: 'flushing', done }
    return done
  }

  /** Cancels the scheduled flush. A flush in progress goes on. */
  cancel (): void {
    if (this.#state.name !== 'scheduled') return
    clearTimeout(this.#state.timer)
    this.#state = IDLE
  }
}
