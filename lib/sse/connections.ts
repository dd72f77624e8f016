import { setImmediate as immediate, setTimeout as delay } from 'node:timers/promises'
import { RealtimeError } from '../errors.ts'
import type { Metrics } from '../metrics.ts'
import type { Connection } from './connection.ts'
import { encodeFrame } from './frame.ts'

export interface ConnectionsOptions {
  /** Milliseconds of silence after which a stream gets a comment. */
  heartbeatMs: number
  /** Milliseconds after which a client that was dropped comes back. */
  retryMs: number
  maxConnections: number | undefined
  maxConnectionsPerClient: number | undefined
  maxStreamsPerSession: number
  metrics: Metrics
}

/** Whose stream it is. */
export interface Owner {
  /** A user, or an address. Only where connections are counted per client. */
  client: string | undefined
  /** The session of HTTP/2 that carries it. */
  session: object | undefined
}

/** All open streams of this instance: they are counted against its limits, one timer beats for all of them, and they end together. */
export class Connections {
  readonly #open = new Set<Connection>()
  readonly #options: ConnectionsOptions
  readonly #perClient = new Map<string, number>()
  readonly #perSession = new WeakMap<object, number>()
  #timer: NodeJS.Timeout | undefined
  #draining = false

  constructor (options: ConnectionsOptions) {
    this.#options = options
  }

  /** Whether the app closes, so that a stream that opens now has to end at once. */
  get draining (): boolean {
    return this.#draining
  }

  /** Whether it matters whose a stream is. */
  get perClient (): boolean {
    return this.#options.maxConnectionsPerClient !== undefined
  }

  get size (): number {
    return this.#open.size
  }

  /** Bytes that wait for clients to take them. */
  bufferedBytes (): number {
    return [...this.#open].reduce((bytes, connection) => bytes + connection.bufferedBytes, 0)
  }

  /** Throws `RT_TOO_MANY_CONNECTIONS`, `RT_TOO_MANY_PER_CLIENT` or `RT_TOO_MANY_PER_SESSION` where one more is too many. */
  check ({ client, session }: Owner): void {
    const { maxConnections = Infinity, maxConnectionsPerClient = Infinity, maxStreamsPerSession } = this.#options
    if (this.#open.size >= maxConnections) throw new RealtimeError('RT_TOO_MANY_CONNECTIONS')
    if (client !== undefined && (this.#perClient.get(client) ?? 0) >= maxConnectionsPerClient) throw new RealtimeError('RT_TOO_MANY_PER_CLIENT')
    if (session !== undefined && (this.#perSession.get(session) ?? 0) >= maxStreamsPerSession) throw new RealtimeError('RT_TOO_MANY_PER_SESSION')
  }

  add (connection: Connection, { client, session }: Owner): void {
    const { heartbeatMs, metrics } = this.#options
    this.#open.add(connection)
    metrics.opened++
    if (client !== undefined) this.#perClient.set(client, (this.#perClient.get(client) ?? 0) + 1)
    if (session !== undefined) this.#perSession.set(session, (this.#perSession.get(session) ?? 0) + 1)
    connection.onClose(() => this.#remove(connection, { client, session }))
    if (heartbeatMs > 0) this.#timer ??= setInterval(() => this.#beat(), this.#tickMs()).unref()
  }

  /** Milliseconds after which a client shall come back that can't be served now: 1 to 3 times `retryMs`, since all at once they would storm the instances. */
  comeBackMs (): number {
    return Math.round(this.#options.retryMs * (1 + 2 * Math.random()))
  }

  /** Ends a stream, its client to come back later. */
  async dismiss (connection: Connection): Promise<void> {
    connection.write(encodeFrame({ retry: this.comeBackMs() }))
    await (this.#draining ? connection.hangUp() : connection.end())
  }

  /** Ends all streams, gives their clients `timeoutMs` to take what is unsent, then cuts those that did not. */
  async drain (timeoutMs: number): Promise<void> {
    this.#draining = true
    // What was received in this turn of the event loop is written at its end.
    await immediate()
    const left = [...this.#open]
    const deadline = new AbortController()
    await Promise.race([
      Promise.all(left.map((connection) => this.dismiss(connection))),
      delay(timeoutMs, undefined, { signal: deadline.signal }).catch(() => {})
    ])
    deadline.abort()
    for (const connection of left) connection.destroy()
  }

  /** A stream that was silent for a whole tick gets a heartbeat at its end: after 0.5 to 1 times `heartbeatMs`. */
  #tickMs (): number {
    return Math.ceil(this.#options.heartbeatMs / 2)
  }

  #beat (): void {
    for (const connection of this.#open) connection.beat()
  }

  #remove (connection: Connection, { client, session }: Owner): void {
    this.#open.delete(connection)
    if (client !== undefined) this.#leave(client)
    if (session !== undefined) this.#perSession.set(session, (this.#perSession.get(session) as number) - 1)
    if (this.#open.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #leave (client: string): void {
    const others = (this.#perClient.get(client) as number) - 1
    if (others > 0) this.#perClient.set(client, others)
    else this.#perClient.delete(client)
  }
}
