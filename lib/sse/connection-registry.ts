import { setImmediate as immediate } from 'node:timers/promises'
import type { Metrics } from '../observability/metrics.ts'
import { RepeatingTimer } from '../core/repeating-timer.ts'
import type { Connection } from './connection.ts'
import { encodeFrame } from './frame.ts'
import type { ConnectionValues } from './options.ts'

interface ConnectionRegistryOptions extends Pick<ConnectionValues, 'heartbeatMs' | 'retryMs'> {
  metrics: Metrics
}

/** All streams of this instance, until their responses are closed. They share one heartbeat timer and one drain. */
export class ConnectionRegistry {
  readonly #open = new Set<Connection>()
  readonly #options: ConnectionRegistryOptions
  readonly #heartbeat: RepeatingTimer
  #draining = false

  /** All connections share it. */
  readonly #remove = (connection: Connection): void => {
    this.#open.delete(connection)
    if (this.#open.size === 0) this.#heartbeat.stop()
  }

  constructor (options: ConnectionRegistryOptions) {
    this.#options = options
    // Runs twice per `heartbeatMs`, so a stream gets a heartbeat after 0.5 to 1 times `heartbeatMs` of silence, and
    // then one per `heartbeatMs`.
    this.#heartbeat = new RepeatingTimer(Math.ceil(options.heartbeatMs / 2), () => this.#beat())
  }

  /** True while the app closes: a stream that opens now must end at once. */
  get draining (): boolean {
    return this.#draining
  }

  get size (): number {
    return this.#open.size
  }

  /** Bytes that clients have not received yet. */
  bufferedBytes (): number {
    return [...this.#open].reduce((bytes, connection) => bytes + connection.bufferedBytes, 0)
  }

  add (connection: Connection): void {
    const { heartbeatMs, metrics } = this.#options
    this.#open.add(connection)
    metrics.opened++
    connection.onGone(this.#remove)
    if (heartbeatMs > 0) this.#heartbeat.start()
  }

  /**
   * Returns the milliseconds after which a client that can't be served now should reconnect: a random value of 1 to 3
   * times `retryMs`, since clients that all reconnect at once would overload the instances.
   */
  reconnectDelayMs (): number {
    return Math.round(this.#options.retryMs * (1 + 2 * Math.random()))
  }

  /** Ends a stream and asks its client to reconnect later. */
  async dismiss (connection: Connection): Promise<void> {
    connection.write(encodeFrame({ retry: this.reconnectDelayMs() }))
    await connection.end()
  }

  /** Ends all streams. Resolves once each client has received everything or was disconnected. */
  async drain (): Promise<void> {
    this.#draining = true
    // Events received in this turn of the event loop are written at the end of the turn.
    await immediate()
    await Promise.all([...this.#open].map((connection) => this.dismiss(connection)))
  }

  #beat (): void {
    for (const connection of this.#open) connection.beat()
  }
}
