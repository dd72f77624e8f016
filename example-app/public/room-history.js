// @ts-check
import { jsonStorage } from './storage.js'

/**
 * @typedef {object} Message
 * @property {string} id
 * @property {string} text
 * @property {string} author
 * @property {'user' | 'bot'} role
 * @property {string} sentAt
 * @property {'stopped' | 'interrupted' | 'failed'} [fate] How a streamed answer ended that was not finished.
 * @property {string} [error] What the server says of an answer that failed.
 *
 * @typedef {{ kind: 'message', message: Message, mine: boolean }} MessageEntry
 * @typedef {{ kind: 'gap', from: number, to: number, certain: boolean, reason: string }} GapEntry What was sent between the two may be missing, or is.
 * @typedef {MessageEntry | GapEntry} Entry
 */

const storage = jsonStorage('sessionStorage')

/** Older ones are forgotten, so that a busy room neither fills the tab's storage nor slows the page down. */
const MAX_ENTRIES = 300

/** What this tab has seen of a room. It survives a reload. */
export class RoomHistory {
  #key
  /** @type {Entry[]} */
  #entries
  #ids
  /** Where the stream was, for servers that can go on from there. @type {string} */
  lastEventId
  /** When the stream was last known to be complete; `undefined` before the first time. @type {number | undefined} */
  completeUntil

  /** @param {string} roomId */
  constructor (roomId) {
    this.#key = `room:${roomId}`
    const { entries = [], lastEventId = '', completeUntil } = /** @type {Partial<RoomHistory>} */ (storage.get(this.#key) ?? {})
    this.#entries = [...entries]
    this.#ids = new Set(this.#entries.map((entry) => entry.kind === 'message' ? entry.message.id : ''))
    this.lastEventId = lastEventId
    this.completeUntil = completeUntil
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

  /** @param {string} id of a message */
  has (id) {
    return this.#ids.has(id)
  }

  /** Adds a message, unless it is there already. @param {Message} message @param {boolean} mine @returns {MessageEntry | undefined} */
  add (message, mine) {
    if (this.#ids.has(message.id)) return undefined
    /** @type {MessageEntry} */
    const entry = { kind: 'message', message, mine }
    this.#ids.add(message.id)
    this.#append(entry)
    return entry
  }

  /**
   * Notes that something may be missing, or is. Two such notes in a row become one.
   *
   * @param {import('./fastify-realtime/client.js').Reset} reset
   * @returns {GapEntry | undefined} what was noted; nothing, where nothing was seen before
   */
  addGap ({ certain, reason }) {
    const last = this.#entries.at(-1)
    if (last === undefined) return undefined
    const now = Date.now()
    if (last.kind === 'gap') {
      last.to = now
      last.certain ||= certain
      last.reason = reason
      return last
    }
    /** @type {GapEntry} */
    const entry = { kind: 'gap', from: Math.max(this.completeUntil ?? 0, Date.parse(last.message.sentAt)), to: now, certain, reason }
    this.#append(entry)
    return entry
  }

  /** @param {string | undefined} lastEventId where the stream is now, if that is known */
  save (lastEventId) {
    this.lastEventId = lastEventId ?? this.lastEventId
    storage.set(this.#key, { entries: this.#entries, lastEventId: this.lastEventId, completeUntil: this.completeUntil })
  }

  /** @param {Entry} entry */
  #append (entry) {
    this.#entries.push(entry)
    for (const dropped of this.#entries.splice(0, this.#entries.length - MAX_ENTRIES)) {
      if (dropped.kind === 'message') this.#ids.delete(dropped.message.id)
    }
  }
}
