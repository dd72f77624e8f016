// @ts-check

const LENGTH_BYTES = 4

/** Splits bytes into the messages of PostgreSQL's protocol: a type of one byte, a length, and a content. */
export class WireMessages {
  #bytes = Buffer.alloc(0)

  /** @param {Uint8Array} bytes */
  add (bytes) {
    this.#bytes = Buffer.concat([this.#bytes, bytes])
  }

  /**
   * The next message, if it is complete.
   *
   * @param {{ typeBytes?: 0 | 1 }} [format] `0` for the first messages of a client, which have no type.
   */
  next ({ typeBytes = 1 } = {}) {
    if (this.#bytes.length < typeBytes + LENGTH_BYTES) return undefined
    const end = typeBytes + this.#bytes.readInt32BE(typeBytes)
    if (this.#bytes.length < end) return undefined
    const message = this.#bytes.subarray(0, end)
    this.#bytes = this.#bytes.subarray(end)
    return message
  }
}

/** @param {Uint8Array} bytes whole messages @returns {Buffer[]} */
export function messagesIn (bytes) {
  const messages = new WireMessages()
  messages.add(bytes)
  const all = []
  for (let message = messages.next(); message !== undefined; message = messages.next()) all.push(message)
  return all
}
