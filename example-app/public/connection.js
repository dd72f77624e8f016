// @ts-check
import { createRealtimeClient } from './fastify-realtime/client.js'

/**
 * @typedef {'connecting' | 'live' | 'reconnecting' | 'offline' | 'refused'} ConnectionState
 * @typedef {{ caughtUp: number, certain: boolean }} Return How the page came back: how many messages it got that it had missed, and whether that is all.
 *
 * @typedef {object} ConnectionEvents
 * @property {(state: ConnectionState) => void} state
 * @property {() => void} lost It was live, and is no more.
 * @property {(instanceId: string) => void} instance Who serves the stream.
 * @property {(how: Return) => void} back The connection broke, and is there again.
 */

/** How long after coming back what was missed still counts as one story. */
const SETTLE_MS = 400

/** One connection for all rooms. The client comes back by itself; this tells people about it. */
export class Connection {
  #events
  #client
  #user = ''
  #cut = new AbortController()
  #held = Promise.resolve()
  #live = false
  #wasLive = false
  /** Whether the page itself asked for a new connection. */
  #expected = false
  /** @type {Return | undefined} */
  #return
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #settling
  /** How many connections there were. */
  number = 0
  /** When the present one was opened, by the server's clock. */
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

  get live () {
    return this.#live
  }

  /** Opens a room, from a place or with the last messages. @param {string} chatId @param {import('./fastify-realtime/client.js').ChatOptions} options */
  open (chatId, options) {
    this.#expected = true
    return this.#client.chat(chatId, options)
  }

  /** Says who is here. @param {string} user */
  enterAs (user) {
    if (user === this.#user) return
    this.#user = user
    this.#expected = true
    this.#client.reconnect()
    this.#break()
  }

  /** Cuts the connection and keeps it away for a while, as a tunnel does. @param {number} ms */
  drop (ms) {
    this.#held = new Promise((resolve) => setTimeout(resolve, ms))
    this.#break()
  }

  /** A message came that was sent while the page was away. */
  countMissed () {
    if (this.#return !== undefined) this.#return.caughtUp++
  }

  /** The server can't prove that this is all. */
  countReset () {
    if (this.#return !== undefined) this.#return.certain = false
  }

  #break () {
    const cut = this.#cut
    this.#cut = new AbortController()
    cut.abort()
  }

  /** @param {Parameters<typeof fetch>[0]} url @param {RequestInit} [init] */
  async #fetch (url, init) {
    await this.#held
    const signal = AbortSignal.any([this.#cut.signal, ...init?.signal ? [init.signal] : []])
    const response = await fetch(url, { ...init, signal })
    if (response.ok) {
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
    if (this.#live) {
      this.#wasLive = true
      this.#expected = false
      if (this.#return !== undefined) this.#settling = setTimeout(() => this.#settled(), SETTLE_MS)
    } else {
      clearTimeout(this.#settling)
      if (wasLive) this.#events.lost()
      if (wasLive && !this.#expected) this.#return ??= { caughtUp: 0, certain: true }
    }
    this.#events.state(state === 'open' ? 'live' : state === 'offline' ? 'offline' : state === 'stopped' ? 'refused' : this.#wasLive ? 'reconnecting' : 'connecting')
  }

  #settled () {
    const how = this.#return
    this.#return = undefined
    if (how !== undefined) this.#events.back(how)
  }
}
