// @ts-check

/**
 * The members of each chat. An app keeps them itself if a library has no broadcast.
 * @template T
 */
export class Chats {
  /** @type {Map<string, Set<T>>} */
  #chats = new Map()

  /**
   * Adds a member. Returns a function that removes it.
   * @param {string} chatId
   * @param {T} member
   */
  enter (chatId, member) {
    const members = this.#chats.get(chatId) ?? new Set()
    this.#chats.set(chatId, members.add(member))
    return () => { members.delete(member) }
  }

  /**
   * @param {string} chatId
   * @returns {Iterable<T>}
   */
  in (chatId) {
    return this.#chats.get(chatId) ?? []
  }
}
