import { joinChunks } from './chunks.ts'
import { toJson } from '../core/json.ts'
import { PackedText } from '../core/packed-text.ts'
import { RealtimeError, kindOf } from '../errors.ts'
import type { BotMessageFormat } from '../event-types.ts'
import type { Piece } from '../pubsub/state-store.ts'

/** What was appended to a bot message on the instance that produces it. */
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
  /** Allows to drop what is before a position, which is then never read again. Nor is `joined`. */
  forget (before: number): void
}

export function contentOf (format: BotMessageFormat, maxChunkBytes: number): BotMessageContent {
  return format === 'text' ? new TextContent() : new ChunkContent(maxChunkBytes)
}

/** The complete blocks of a content. A part of them can be read without copying all. */
class Blocks {
  readonly #blocks: { start: number, content: PackedText }[] = []
  /** The position after the last block. */
  end = 0

  push (content: string, length: number): void {
    this.#blocks.push({ start: this.end, content: new PackedText(content) })
    this.end += length
  }

  /** Returns the block with a position below `end`. */
  at (position: number): { start: number, content: string } {
    const block = this.#blocks.findLast(({ start }) => start <= position)
    const { start, content } = block as NonNullable<typeof block> // The first block begins at 0.
    return { start, content: content.toString() }
  }

  get all (): string[] {
    return this.#blocks.map(({ content }) => content.toString())
  }

  /** Drops the blocks that end at a position or before. */
  drop (position: number): void {
    while (this.#blocks.length > 0 && (this.#blocks[1]?.start ?? this.end) <= position) this.#blocks.shift()
  }
}

/**
 * Code units of a block of text. A block has one more where it would otherwise split a surrogate pair. A piece is in
 * one block, so its JSON has at most 192 KiB: six bytes for each code unit.
 */
const TEXT_BLOCK = 32_768

class TextContent implements BotMessageContent {
  readonly #blocks = new Blocks()
  #last = ''
  #bytes = 0
  #jsonBytes = 0

  get length (): number {
    const all = this.#blocks.end + this.#last.length
    // A surrogate pair is never split: its first half waits for the second.
    return isFirstHalf(this.#last, this.#last.length - 1) ? all - 1 : all
  }

  get bytes (): number {
    return this.#bytes
  }

  get jsonBytes (): number {
    return this.#jsonBytes
  }

  get joined (): string {
    return this.#blocks.all.join('') + this.#last
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
    while (unfinished.length - start > TEXT_BLOCK) {
      const length = isFirstHalf(unfinished, start + TEXT_BLOCK - 1) ? TEXT_BLOCK + 1 : TEXT_BLOCK
      this.#blocks.push(unfinished.slice(start, start + length), length)
      start += length
    }
    this.#last = start === 0 ? unfinished : unfinished.slice(start)
  }

  pieceAt (at: number): Piece {
    const { end } = this.#blocks
    const { start, content: block } = at < end ? this.#blocks.at(at) : { start: end, content: this.#last }
    const content = block.slice(at - start, this.length - start)
    return { at, end: at + content.length, content }
  }

  forget (before: number): void {
    this.#blocks.drop(before)
  }
}

/** Bytes of a block of chunks, which is at most one piece. One chunk may be larger: see `maxPayloadBytes`. */
const CHUNK_BLOCK = 131_072

class ChunkContent implements BotMessageContent {
  readonly #maxChunkBytes: number
  /** JSON contains no line break, so it separates the chunks of a block. */
  readonly #blocks = new Blocks()
  #last: string[] = []
  #lastBytes = 0
  #bytes = 0

  constructor (maxChunkBytes: number) {
    this.#maxChunkBytes = maxChunkBytes
  }

  get length (): number {
    return this.#blocks.end + this.#last.length
  }

  get bytes (): number {
    return this.#bytes
  }

  get jsonBytes (): number {
    return this.#bytes + this.length
  }

  get joined (): string {
    return joinChunks([...this.#blocks.all.flatMap((block) => block.split('\n')), ...this.#last])
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
    const bytes = Buffer.byteLength(json)
    const inPiece = bytes + 1 // With its comma.
    if (this.#last.length > 0 && this.#lastBytes + inPiece > CHUNK_BLOCK) {
      this.#blocks.push(this.#last.join('\n'), this.#last.length)
      this.#last = []
      this.#lastBytes = 0
    }
    this.#last.push(json)
    this.#lastBytes += inPiece
    this.#bytes += bytes
  }

  pieceAt (at: number): Piece {
    const chunks = this.#chunksFrom(at)
    return { at, end: at + chunks.length, content: joinChunks(chunks) }
  }

  forget (before: number): void {
    this.#blocks.drop(before)
  }

  /** The chunks from a position on that are in the same block. */
  #chunksFrom (at: number): string[] {
    if (at >= this.#blocks.end) return this.#last.slice(at - this.#blocks.end)
    const { start, content } = this.#blocks.at(at)
    return content.split('\n').slice(at - start)
  }
}

/** Whether the character at an index is the first half of a surrogate pair. */
function isFirstHalf (text: string, index: number): boolean {
  const unit = text.charCodeAt(index)
  return unit >= 0xd800 && unit <= 0xdbff
}

/** The size that a text adds to the JSON of an event, in bytes. */
function jsonBytesOf (text: string): number {
  return Buffer.byteLength(JSON.stringify(text)) - 2 // Without the quotes.
}
