/** The default of `silenceMs`. */
export const SILENCE_MS = 45_000
/** A stream that was well for this long is replaced at once when it breaks. */
const WELL_MS = 5_000

/** One attempt of a connection, from its request to its end. */
export class Attempt {
  /** When the server has responded. */
  respondedAt = 0
  /** When the stream began. Absent before, and after the server has asked the client to reconnect later. */
  readyAt: number | undefined
  /** When data has arrived last. */
  lastByteAt = 0
  readonly #controller = new AbortController()
  readonly #silenceMs: number
  #silence: ReturnType<typeof setTimeout> | undefined
  #quiet: ReturnType<typeof setTimeout> | undefined

  constructor (silenceMs: number) {
    this.#silenceMs = silenceMs
  }

  get signal (): AbortSignal {
    return this.#controller.signal
  }

  /** Whether the connection has been silent for so long that it may be dead. */
  get silent (): boolean {
    return Date.now() - this.lastByteAt > this.#silenceMs / 2
  }

  /** Whether the stream was well for long. */
  get wasWell (): boolean {
    return Date.now() - (this.readyAt ?? Infinity) > WELL_MS
  }

  /** Restarts the silence timer: a connection without any data, not even heartbeats, is dead. */
  renew (): void {
    this.lastByteAt = Date.now()
    clearTimeout(this.#silence)
    this.#silence = setTimeout(() => this.abort(), this.#silenceMs)
  }

  /** Calls back after `ms` milliseconds, unless the stream begins before. The next call replaces this one. */
  whenQuiet (ms: number, callback: () => void): void {
    clearTimeout(this.#quiet)
    this.#quiet = setTimeout(callback, ms)
  }

  /** The stream has begun. Returns how many milliseconds after the response, or 0 if it had begun before. */
  begin (): number {
    const lateMs = this.readyAt ? 0 : Date.now() - this.respondedAt
    clearTimeout(this.#quiet)
    this.readyAt = Date.now()
    return lateMs
  }

  abort (): void {
    clearTimeout(this.#quiet)
    clearTimeout(this.#silence)
    this.#controller.abort()
  }
}
