// @ts-check

/** If an instance crashes while its bot is thinking, no event reports the end. */
const EXPIRY_MS = 30_000

/** The messages that the bot is thinking about. */
export class Thinking {
  /** @type {Map<string, ReturnType<typeof setTimeout>>} */
  #timers = new Map()
  #changed

  /** @param {() => void} changed */
  constructor (changed) {
    this.#changed = changed
  }

  get active () {
    return this.#timers.size > 0
  }

  /** @param {{ actionType: string, inReplyTo?: string }} action */
  update ({ actionType, inReplyTo = '' }) {
    if (actionType === 'thinking') {
      clearTimeout(this.#timers.get(inReplyTo))
      this.#timers.set(inReplyTo, setTimeout(() => this.#remove(inReplyTo), EXPIRY_MS))
      this.#changed()
    } else if (actionType === 'idle') {
      this.#remove(inReplyTo)
    }
  }

  clear () {
    for (const messageId of [...this.#timers.keys()]) this.#remove(messageId)
  }

  /** @param {string} messageId */
  #remove (messageId) {
    clearTimeout(this.#timers.get(messageId))
    if (this.#timers.delete(messageId)) this.#changed()
  }
}
