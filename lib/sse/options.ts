import { bytes, count, milliseconds } from '../core/option-kinds.ts'
import type { ValuesFrom } from '../core/options.ts'

/** Options of event streams, whatever they carry. */
export const connectionOptions = {
  /**
   * Maximum number of streams of this instance. It includes requests that wait for `authorize`, and ended streams whose
   * client has not received all data yet. Beyond this limit and those below, a browser is asked to reconnect later, and
   * other clients get 503 with `retry-after`.
   * @default no limit
   */
  maxConnections: count({ from: 1, scope: 'app' }),
  /**
   * Maximum number of streams of one client, counted as for `maxConnections`. A client is a user if `authorize` returns
   * a `userId`, otherwise an IP address (behind a proxy, set Fastify's `trustProxy`) or an IPv6 /64 network. Clients
   * without an address, as over a Unix socket, count as one. A request that waits for `authorize` counts for its
   * address. Once `authorize` has returned a `userId`, many users may share an address: then 100 times as many requests
   * of one address may wait, but not more than half of `maxConnections`.
   * @default no limit
   */
  maxConnectionsPerClient: count({ from: 1, scope: 'app' }),
  /**
   * Maximum number of streams on one HTTP/2 connection, counted as for `maxConnections`.
   * @default 100
   */
  maxStreamsPerSession: count({ default: 100, from: 1, scope: 'app' }),
  /**
   * Milliseconds after which a stream ends, so that the client reconnects and is authorized again. Each stream ends up
   * to a quarter earlier at random, so that clients do not reconnect all at once.
   * @default no limit
   */
  maxConnectionAgeMs: milliseconds({ from: 1, scope: 'app' }),
  /**
   * Milliseconds without data after which a stream gets a comment, so that proxies do not close it; `0` turns it off.
   * @default 15_000
   */
  heartbeatMs: milliseconds({ default: 15_000, from: 0, scope: 'app' }),
  /**
   * Milliseconds that a browser waits before it reconnects after a lost connection.
   * @default 2_000
   */
  retryMs: milliseconds({ default: 2_000, from: 0, scope: 'process' }),
  /**
   * Maximum number of bytes buffered for a slow client before it is disconnected. A browser then reconnects by itself.
   * @default 262_144
   */
  maxBufferedBytes: bytes({ default: 262_144, from: 1, scope: 'app' }),
  /**
   * Milliseconds that a client has to receive unsent data when its stream ends, as at `app.close()`, at `expiresAt` or
   * by `revoke`. Then it is disconnected.
   * @default 1_500
   */
  drainTimeoutMs: milliseconds({ default: 1_500, from: 0, scope: 'app' })
}

/** The values of these options, with the defaults. */
export type ConnectionValues = ValuesFrom<typeof connectionOptions>
