// @ts-check
import { createRealtimeClient } from './fastify-realtime/client.js'

/**
 * @typedef {'connecting' | 'live' | 'reconnecting' | 'offline' | 'refused'} ConnectionState
 *
 * @typedef {object} Resumption What a reconnect brought.
 * @property {number} caughtUp How many messages were missed and then received.
 * @property {string} [reset] Why they came from the database, and not from the stream.
 *
 * @typedef {object} ConnectionEvents
 * @property {(state: ConnectionState) => void} state
 * @property {() => void} disconnected The connection was live and broke.
 * @property {(instanceId: string) => void} instance The instance that serves the stream.
 * @property {(resumption: Resumption) => void} resumed
 * @property {(reset: string) => void} reloaded A room was loaded from the database, for this reason.
 */

/** Missed messages that arrive within this time after a reconnect are reported together. */
const SETTLE_MS = 400

/** The connection for all rooms. The client reconnects by itself; this class reports what happens. */
export class Connection {
  #events
  #client
  #user = ''
  #cut = new AbortController()
  /** Set while no request gets through. @type {ReturnType<typeof setTimeout> | undefined} */
  #dropped
  #live = false
  #wasLive = false
  /** Whether the page itself asked for a new connection. */
  #expected = false
  /** @type {Resumption | undefined} */
  #resumption
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #settling
  /** How many connections were opened. */
  number = 0
  /** When the present connection was opened, by the server's clock. */
  openedAt = 0

  /** @param {ConnectionEvents} events */
  constructor (events) {
    this.#events = events
    this.#client = createRealtimeClient({
      headers: () => ({ 'x-user': encodeURIComponent(this.#user) }),
      fetch: (url, init) => this.#fetch(url, init)
    })
    this.#client.onState((state) => this.#changed(state))
  }

  /** @param {string} chatId @param {import('./fastify-realtime/client.js').ChatOptions} options */
  open (chatId, options) {
    this.#expected = true
    return this.#client.chat(chatId, options)
  }

  /** Reconnects under another name. @param {string} user */
  enterAs (user) {
    if (user === this.#user) return
    this.#user = user
    this.#expected = true
    this.#client.reconnect()
    this.#break()
  }

  /** Cuts the connection, and lets all requests fail for a while, as in a tunnel. @param {number} ms */
  drop (ms) {
    clearTimeout(this.#dropped)
    this.#dropped = setTimeout(() => {
      this.#dropped = undefined
      this.#client.reconnect()
    }, ms)
    this.#break()
  }

  /** Messages arrived that were sent while the page was disconnected. @param {number} count */
  countMissed (count) {
    if (this.#resumption !== undefined) this.#resumption.caughtUp += count
  }

  /** A room was loaded from the database. @param {string} reset why @param {number} missed */
  noteReload (reset, missed) {
    this.countMissed(missed)
    if (this.#resumption === undefined) this.#events.reloaded(reset)
    else this.#resumption.reset = reset
  }

  #break () {
    const cut = this.#cut
    this.#cut = new AbortController()
    cut.abort()
  }

  /** @param {Parameters<typeof fetch>[0]} url @param {RequestInit} [init] */
  async #fetch (url, init) {
    if (this.#dropped !== undefined) throw new TypeError('The connection was dropped')
    const signal = AbortSignal.any([this.#cut.signal, ...init?.signal ? [init.signal] : []])
    const response = await fetch(url, { ...init, signal })
    // The client also requests what is missing of a long bot message.
    if (response.headers.get('content-type')?.startsWith('text/event-stream') === true) {
      this.number++
      this.openedAt = Number(response.headers.get('x-served-at'))
      this.#events.instance(response.headers.get('x-instance') ?? '')
    }
    return response
  }

  /** @param {import('./fastify-realtime/client.js').ClientState} state */
  #changed (state) {
    const wasLive = this.#live
    this.#live = state === 'open'
    if (this.#live) this.#opened()
    else this.#closed(wasLive)
    this.#events.state(this.#stateOf(state))
  }

  #opened () {
    this.#wasLive = true
    this.#expected = false
    if (this.#resumption !== undefined) this.#settling = setTimeout(() => this.#settled(), SETTLE_MS)
  }

  /** @param {boolean} wasLive */
  #closed (wasLive) {
    clearTimeout(this.#settling)
    if (!wasLive) return
    this.#events.disconnected()
    if (!this.#expected) this.#resumption ??= { caughtUp: 0 }
  }

  #settled () {
    const resumption = this.#resumption
    this.#resumption = undefined
    if (resumption !== undefined) this.#events.resumed(resumption)
  }

  /** @param {import('./fastify-realtime/client.js').ClientState} state @returns {ConnectionState} */
  #stateOf (state) {
    if (state === 'open') return 'live'
    if (state === 'offline') return 'offline'
    if (state === 'stopped') return 'refused'
    return this.#wasLive ? 'reconnecting' : 'connecting'
  }
}
