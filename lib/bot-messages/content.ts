import { toJson } from '../core/json.ts'
import { RealtimeError, kindOf } from '../errors.ts'
import type { BotMessageFormat } from '../event-types.ts'
import type { Piece } from '../pubsub/state-store.ts'

/**
 * All that was appended to a bot message on the instance that produces it. Nothing is dropped before the end, so that
 * the rest can be written again if Redis loses it.
 */
export interface BotMessageContent {
  /** The length that can be written, in UTF-16 code units of a text or in chunks. */
  readonly length: number
  /** The size in bytes of UTF-8. Chunks are counted as JSON. */
  readonly bytes: number
  /** The size that the content adds to the JSON of an event, in bytes. */
  readonly jsonBytes: number
  /** The content as one string, as pieces contain it. Its cost grows with the length. */
  readonly joined: string
  /** Returns an addition as the content stores it. Throws `RT_PAYLOAD_INVALID` or `RT_PAYLOAD_TOO_LARGE`. */
  encode (addition: unknown): string
  /** Appends an encoded addition. */
  append (encoded: string): void
  /** Returns the next piece from a position on. It is empty if that is `length`. */
  pieceAt (at: number): Piece
}

export function contentOf (format: BotMessageFormat, maxChunkBytes: number): BotMessageContent {
  return format === 'text' ? new TextContent() : new ChunkContent(maxChunkBytes)
}

/** Code units of a block. A piece is in one block, so its JSON has at most 192 KiB: six bytes for each code unit. */
const BLOCK = 32_768

/** A text, in blocks of equal length: reading a part of one very long string would copy all of it first. */
class TextContent implements BotMessageContent {
  readonly #full: string[] = []
  #last = ''
  #bytes = 0
  #jsonBytes = 0

  get length (): number {
    const all = this.#full.length * BLOCK + this.#last.length
    // A surrogate pair is never split: its first half waits for the second.
    return endsInPair(this.#last === '' ? this.#full.at(-1) ?? '' : this.#last) ? all - 1 : all
  }

  get bytes (): number {
    return this.#bytes
  }

  get jsonBytes (): number {
    return this.#jsonBytes
  }

  get joined (): string {
    return this.#full.join('') + this.#last
  }

  encode (text: unknown): string {
    if (typeof text === 'string') return text
    throw new RealtimeError(
      'RT_PAYLOAD_INVALID',
      `\`text\` must be a string, got ${kindOf(text)}. Append only the text of each chunk of the model, ` +
      "or start the bot message with format: 'chunks'"
    )
  }

  append (text: string): void {
    this.#bytes += Buffer.byteLength(text)
    this.#jsonBytes += jsonBytesOf(text)
    const unfinished = this.#last + text
    let start = 0
    for (; unfinished.length - start >= BLOCK; start += BLOCK) this.#full.push(unfinished.slice(start, start + BLOCK))
    this.#last = start === 0 ? unfinished : unfinished.slice(start)
  }

  pieceAt (at: number): Piece {
    if (at === this.length) return { at, end: at, content: '' }
    const index = Math.floor(at / BLOCK)
    let content = this.#block(index).slice(at % BLOCK)
    // The pair goes on in the next block.
    if (endsInPair(content)) {
      content = content.length > 1 ? content.slice(0, -1) : content + this.#block(index + 1).slice(0, 1)
    }
    return { at, end: at + content.length, content }
  }

  #block (index: number): string {
    return this.#full[index] ?? this.#last
  }
}

/** Bytes after which a piece has no further chunk. One chunk may be larger: see `maxPayloadBytes`. */
const PIECE = 131_072

/** Chunks, each as JSON. In a piece, each has a comma before it, so that pieces can be joined. */
class ChunkContent implements BotMessageContent {
  readonly #maxChunkBytes: number
  readonly #chunks: string[] = []
  #bytes = 0

  constructor (maxChunkBytes: number) {
    this.#maxChunkBytes = maxChunkBytes
  }

  get length (): number {
    return this.#chunks.length
  }

  get bytes (): number {
    return this.#bytes
  }

  get jsonBytes (): number {
    return this.#bytes + this.#chunks.length
  }

  get joined (): string {
    return this.#chunks.map((json) => `,${json}`).join('')
  }

  encode (chunk: unknown): string {
    const json = toJson(chunk)
    if (!json.startsWith('{')) {
      throw new RealtimeError(
        'RT_PAYLOAD_INVALID',
        `a chunk must be an object, got ${kindOf(chunk)}. Wrap other values, as in { value }`
      )
    }
    const bytes = Buffer.byteLength(json)
    if (bytes <= this.#maxChunkBytes) return json
    throw new RealtimeError('RT_PAYLOAD_TOO_LARGE', `${bytes} of at most ${this.#maxChunkBytes}`)
  }

  append (json: string): void {
    this.#bytes += Buffer.byteLength(json)
    this.#chunks.push(json)
  }

  pieceAt (at: number): Piece {
    let content = ''
    let end = at
    for (let bytes = 0; end < this.#chunks.length; end++) {
      const next = `,${this.#chunks[end]}`
      bytes += Buffer.byteLength(next)
      if (end > at && bytes > PIECE) break
      content += next
    }
    return { at, end, content }
  }
}

/** Whether a text ends with the first half of a surrogate pair. */
function endsInPair (text: string): boolean {
  const last = text.charCodeAt(text.length - 1)
  return last >= 0xd800 && last <= 0xdbff
}

/** The size that a text adds to the JSON of an event, in bytes. */
function jsonBytesOf (text: string): number {
  return Buffer.byteLength(JSON.stringify(text)) - 2 // Without the quotes.
}
