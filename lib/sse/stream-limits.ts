import { RealtimeError, type RealtimeErrorCode } from '../errors.ts'
import type { Logger } from '../core/logger.ts'
import { clientAddress } from './client-address.ts'
import { isDisconnected, sessionOf, type RawResponse } from './connection.ts'
import type { ConnectionValues } from './options.ts'

type StreamLimitsOptions = Pick<
  ConnectionValues, 'maxConnections' | 'maxConnectionsPerClient' | 'maxStreamsPerSession'
>

/** Reads the address of a client. Called only if needed: Node then keeps the address until the client disconnects. */
type ReadAddress = () => string | undefined

/**
 * Streams are limited per user once `authorize` returns users. A request that waits for `authorize` has no user yet:
 * the limit of such requests from one address is `maxConnectionsPerClient` times this factor, since many users may
 * share an address. It is at most half of `maxConnections`, so that with a slow `authorize` one address cannot block
 * all others.
 */
const USERS_PER_ADDRESS = 100

/** Counts streams, and requests that may become streams, against the limits of this instance. */
export class StreamLimits {
  readonly #all: Counter
  /** Counts by user, or by address if there is no user. */
  readonly #clients: Counter | undefined
  /** Counts requests that wait for `authorize`, by address. */
  readonly #waiting: Counter | undefined
  readonly #sessions: Counter
  readonly #log: Logger
  /** True once `authorize` has returned a user. */
  #hasUsers = false
  #warned = false

  constructor (options: StreamLimitsOptions, log: Logger) {
    const { maxConnections = Infinity, maxConnectionsPerClient: perClient, maxStreamsPerSession } = options
    this.#all = new Counter(maxConnections, 'RT_TOO_MANY_CONNECTIONS')
    if (perClient !== undefined) {
      this.#clients = new Counter(perClient, 'RT_TOO_MANY_PER_CLIENT')
      const waiting = Math.max(perClient, Math.min(perClient * USERS_PER_ADDRESS, maxConnections / 2))
      this.#waiting = new Counter(waiting, 'RT_TOO_MANY_PER_CLIENT')
    }
    this.#sessions = new Counter(maxStreamsPerSession, 'RT_TOO_MANY_PER_SESSION')
    this.#log = log
  }

  /**
   * Counts a request until its response is closed. That may be long after a stream has ended: a client that does not
   * read keeps its socket open. Throws `RT_TOO_MANY_CONNECTIONS`, `RT_TOO_MANY_PER_CLIENT` or
   * `RT_TOO_MANY_PER_SESSION`.
   */
  reserve (raw: RawResponse, address: ReadAddress): Reservation {
    const reservation = new Reservation()
    // The response may have emitted `close` already, so the reservation would never be released.
    if (isDisconnected(raw)) return reservation
    try {
      reservation.countInstance(this.#all)
      // The user is not known yet, so count by address.
      const counter = this.#hasUsers ? this.#waiting : this.#clients
      if (counter !== undefined) reservation.assign(counter, this.#byAddress(address()))
      const session = sessionOf(raw)
      if (session !== undefined) reservation.countSession(this.#sessions, session)
    } catch (error) {
      reservation.release()
      throw error
    }
    reservation.releaseOnClose(raw)
    return reservation
  }

  /**
   * Counts a request for its user from now on, or for its address if there is no user. Throws
   * `RT_TOO_MANY_PER_CLIENT`.
   */
  claim (reservation: Reservation, userId: string | undefined, address: ReadAddress): void {
    if (userId !== undefined) this.#hasUsers = true
    if (this.#clients === undefined) return
    // The prefixes separate users from addresses: a user may have chosen an id that looks like an address.
    reservation.assign(this.#clients, userId === undefined ? this.#byAddress(address()) : `user ${userId}`)
  }

  #byAddress (address: string | undefined): string {
    if (address === undefined && !this.#warned) {
      this.#warned = true
      this.#log.warn(
        'maxConnectionsPerClient counts all clients without an address as one. ' +
        'Behind a proxy on a Unix socket, set trustProxy to true'
      )
    }
    return `address ${address && clientAddress(address)}`
  }
}

/** The counts that one request holds: at most one of each kind. */
export class Reservation {
  #instance: Counter | undefined
  #sessions: Counter | undefined
  #session: object | undefined
  #clients: Counter | undefined
  #client: string | undefined
  #onClose: (() => void) | undefined

  countInstance (counter: Counter): void {
    counter.add(undefined)
    this.#instance = counter
  }

  countSession (counter: Counter, session: object): void {
    counter.add(session)
    this.#sessions = counter
    this.#session = session
  }

  /** Counts the request for a client, and no longer for the previous one. */
  assign (counter: Counter, client: string): void {
    if (this.#clients === counter && this.#client === client) return
    // `add` throws at the limit; the request then stays counted for the previous client.
    counter.add(client)
    this.#clients?.remove(this.#client)
    this.#clients = counter
    this.#client = client
  }

  /** Releases the counts once the response is closed. */
  releaseOnClose (raw: RawResponse): void {
    this.#onClose = () => this.release()
    raw.on('close', this.#onClose)
  }

  /** Takes back `releaseOnClose`: the caller releases the counts, which saves a listener. */
  handOver (raw: RawResponse): void {
    if (this.#onClose !== undefined) raw.off('close', this.#onClose)
    this.#onClose = undefined
  }

  /** Releases all counts. */
  release (): void {
    this.#instance?.remove(undefined)
    this.#sessions?.remove(this.#session)
    this.#clients?.remove(this.#client)
    this.#instance = this.#sessions = this.#clients = undefined
  }
}

/** Counts by key, up to a limit. */
class Counter {
  readonly #counts = new Map<unknown, number>()
  readonly #limit: number
  readonly #code: RealtimeErrorCode

  constructor (limit: number, code: RealtimeErrorCode) {
    this.#limit = limit
    this.#code = code
  }

  add (key: unknown): void {
    const count = this.#counts.get(key) ?? 0
    if (count >= this.#limit) throw new RealtimeError(this.#code)
    this.#counts.set(key, count + 1)
  }

  remove (key: unknown): void {
    const left = (this.#counts.get(key) as number) - 1 // `add` was called before.
    if (left > 0) this.#counts.set(key, left)
    else this.#counts.delete(key)
  }
}
