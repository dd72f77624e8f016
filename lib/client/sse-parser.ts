/** A frame of an event stream. */
export interface Frame {
  /** The event type. Absent for the default type, `message`. */
  event?: string | undefined
  id?: string | undefined
  data: string
}

/** Limits the memory that an event without an end can take. */
const MAX_CHARACTERS = 16 * 2 ** 20

/**
 * Parses an event stream as the HTML standard defines it. The text may arrive in pieces that are cut anywhere. The cost
 * per character is constant, however large an event is.
 */
export class FrameReader {
  readonly #onFrame: (frame: Frame) => void
  readonly #onRetry: (retryMs: number) => void
  /** The pieces of the line that has not ended yet. */
  #pieces: string[] = []
  #fields: Omit<Frame, 'data'> = {}
  #data: string[] = []
  /** The number of characters in `#data`. */
  #dataSize = 0
  /** The number of characters in `#pieces`. */
  #lineSize = 0
  #endsWithCR = false

  constructor (onFrame: (frame: Frame) => void, onRetry: (retryMs: number) => void) {
    this.#onFrame = onFrame
    this.#onRetry = onRetry
  }

  /**
   * Reads the next piece. Returns whether the stream can go on: false after an event of more than 16 million
   * characters.
   */
  read (text: string): boolean {
    if (text === '') return true
    const lineBreak = /\r\n?|\n/g
    // The previous piece may have ended between `\r` and `\n`.
    let at = this.#endsWithCR && text.startsWith('\n') ? 1 : 0
    lineBreak.lastIndex = at
    for (let found = lineBreak.exec(text); found !== null; found = lineBreak.exec(text)) {
      const line = [...this.#pieces, text.slice(at, found.index)].join('')
      at = lineBreak.lastIndex
      this.#pieces = []
      this.#lineSize = 0
      this.#endLine(line)
    }
    this.#endsWithCR = text.endsWith('\r')
    this.#pieces.push(text.slice(at))
    this.#lineSize += text.length - at
    return this.#dataSize + this.#lineSize <= MAX_CHARACTERS
  }

  #endLine (line: string): void {
    const [, name, value] = /^([^:]*):? ?(.*)/s.exec(line) as unknown as [string, string, string] // Matches any line.
    this.#addField(name, value)
    if (line !== '') return
    const frame = { ...this.#fields, data: this.#data.join('\n') }
    const isEvent = this.#data.length > 0
    this.#fields = {}
    this.#data = []
    this.#dataSize = 0
    if (isEvent) this.#onFrame(frame)
  }

  #addField (name: string, value: string): void {
    if (name === 'data') {
      this.#dataSize += value.length + 1
      this.#data.push(value)
    }
    if (name === 'event' || (name === 'id' && !value.includes('\0'))) this.#fields[name] = value
    if (name === 'retry' && /^\d+$/.test(value)) this.#onRetry(Number(value))
  }
}
