// @ts-check
import { jsonStorage } from './storage.js'

/**
 * @typedef {object} Unsent
 * @property {string} key Becomes the id of the message, so that it is published once, however often it is sent.
 * @property {string} chatId
 * @property {string} text
 * @property {string} author
 * @property {number} at
 * @property {'sending' | 'failed' | 'unconfirmed'} state `unconfirmed` if the message may have been published.
 * @property {string} reason Why it is not sent, for users.
 *
 * @typedef {{ id: string } | { state: 'failed' | 'unconfirmed', reason: string }} Result
 */

const storage = jsonStorage('sessionStorage')
const KEY = 'outbox'
const TIMEOUT_MS = 15_000

/** The messages that are not known to be sent. It survives a reload, so no text is lost. */
export class Outbox {
  /** @type {Unsent[]} */
  #unsent
  #changed
  #sent

  /**
   * @param {() => void} changed
   * @param {(unsent: Unsent, id: string) => void} sent the server accepted the message under this id
   */
  constructor (changed, sent) {
    this.#changed = changed
    this.#sent = sent
    this.#unsent = /** @type {Unsent[]} */ (storage.get(KEY) ?? [])
    for (const unsent of this.#unsent) {
      if (unsent.state !== 'sending') continue
      Object.assign(unsent, { state: 'unconfirmed', reason: 'The page was closed before the server responded.' })
    }
  }

  /** @param {string} chatId */
  of (chatId) {
    return this.#unsent.filter((unsent) => unsent.chatId === chatId)
  }

  /**
   * Removes a message that arrived by the stream, which is often faster than the response. Returns whether it was here.
   *
   * @param {string} chatId
   * @param {import('./room-history.js').Message} message
   */
  confirm (chatId, { id }) {
    if (!this.of(chatId).some(({ key }) => key === id)) return false
    this.discard(id)
    return true
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
    if (unsent === undefined || unsent.state === 'sending') return
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
    const result = await post(unsent)
    if ('id' in result) {
      this.discard(unsent.key)
      this.#sent(unsent, result.id)
    } else {
      Object.assign(unsent, result)
      this.#update()
    }
  }

  #update () {
    storage.set(KEY, this.#unsent)
    this.#changed()
  }
}

/** @param {Unsent} unsent @returns {Promise<Result>} */
async function post ({ chatId, key, text, author }) {
  try {
    const response = await fetch(`/api/chats/${encodeURIComponent(chatId)}/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ id: key, text, author }),
      signal: AbortSignal.timeout(TIMEOUT_MS)
    })
    const body = await response.json()
    return response.ok ? { id: body.id } : failureOf(response.status, body)
  } catch (error) {
    const late = error instanceof DOMException && error.name === 'TimeoutError'
    return { state: 'unconfirmed', reason: late ? 'The server did not respond in time.' : 'The server is unreachable.' }
  }
}

/** @param {number} status @param {{ code?: string, message?: string }} body @returns {Result} */
function failureOf (status, { code, message }) {
  if (code === 'RT_PUBLISH_UNKNOWN') {
    return { state: 'unconfirmed', reason: 'The server lost its connection to Redis.' }
  }
  if (status === 503) return { state: 'failed', reason: 'The server cannot reach Redis.' }
  return { state: 'failed', reason: message ?? `The server answered ${status}.` }
}
