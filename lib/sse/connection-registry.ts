import { setImmediate as immediate } from 'node:timers/promises'
import type { Metrics } from '../observability/metrics.ts'
import { RepeatingTimer } from '../core/repeating-timer.ts'
import type { Connection } from './connection.ts'
import { encodeFrame } from './frame.ts'

export interface ConnectionRegistryOptions {
  /** Milliseconds of silence after which a stream gets a comment. */
  heartbeatMs: number
  /** Milliseconds after which a client that was dropped comes back. */
  retryMs: number
  metrics: Metrics
}

/** All streams of this instance, until their responses are closed: one timer beats for all of them, and they end together. */
export class ConnectionRegistry {
  readonly #open = new Set<Connection>()
  readonly #options: ConnectionRegistryOptions
  readonly #heartbeat: RepeatingTimer
  #draining = false

  constructor (options: ConnectionRegistryOptions) {
    this.#options = options
    // A stream that was silent for a whole tick gets a heartbeat at its end: after 0.5 to 1 times `heartbeatMs`.
    this.#heartbeat = new RepeatingTimer(Math.ceil(options.heartbeatMs / 2), () => this.#beat())
  }

  /** Whether the app closes, so that a stream that opens now has to end at once. */
  get draining (): boolean {
    return this.#draining
  }

  get size (): number {
    return this.#open.size
  }

  /** Bytes that wait for clients to take them. */
  bufferedBytes (): number {
    return [...this.#open].reduce((bytes, connection) => bytes + connection.bufferedBytes, 0)
  }

  add (connection: Connection): void {
    const { heartbeatMs, metrics } = this.#options
    this.#open.add(connection)
    metrics.opened++
    connection.onGone(() => this.#remove(connection))
    if (heartbeatMs > 0) this.#heartbeat.start()
  }

  /** Milliseconds after which a client shall come back that can't be served now: 1 to 3 times `retryMs`, since all at once they would storm the instances. */
  comeBackMs (): number {
    return Math.round(this.#options.retryMs * (1 + 2 * Math.random()))
  }

  /** Ends a stream, its client to come back later. */
  async dismiss (connection: Connection): Promise<void> {
    connection.write(encodeFrame({ retry: this.comeBackMs() }))
    await connection.end()
  }

  /** Ends all streams. Resolves once their clients have received everything, or were cut. */
  async drain (): Promise<void> {
    this.#draining = true
    // What was received in this turn of the event loop is written at its end.
    await immediate()
    await Promise.all([...this.#open].map((connection) => this.dismiss(connection)))
  }

  #beat (): void {
    for (const connection of this.#open) connection.beat()
  }

  #remove (connection: Connection): void {
    this.#open.delete(connection)
    if (this.#open.size === 0) this.#heartbeat.stop()
  }
}
