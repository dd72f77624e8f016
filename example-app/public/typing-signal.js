// @ts-check

/** A sign holds for six seconds, so one in two keeps it up. */
const EVERY_MS = 2_000

/** Tells the others that one types here, and when one has stopped. */
export class TypingSignal {
  #told = { roomId: '', typing: false, at: -Infinity }

  /** @param {string} roomId @param {string} user @param {boolean} typing */
  tell (roomId, user, typing) {
    const { roomId: toldRoom, typing: told, at } = this.#told
    const same = roomId === toldRoom && typing === told
    if (user === '' || (same && (!typing || performance.now() - at < EVERY_MS)) || (!typing && !told)) return
    this.#told = { roomId, typing, at: performance.now() }
    // If it does not arrive, nothing is lost.
    fetch(`/api/chats/${encodeURIComponent(roomId)}/typing`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ user, typing })
    }).catch(() => {})
  }
}
