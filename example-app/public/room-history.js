// @ts-check
import { jsonStorage } from './storage.js'

/**
 * @typedef {object} Message
 * @property {string} id
 * @property {string} text
 * @property {readonly import('./ui-message-parts.js').Part[]} [parts] The content of a bot message, if it has more
 * than a text.
 * @property {string} author
 * @property {'user' | 'bot'} role
 * @property {string} sentAt
 * @property {'stopped' | 'interrupted' | 'failed'} [outcome] How a bot message ended that is not finished.
 * @property {string} [error] The server's description of a failure.
 *
 * @typedef {{ kind: 'message', message: Message, mine: boolean }} MessageEntry
 *
 * @typedef {object} GapEntry Messages sent between two times are missing, or may be.
 * @property {'gap'} kind
 * @property {number} from
 * @property {number} to
 * @property {boolean} certain Whether it is certain that messages are missing.
 * @property {string} reason
 *
 * @typedef {MessageEntry | GapEntry} Entry
 */

const storage = jsonStorage('sessionStorage')

/** Older entries are dropped, so that a busy room neither fills the storage of the tab nor slows the page down. */
const MAX_ENTRIES = 300

/** A tab stores about five million characters, in all rooms. */
const MAX_CHARACTERS = 1_000_000

/** What this tab has shown of a room. It survives a reload. */
export class RoomHistory {
  #key
  /** @type {Entry[]} */
  #entries
  #ids
  #characters
  /** The position of the stream, or '' if none is known. @type {string} */
  lastEventId
  /** When the history was last known to be complete; `undefined` before the first time. @type {number | undefined} */
  completeUntil

  /** @param {string} roomId */
  constructor (roomId) {
    this.#key = `room:${roomId}`
    const stored = /** @type {Partial<RoomHistory>} */ (storage.get(this.#key) ?? {})
    this.#entries = [...stored.entries ?? []]
    this.#ids = new Set(this.#entries.map((entry) => entry.kind === 'message' ? entry.message.id : ''))
    this.#characters = this.#entries.reduce((sum, entry) => sum + sizeOf(entry), 0)
    this.lastEventId = stored.lastEventId ?? ''
    this.completeUntil = stored.completeUntil
  }

  /** @returns {readonly Entry[]} */
  get entries () {
    return this.#entries
  }

  /** When the last message was sent. */
  get lastAt () {
    const last = this.#entries.at(-1)
    return last === undefined ? Date.now() : last.kind === 'gap' ? last.to : Date.parse(last.message.sentAt)
  }

  /** @param {string} messageId */
  has (messageId) {
    return this.#ids.has(messageId)
  }

  /**
   * Adds a message, unless it was added before.
   *
   * @param {Message} message
   * @param {boolean} mine
   * @returns {MessageEntry | undefined}
   */
  add (message, mine) {
    if (this.#ids.has(message.id)) return undefined
    /** @type {MessageEntry} */
    const entry = { kind: 'message', message, mine }
    this.#ids.add(message.id)
    this.#append(entry)
    return entry
  }

  /**
   * Adds a gap. Two gaps in a row become one.
   *
   * @param {import('./fastify-realtime/client.js').Reset} reset
   * @returns {GapEntry | undefined} `undefined` if the history is empty: then nothing can be missing from it
   */
  addGap ({ certain, reason }) {
    const last = this.#entries.at(-1)
    if (last === undefined) return undefined
    const to = Date.now()
    if (last.kind === 'gap') {
      // The reason that is shown is the one that makes it certain.
      if (certain || !last.certain) Object.assign(last, { certain, reason })
      last.to = to
      return last
    }
    const from = Math.max(this.completeUntil ?? 0, Date.parse(last.message.sentAt))
    /** @type {GapEntry} */
    const entry = { kind: 'gap', from, to, certain, reason }
    this.#append(entry)
    return entry
  }

  /** @param {string | undefined} lastEventId the position of the stream, if known */
  save (lastEventId) {
    this.lastEventId = lastEventId ?? this.lastEventId
    const { entries, completeUntil } = this
    storage.set(this.#key, { entries, lastEventId: this.lastEventId, completeUntil })
  }

  /** @param {Entry} entry */
  #append (entry) {
    this.#entries.push(entry)
    this.#characters += sizeOf(entry)
    while (this.#entries.length > MAX_ENTRIES || (this.#characters > MAX_CHARACTERS && this.#entries.length > 1)) {
      const dropped = /** @type {Entry} */ (this.#entries.shift())
      this.#characters -= sizeOf(dropped)
      if (dropped.kind === 'message') this.#ids.delete(dropped.message.id)
    }
  }
}

/** How many characters of storage an entry takes. @param {Entry} entry */
function sizeOf (entry) {
  return JSON.stringify(entry).length
}
