/** The longest delay of a timer, in milliseconds. A timer with a longer one fires at once. */
export const LONGEST_TIMER = 2 ** 31 - 1
const MAX_BACKOFF_MS = 30_000

/** The delay before each attempt to connect. It grows with each failure. */
export class Backoff {
  #retryMs = 2_000
  /** Failed attempts in a row. Negative if the next attempt starts without delay. */
  #failures = 0
  /** Ends the wait that is under way, if any. */
  abort = (): void => {}

  /** Sets the delay after the first failure. The server sends it as `retry`. */
  retry (ms: number): void {
    this.#retryMs = ms || 1
  }

  /** Counts a failure. Returns the milliseconds until the next attempt. */
  next (): number {
    if (this.#failures < 0) {
      this.reset()
      return 0
    }
    // Never earlier than the server's `retry`, and with jitter, so that clients do not reconnect all at once.
    return Math.max(this.#retryMs, Math.min(this.#retryMs * 2 ** this.#failures++, MAX_BACKOFF_MS)) *
      (1 + Math.random() / 2)
  }

  /** An attempt has succeeded: the delays begin again with the shortest one. */
  reset (): void {
    this.#failures = 0
  }

  /**
   * Starts the next attempt without delay, if the connection is broken. A healthy connection keeps its backoff: it may
   * break later, together with those of many other clients.
   */
  skip (isBroken: boolean): void {
    if (this.#failures > 0 || isBroken) this.#failures = -1
    this.abort()
  }

  async wait (ms: number): Promise<void> {
    // `skip` may have been called since `next`.
    if (this.#failures < 0) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.min(ms, LONGEST_TIMER))
      this.abort = () => { clearTimeout(timer); resolve() }
    })
  }
}
