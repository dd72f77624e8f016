import { createConnection } from 'node:net'
import { connect as createTlsConnection } from 'node:tls'
import { AbstractConnector, type RedisOptions } from 'ioredis'

/** Where to connect. */
export interface Address { host?: string | undefined, port?: number | undefined }

/** Makes ioredis connect to wherever `pick` says, each time anew: the node before may be gone for good. */
export function connectorTo (pick: (options: RedisOptions) => Promise<Address>): new (options: unknown) => AbstractConnector {
  return class PickingConnector extends AbstractConnector {
    readonly #options: RedisOptions

    constructor (options: unknown) {
      const given = options as RedisOptions & { disconnectTimeout: number } // ioredis has filled it in.
      super(given.disconnectTimeout)
      this.#options = given
    }

    async connect (): Promise<AbstractConnector['stream']> {
      this.connecting = true
      const { host = '127.0.0.1', port = 6379 } = await pick(this.#options)
      if (!this.connecting) throw new Error('Connection is closed.')
      const { tls } = this.#options
      this.stream = tls ? createTlsConnection({ host, port, ...tls }) : createConnection({ host, port })
      // ioredis listens for one. A second, such as what TLS says to that, must not go unhandled.
      this.stream.on('error', (error) => { this.firstError ??= error })
      return this.stream
    }
  }
}
