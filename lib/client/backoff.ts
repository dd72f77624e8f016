/** The longest delay of a timer, in milliseconds. A timer with a longer one fires at once. */
export const LONGEST_TIMER = 2 ** 31 - 1
/** The wait before the next request if there is none. */
export const STOP = -1
/** A stream that was well for this long is replaced at once when it breaks. */
export const WELL_MS = 5_000
/** Such a stream is replaced after a random part of this time, since many may break together. */
export const SPREAD_MS = 250
const MAX_BACKOFF_MS = 30_000

/** The delay before each attempt to connect. It grows with each failure. */
export interface Backoff {
  /** Sets the delay after the first failure. The server sends it as `retry`. */
  retry (ms: number): void
  /** Counts a failure. Returns the milliseconds until the next attempt. */
  next (): number
  /** An attempt has succeeded: the delays begin again with the shortest one. */
  reset (): void
  /**
   * Starts the next attempt without delay, if the connection is broken. A healthy connection keeps its backoff: it may
   * break later, together with those of many other clients.
   */
  skip (isBroken: boolean): void
  wait (ms: number): Promise<void>
  /** Ends the wait that is under way, if any. */
  abort (): void
}

export function createBackoff (): Backoff {
  let retryMs = 2_000
  /** Failed attempts in a row. Negative if the next attempt starts without delay. */
  let failures = 0
  let abort = (): void => {}

  return {
    retry (ms) {
      retryMs = ms || 1
    },
    next () {
      if (failures < 0) {
        failures = 0
        return 0
      }
      // Never earlier than the server's `retry`, and with jitter, so that clients do not reconnect all at once.
      return Math.max(retryMs, Math.min(retryMs * 2 ** failures++, MAX_BACKOFF_MS)) * (1 + Math.random() / 2)
    },
    reset () {
      failures = 0
    },
    skip (isBroken) {
      if (failures > 0 || isBroken) failures = -1
      abort()
    },
    async wait (ms) {
      // `skip` may have been called since `next`.
      if (failures < 0) return
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(ms, LONGEST_TIMER))
        abort = () => { clearTimeout(timer); resolve() }
      })
    },
    abort: () => abort()
  }
}
