/** The default of `silenceMs`. */
export const SILENCE_MS = 45_000

/** One attempt to get a response, from its request to its end. */
export interface Attempt {
  readonly signal: AbortSignal
  /** When the server has responded. `NaN` once the stream has begun. */
  respondedAt: number
  /** When the stream began: `NaN` before, and `Infinity` if the server has asked the client to reconnect later. */
  readyAt: number
  /** When data has arrived last. */
  lastByteAt: number
  /** Whether the connection has been silent for so long that it may be dead. */
  isSilent (): boolean
  /** Restarts the silence timer: a connection without any data, not even heartbeats, is dead. */
  renew (): void
  /** Calls back after `ms` milliseconds, unless the stream begins before. The next call replaces this one. */
  whenQuiet (ms: number, callback: () => void): void
  /** The stream has begun. Returns how many milliseconds after the response, or `NaN` if it had begun before. */
  begin (): number
  abort (): void
}

/** Starts an attempt, which is aborted after `silenceMs` milliseconds without data. */
export function startAttempt (silenceMs: number): Attempt {
  const controller = new AbortController()
  let silence: ReturnType<typeof setTimeout>
  let quiet: ReturnType<typeof setTimeout>
  const attempt: Attempt = {
    signal: controller.signal,
    respondedAt: 0,
    readyAt: NaN,
    lastByteAt: 0,
    isSilent: () => Date.now() - attempt.lastByteAt > silenceMs / 2,
    renew () {
      attempt.lastByteAt = Date.now()
      clearTimeout(silence)
      silence = setTimeout(attempt.abort, silenceMs)
    },
    whenQuiet (ms, callback) {
      clearTimeout(quiet)
      quiet = setTimeout(callback, ms)
    },
    begin () {
      const lateMs = Date.now() - attempt.respondedAt
      clearTimeout(quiet)
      attempt.respondedAt = NaN
      attempt.readyAt = Date.now()
      return lateMs
    },
    abort () {
      clearTimeout(quiet)
      clearTimeout(silence)
      controller.abort()
    }
  }
  attempt.renew()
  return attempt
}
