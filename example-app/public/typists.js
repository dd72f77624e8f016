// @ts-check

/** Who types. Each sign says for how long it holds. */
export class Typists {
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

  /** @param {{ user: string, expiresInMs: number }} sign */
  take ({ user, expiresInMs }) {
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
