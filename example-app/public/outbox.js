// @ts-check
import { jsonStorage } from './storage.js'

/**
 * @typedef {object} Unsent
 * @property {string} key Becomes the id of the message, so that it is stored once, however often it is sent.
 * @property {string} chatId
 * @property {string} text
 * @property {string} author
 * @property {number} at
 * @property {'sending' | 'stored' | 'failed'} state `stored` if it is in the database, but no event has brought it yet.
 * @property {string} reason Why it has failed, for users. It may have been stored all the same.
 */

const storage = jsonStorage('sessionStorage')
const KEY = 'outbox'
const TIMEOUT_MS = 15_000
/** Usually the event arrives sooner than this after the response. */
const EVENT_MS = 1_000

/** The messages of this user that no event has brought yet. They survive a reload, so no text is lost. */
export class Outbox {
  /** @type {Unsent[]} */
  #unsent
  #changed

  /** @param {() => void} changed */
  constructor (changed) {
    this.#changed = changed
    this.#unsent = /** @type {Unsent[]} */ (storage.get(KEY) ?? [])
    for (const unsent of this.#unsent) {
      if (unsent.state !== 'sending') continue
      Object.assign(unsent, { state: 'failed', reason: 'The page was closed before the server responded.' })
    }
  }

  /** @param {string} chatId */
  of (chatId) {
    return this.#unsent.filter((unsent) => unsent.chatId === chatId)
  }

  /**
   * Removes a message that arrived by the stream, which is often faster than the response, or from the database.
   *
   * @param {string} chatId
   * @param {import('./room-history.js').Message} message
   */
  confirm (chatId, { id }) {
    if (this.of(chatId).some(({ key }) => key === id)) this.discard(id)
  }

  /** @param {string} chatId @param {string} text @param {string} author */
  send (chatId, text, author) {
    const at = Date.now()
    /** @type {Unsent} */
    const unsent = { key: `${at}-${Math.random()}`, chatId, text, author, at, state: 'sending', reason: '' }
    this.#unsent.push(unsent)
    this.#post(unsent)
  }

  /** @param {string} key */
  retry (key) {
    const unsent = this.#unsent.find((other) => other.key === key)
    if (unsent?.state !== 'failed') return
    unsent.at = Date.now()
    this.#post(unsent)
  }

  /** @param {string} key */
  discard (key) {
    this.#unsent = this.#unsent.filter((unsent) => unsent.key !== key)
    this.#update()
  }

  /** @param {Unsent} unsent */
  async #post (unsent) {
    unsent.state = 'sending'
    this.#update()
    const reason = await post(unsent)
    if (reason === undefined) await new Promise((resolve) => setTimeout(resolve, EVENT_MS))
    Object.assign(unsent, reason === undefined ? { state: 'stored' } : { state: 'failed', reason })
    this.#update()
  }

  #update () {
    storage.set(KEY, this.#unsent)
    this.#changed()
  }
}

/** @param {Unsent} unsent @returns {Promise<string | undefined>} why it has failed; `undefined` if it is stored */
async function post ({ chatId, key, text, author }) {
  try {
    const response = await fetch(`/api/chats/${encodeURIComponent(chatId)}/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ id: key, text, author }),
      signal: AbortSignal.timeout(TIMEOUT_MS)
    })
    if (response.ok) return undefined
    return (await response.json()).message ?? `The server answered ${response.status}.`
  } catch (error) {
    const late = error instanceof DOMException && error.name === 'TimeoutError'
    return late ? 'The server did not respond in time.' : 'The server is unreachable.'
  }
}
