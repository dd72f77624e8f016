import { createConnection } from 'node:net'
import { connect as createTlsConnection } from 'node:tls'
import { AbstractConnector, type RedisOptions } from 'ioredis'

/** Host and port of a Redis server. */
export interface Address { host?: string | undefined, port?: number | undefined }

/** Returns a connector class that calls `pick` before each connect, because the previous node may no longer exist. */
export function connectorTo (
  pick: (options: RedisOptions) => Promise<Address>
): new (options: unknown) => AbstractConnector {
  return class PickingConnector extends AbstractConnector {
    readonly #options: RedisOptions

    constructor (options: unknown) {
      const given = options as RedisOptions & { disconnectTimeout: number } // ioredis has set its default.
      super(given.disconnectTimeout)
      this.#options = given
    }

    async connect (): Promise<AbstractConnector['stream']> {
      this.connecting = true
      const { host = '127.0.0.1', port = 6379 } = await pick(this.#options)
      if (!this.connecting) throw new Error('Connection is closed.')
      const { tls } = this.#options
      this.stream = tls ? createTlsConnection({ host, port, ...tls }) : createConnection({ host, port })
      // ioredis handles only the first error. A second one, such as a TLS error that follows it, must not go unhandled.
      this.stream.on('error', (error) => { this.firstError ??= error })
      return this.stream
    }
  }
}
