import { budgets } from '../../core/budgets.ts'
import { PackedText } from '../../core/packed-text.ts'
import type { ByteBudget, ByteHolder } from '../byte-budget.ts'
import type { Piece } from '../state-store.ts'

/** Approximate bytes of a block besides its content. */
const OVERHEAD = 200

interface Block { at: number, end: number, content: PackedText }

const NOTHING: Piece = { at: 0, end: 0, content: '' }

/**
 * The content of a draft of `LocalPubSub`. Its pieces are joined to blocks of at most `budgets.draft` bytes; only a
 * single piece may have more. Once the draft is finalized, the content is kept while there is room.
 */
export class DraftContent implements ByteHolder {
  readonly #budget: ByteBudget
  /** The complete blocks. */
  #blocks: Block[] = []
  /** The block that grows. */
  #last = NOTHING
  #lastBytes = 0
  #bytes = 0

  constructor (budget: ByteBudget) {
    this.#budget = budget
  }

  /** The position after the last piece. */
  get length (): number {
    return this.#last.end
  }

  /** All pieces, joined, unless they are longer than `budgets.draft`. */
  get joined (): string | undefined {
    return this.#blocks.length === 0 ? this.#last.content : undefined
  }

  append ({ end, content }: Piece): void {
    const bytes = Buffer.byteLength(content)
    if (this.#lastBytes + bytes > budgets.draft) this.#completeBlock()
    this.#last = { at: this.#last.at, end, content: this.#last.content + content }
    this.#lastBytes += bytes
    if (bytes > budgets.draft) this.#completeBlock()
    this.#count(bytes)
    this.#budget.trim()
  }

  /** Returns the pieces from a position on: as many as fit into the bytes of a page, and at least one. */
  readFrom (position: number): Piece[] {
    const pieces: Piece[] = []
    let bytes = 0
    for (const { at, end, content } of this.#blocks.slice(this.#indexAt(position))) {
      bytes += content.bytes
      if (pieces.length > 0 && bytes > budgets.page) return pieces
      pieces.push({ at, end, content: content.toString() })
    }
    const isPart = this.#last.end > Math.max(position, this.#last.at)
    return isPart && bytes + this.#lastBytes <= budgets.page ? [...pieces, this.#last] : pieces
  }

  /** Lets the budget drop the content: nothing is appended to it any more. */
  keep (): void {
    this.#completeBlock()
    this.#budget.enter(this)
  }

  /** Drops the content, since the budget is exceeded. */
  release (): boolean {
    this.clear()
    return false
  }

  /** Drops the content, which is not needed any more. */
  clear (): void {
    this.#budget.leave(this)
    this.#blocks = []
    this.#last = NOTHING
    this.#lastBytes = 0
    this.#count(-this.#bytes)
  }

  #completeBlock (): void {
    const { at, end, content } = this.#last
    if (at === end) return
    this.#blocks.push({ at, end, content: new PackedText(content) })
    this.#last = { at: end, end, content: '' }
    this.#lastBytes = 0
    this.#count(OVERHEAD)
  }

  #count (bytes: number): void {
    this.#bytes += bytes
    this.#budget.count(bytes)
  }

  /** The index of the complete block that contains what follows a position. */
  #indexAt (position: number): number {
    let [low, high] = [0, this.#blocks.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#blocks[middle] as Block).end > position) high = middle
      else low = middle + 1
    }
    return low
  }
}
