// @ts-check

/** An instance that dies while its bot thinks never says that it stopped. */
const FORGET_MS = 30_000

/** For which messages the bot is thinking about an answer. */
export class Thinking {
  /** @type {Map<string, ReturnType<typeof setTimeout>>} */
  #timers = new Map()
  #changed

  /** @param {() => void} changed */
  constructor (changed) {
    this.#changed = changed
  }

  get thinks () {
    return this.#timers.size > 0
  }

  /** @param {{ actionType: string, inReplyTo?: string }} action */
  take ({ actionType, inReplyTo = '' }) {
    if (actionType === 'thinking') {
      clearTimeout(this.#timers.get(inReplyTo))
      this.#timers.set(inReplyTo, setTimeout(() => this.#forget(inReplyTo), FORGET_MS))
      this.#changed()
    } else if (actionType === 'idle') {
      this.#forget(inReplyTo)
    }
  }

  clear () {
    for (const about of [...this.#timers.keys()]) this.#forget(about)
  }

  /** @param {string} about */
  #forget (about) {
    clearTimeout(this.#timers.get(about))
    if (this.#timers.delete(about)) this.#changed()
  }
}
