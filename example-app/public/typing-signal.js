// @ts-check

/** A signal is valid for six seconds. */
const INTERVAL_MS = 2_000

/** Notifies the others that the user types, or has stopped. */
export class TypingSignal {
  #last = { roomId: '', typing: false, at: -Infinity }

  /** @param {string} roomId @param {string} user @param {boolean} typing */
  send (roomId, user, typing) {
    const { at } = this.#last
    const same = roomId === this.#last.roomId && typing === this.#last.typing
    if (user === '' || (!typing && !this.#last.typing)) return
    if (same && performance.now() - at < INTERVAL_MS) return
    this.#last = { roomId, typing, at: performance.now() }
    // A signal that is lost does no harm.
    fetch(`/api/chats/${encodeURIComponent(roomId)}/typing`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ user, typing })
    }).catch(() => {})
  }
}
