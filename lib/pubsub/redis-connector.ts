import { createConnection } from 'node:net'
import { connect as createTlsConnection } from 'node:tls'
import { AbstractConnector, type RedisOptions } from 'ioredis'

/** Where to connect. */
export interface Address { host: string, port: number }

/** Makes ioredis connect to wherever `pick` says, each time anew: the node before may be gone for good. */
export function connectorTo (pick: () => Promise<Address>): new (options: unknown) => AbstractConnector {
  return class PickingConnector extends AbstractConnector {
    readonly #tls: RedisOptions['tls']

    constructor (options: unknown) {
      const { tls, disconnectTimeout } = options as RedisOptions & { disconnectTimeout: number } // ioredis has filled it in.
      super(disconnectTimeout)
      this.#tls = tls
    }

    async connect (): Promise<AbstractConnector['stream']> {
      this.connecting = true
      const address = await pick()
      if (!this.connecting) throw new Error('Connection is closed.')
      this.stream = this.#tls ? createTlsConnection({ ...address, ...this.#tls }) : createConnection(address)
      this.stream.once('error', (error) => { this.firstError = error })
      return this.stream
    }
  }
}
