// @ts-check

/** @typedef {import('../message.js').Message} Message */

/** The messages of a room that this page has, each once: a page of rows of the database, and the events after it. */
export class RoomHistory {
  /** @type {Message[]} */
  #messages = []
  /** @type {Set<string>} */
  #ids = new Set()
  /** Where the messages before these begin. `null` if there are none. @type {string | null} */
  before = null

  /** @returns {readonly Message[]} */
  get messages () {
    return this.#messages
  }

  /** @param {string} messageId */
  has (messageId) {
    return this.#ids.has(messageId)
  }

  /** Adds a message of an event, unless it was in the rows. Returns whether it was added. @param {Message} message */
  add (message) {
    if (this.has(message.id)) return false
    this.#messages.push(message)
    this.#ids.add(message.id)
    return true
  }

  /** @param {import('./load-messages.js').Page} page */
  replace ({ messages, before }) {
    this.#set(messages, before)
  }

  /** @param {import('./load-messages.js').Page} page */
  prepend ({ messages, before }) {
    this.#set([...messages.filter(({ id }) => !this.has(id)), ...this.#messages], before)
  }

  /** @param {Message[]} messages @param {string | null} before */
  #set (messages, before) {
    this.#messages = messages
    this.#ids = new Set(messages.map(({ id }) => id))
    this.before = before
  }
}
