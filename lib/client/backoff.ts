/** The longest delay of a timer, in milliseconds. A timer with a longer one fires at once. */
export const LONGEST_TIMER = 2 ** 31 - 1
const MAX_BACKOFF_MS = 30_000

/** The delay before each attempt to connect. It grows with each failure. */
export class Backoff {
  #retryMs = 2_000
  /** Failed attempts in a row. */
  #failures = 0
  /** Whether the next attempt starts without delay. */
  #skips = false
  #endWait = (): void => {}

  /** Sets the delay after the first failure. The server sends it as `retry`. */
  setRetry (ms: number): void {
    this.#retryMs = ms || 1
  }

  /** Counts a failure. Returns the milliseconds until the next attempt. */
  next (): number {
    if (this.#skips) {
      this.#skips = false
      return 0
    }
    this.#failures++
    // Never earlier than the server's `retry`, and with jitter, so that clients do not reconnect all at once.
    return Math.min(this.#retryMs * 2 ** (this.#failures - 1), Math.max(MAX_BACKOFF_MS, this.#retryMs)) *
      (1 + Math.random() / 2)
  }

  /** An attempt has succeeded: the delays begin again with the shortest one. */
  reset (): void {
    this.#failures = 0
    this.#skips = false
  }

  /**
   * Starts the next attempt without delay, if the connection is broken. A healthy connection keeps its backoff: it may
   * break later, together with those of many other clients.
   */
  skip (isBroken: boolean): void {
    if (this.#failures > 0 || isBroken) {
      this.#failures = 0
      this.#skips = true
    }
    this.endWait()
  }

  async wait (ms: number): Promise<void> {
    // `skip` may have been called since `next`.
    if (this.#skips) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.min(ms, LONGEST_TIMER))
      this.#endWait = () => { clearTimeout(timer); resolve() }
    })
  }

  endWait (): void {
    this.#endWait()
  }
}
