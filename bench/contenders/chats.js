// @ts-check

/**
 * Who is in which chat: what an app keeps itself where a library has no broadcast.
 * @template T
 */
export class Chats {
  /** @type {Map<string, Set<T>>} */
  #chats = new Map()

  /**
   * Returns its undo.
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
