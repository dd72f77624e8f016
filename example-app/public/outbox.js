// @ts-check
import { jsonStorage } from './storage.js'

/**
 * @typedef {object} Unsent
 * @property {string} key Becomes the id of the message, so that it is sent once, however often it is tried.
 * @property {string} chatId
 * @property {string} text
 * @property {string} author
 * @property {number} at
 * @property {'sending' | 'failed'} state
 * @property {string} reason Why it failed, for people.
 */

const storage = jsonStorage('sessionStorage')
const KEY = 'outbox'
const TIMEOUT_MS = 15_000

/** What was written and is not known to be sent yet. It survives a reload: nothing that somebody typed is lost. */
export class Outbox {
  /** @type {Unsent[]} */
  #unsent
  #changed
  #sent

  /**
   * @param {() => void} changed
   * @param {(unsent: Unsent, id: string) => void} sent the server took it and gave it an id
   */
  constructor (changed, sent) {
    this.#changed = changed
    this.#sent = sent
    this.#unsent = /** @type {Unsent[]} */ (storage.get(KEY) ?? [])
    for (const unsent of this.#unsent) {
      if (unsent.state === 'sending') fail(unsent, 'The page was left before the server answered. It may have been sent.')
    }
  }

  /** @param {string} chatId */
  of (chatId) {
    return this.#unsent.filter((unsent) => unsent.chatId === chatId)
  }

  /**
   * Whether a message that came by the stream is one of these: the stream is often faster than the answer. Then it is sent, whatever the answer was.
   *
   * @param {string} chatId
   * @param {import('./room-history.js').Message} message
   */
  recognise (chatId, { id }) {
    if (!this.of(chatId).some(({ key }) => key === id)) return false
    this.discard(id)
    return true
  }

  /** @param {string} chatId @param {string} text @param {string} author */
  send (chatId, text, author) {
    /** @type {Unsent} */
    const unsent = { key: `${Date.now()}-${Math.random()}`, chatId, text, author, at: Date.now(), state: 'sending', reason: '' }
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
    const { id, reason = '' } = await post(unsent)
    if (id !== undefined) {
      this.discard(unsent.key)
      this.#sent(unsent, id)
    } else {
      fail(unsent, reason)
      this.#update()
    }
  }

  #update () {
    storage.set(KEY, this.#unsent)
    this.#changed()
  }
}

/** @param {Unsent} unsent @param {string} reason */
function fail (unsent, reason) {
  unsent.state = 'failed'
  unsent.reason = reason
}

/** @param {Unsent} unsent @returns {Promise<{ id?: string, reason?: string }>} */
async function post ({ chatId, key, text, author }) {
  try {
    const response = await fetch(`/api/chats/${encodeURIComponent(chatId)}/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ id: key, text, author }),
      signal: AbortSignal.timeout(TIMEOUT_MS)
    })
    const answer = await response.json()
    return response.ok ? { id: answer.id } : { reason: reasonOf(response.status, answer) }
  } catch (error) {
    const late = error instanceof DOMException && error.name === 'TimeoutError'
    return { reason: late ? 'The server did not answer in time. It may have been sent.' : 'The server can’t be reached.' }
  }
}

/** @param {number} status @param {{ code?: string, message?: string }} answer */
function reasonOf (status, { code, message }) {
  if (code === 'RT_PUBLISH_UNKNOWN') return 'The server lost its Redis on the way. It may have been sent.'
  if (status === 503) return 'The server can’t reach its Redis right now.'
  return message ?? `The server answered ${status}.`
}
