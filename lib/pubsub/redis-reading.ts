import type { Logger } from '../logger.ts'
import type { RedisClient } from './redis-client.ts'
import { closeConnection, openReader, watchConnection, type RedisSource } from './redis-connection.ts'

/**
 * The connection for all that may be large: pages of logs and the states of chats. What is published never waits behind
 * such a reply. It is made when it is first needed: a process that only publishes has none.
 */
export class RedisReading {
  readonly #source: RedisSource
  readonly #log: Logger
  #client: RedisClient | undefined
  #unwatch: () => void = () => {}
  #closed = false

  constructor (source: RedisSource, log: Logger) {
    this.#source = source
    this.#log = log
  }

  /** Throws once it is closed. */
  get client (): RedisClient {
    if (this.#closed) throw new Error('Connection is closed.')
    if (this.#client !== undefined) return this.#client
    const client = this.#client = openReader(this.#source)
    this.#unwatch = watchConnection(client, 'reader', this.#log)
    return client
  }

  /** `undefined` as long as there was no need of it. */
  get isConnected (): boolean | undefined {
    return this.#client && this.#client.status === 'ready'
  }

  /** Rejects where Redis doesn't answer. */
  async isHealthy (): Promise<boolean> {
    await this.#client?.ping()
    return true
  }

  async close (): Promise<void> {
    this.#closed = true
    if (this.#client !== undefined) await closeConnection(this.#client, this.#unwatch)
  }
}
