import { setImmediate as immediate, setTimeout as delay } from 'node:timers/promises'
import type { Connection } from './connection.ts'
import { encodeFrame } from './frame.ts'

/** All open streams of this instance: one timer beats for all of them, and they end together. */
export class Connections {
  readonly #open = new Set<Connection>()
  readonly #heartbeatMs: number
  readonly #retryMs: number
  #timer: NodeJS.Timeout | undefined
  #draining = false

  constructor ({ heartbeatMs, retryMs }: { heartbeatMs: number, retryMs: number }) {
    this.#heartbeatMs = heartbeatMs
    this.#retryMs = retryMs
  }

  /** Whether the app closes, so that a stream that opens now has to end at once. */
  get draining (): boolean {
    return this.#draining
  }

  add (connection: Connection): void {
    this.#open.add(connection)
    connection.onClose(() => this.#remove(connection))
    if (this.#heartbeatMs > 0) this.#timer ??= setInterval(() => this.#beat(), this.#tickMs()).unref()
  }

  /** Ends all streams, each with a `retry:` of its own, gives their clients `timeoutMs` to take what is unsent, then cuts those that did not. */
  async drain (timeoutMs: number): Promise<void> {
    this.#draining = true
    // What was received in this turn of the event loop is written at its end.
    await immediate()
    const left = [...this.#open]
    const deadline = new AbortController()
    await Promise.race([
      Promise.all(left.map((connection) => this.dismiss(connection))),
      delay(timeoutMs, undefined, { signal: deadline.signal }).catch(() => {})
    ])
    deadline.abort()
    for (const connection of left) connection.destroy()
  }

  /** Ends a stream, its client to come back after 1 to 3 times `retryMs`: all at once they would storm the instances that are left. */
  async dismiss (connection: Connection): Promise<void> {
    connection.write(encodeFrame({ retry: Math.round(this.#retryMs * (1 + 2 * Math.random())) }))
    await connection.hangUp()
  }

  /** A stream that was silent for a whole tick gets a heartbeat at its end: after 0.5 to 1 times `heartbeatMs`. */
  #tickMs (): number {
    return Math.ceil(this.#heartbeatMs / 2)
  }

  #beat (): void {
    for (const connection of this.#open) connection.beat()
  }

  #remove (connection: Connection): void {
    this.#open.delete(connection)
    if (this.#open.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
