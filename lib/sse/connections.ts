import { setImmediate as immediate, setTimeout as delay } from 'node:timers/promises'
import type { Connection } from './connection.ts'

/** All open streams of this instance: one timer beats for all of them, and they end together. */
export class Connections {
  readonly #open = new Set<Connection>()
  readonly #heartbeatMs: number
  #timer: NodeJS.Timeout | undefined
  #draining = false

  constructor (heartbeatMs: number) {
    this.#heartbeatMs = heartbeatMs
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

  /** Ends all streams, gives their clients `timeoutMs` to take what is unsent, then cuts those that did not. */
  async drain (timeoutMs: number): Promise<void> {
    this.#draining = true
    // What was received in this turn of the event loop is written at its end.
    await immediate()
    const left = [...this.#open]
    const deadline = new AbortController()
    await Promise.race([
      Promise.all(left.map((connection) => connection.hangUp())),
      delay(timeoutMs, undefined, { signal: deadline.signal }).catch(() => {})
    ])
    deadline.abort()
    for (const connection of left) connection.destroy()
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
