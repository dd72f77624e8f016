/**
 * A text in memory of its own outside the heap. As UTF-8 it takes at most half of what a string takes that has a
 * character beyond Latin-1, and it never keeps a longer string alive of which it was a part.
 */
export class PackedText {
  readonly #data: Buffer
  readonly #encoding: 'utf8' | 'utf16le'

  constructor (text: string) {
    // UTF-8 cannot contain a lone surrogate.
    this.#encoding = text.isWellFormed() ? 'utf8' : 'utf16le'
    this.#data = Buffer.from(text, this.#encoding)
  }

  /** The bytes that it takes. */
  get bytes (): number {
    return this.#data.length
  }

  /** Returns the text. Each call makes a string of its own. */
  toString (): string {
    return this.#data.toString(this.#encoding)
  }
}
