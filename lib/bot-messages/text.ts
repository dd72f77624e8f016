/** The text of a bot message, and how much of it was written to the state. */
export class BotMessageText {
  #whole = ''
  #jsonBytes = 0
  /** How much was written: in UTF-16 code units, and in bytes of UTF-8. */
  #written = 0
  #writtenBytes = 0

  /** All that was appended. */
  get whole (): string {
    return this.#whole
  }

  /** The size of the text in JSON, in bytes, without its quotes. */
  get jsonBytes (): number {
    return this.#jsonBytes
  }

  get writtenBytes (): number {
    return this.#writtenBytes
  }

  /** The text that can be written. A surrogate pair is never split: its first half waits for the second. */
  get writable (): string {
    return this.#whole.slice(0, this.#writableLength)
  }

  /** The part of the writable text that was not written yet. */
  get unwritten (): string {
    return this.#whole.slice(this.#written, this.#writableLength)
  }

  get hasUnwritten (): boolean {
    return this.#writableLength > this.#written
  }

  get #writableLength (): number {
    const { length } = this.#whole
    const last = this.#whole.charCodeAt(length - 1)
    return last >= 0xd800 && last <= 0xdbff ? length - 1 : length
  }

  append (text: string): void {
    this.#whole += text
    this.#jsonBytes += jsonBytesOf(text)
  }

  /** Called when a piece was appended to the text in the state. */
  addWritten (piece: string): void {
    this.#written += piece.length
    this.#writtenBytes += Buffer.byteLength(piece)
  }

  /** Called when the state holds exactly this beginning of the text. */
  setWritten (beginning: string): void {
    this.#written = this.#writtenBytes = 0
    this.addWritten(beginning)
  }
}

/** The size that a text adds to the JSON of an event, in bytes. */
export function jsonBytesOf (text: string): number {
  return Buffer.byteLength(JSON.stringify(text)) - 2 // Without the quotes.
}
