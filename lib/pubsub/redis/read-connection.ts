import type { Logger } from '../../core/logger.ts'
import type { RedisClient } from './client.ts'
import { closeConnection, openReader, watchConnection, type RedisSource } from './connection.ts'

/**
 * The connection for large replies, such as log pages and chat states, so that publishing never waits behind them. It
 * is opened on first use. A process that only publishes does not open it.
 */
export class ReadConnection {
  readonly #source: RedisSource
  readonly #log: Logger
  #opened: { client: RedisClient, unwatch: () => void } | undefined
  #closed = false

  constructor (source: RedisSource, log: Logger) {
    this.#source = source
    this.#log = log
  }

  /** Opens the connection on first use. Throws after `close`. */
  get client (): RedisClient {
    if (this.#closed) throw new Error('Connection is closed.')
    this.#opened ??= this.#open()
    return this.#opened.client
  }

  /** `undefined` if the connection was never opened. */
  get isConnected (): boolean | undefined {
    return this.#opened && this.#opened.client.status === 'ready'
  }

  /** Rejects if Redis does not reply. Resolves at once if the connection was never opened. */
  async ping (): Promise<void> {
    await this.#opened?.client.ping()
  }

  async close (): Promise<void> {
    this.#closed = true
    if (this.#opened !== undefined) await closeConnection(this.#opened.client, this.#opened.unwatch)
  }

  #open (): { client: RedisClient, unwatch: () => void } {
    const client = openReader(this.#source)
    return { client, unwatch: watchConnection(client, 'reader', this.#log) }
  }
}
