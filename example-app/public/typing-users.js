// @ts-check

/** The users who are typing. Each signal says for how long it is valid. */
export class TypingUsers {
  /** @type {Map<string, ReturnType<typeof setTimeout>>} */
  #timers = new Map()
  #changed

  /** @param {() => void} changed */
  constructor (changed) {
    this.#changed = changed
  }

  get names () {
    return [...this.#timers.keys()]
  }

  /** @param {{ user: string, expiresInMs: number }} signal */
  update ({ user, expiresInMs }) {
    if (expiresInMs === 0) return this.remove(user)
    clearTimeout(this.#timers.get(user))
    this.#timers.set(user, setTimeout(() => this.remove(user), expiresInMs))
    this.#changed()
  }

  /** @param {string} user */
  remove (user) {
    clearTimeout(this.#timers.get(user))
    if (this.#timers.delete(user)) this.#changed()
  }
}
