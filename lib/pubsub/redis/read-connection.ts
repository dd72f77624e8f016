import type { Logger } from '../../core/logger.ts'
import type { RedisClient } from './client.ts'
import { closeConnection, openReader, watchConnection, type RedisSource } from './connection.ts'

/**
 * The connection for all that may be large: pages of logs and the states of chats. What is published never waits behind
 * such a reply. It is made when it is first needed: a process that only publishes has none.
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

  /** Throws once it is closed. */
  get client (): RedisClient {
    if (this.#closed) throw new Error('Connection is closed.')
    this.#opened ??= this.#open()
    return this.#opened.client
  }

  /** `undefined` as long as there was no need of it. */
  get isConnected (): boolean | undefined {
    return this.#opened && this.#opened.client.status === 'ready'
  }

  /** Rejects if Redis doesn't answer. Needs no answer if the connection was never opened. */
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
