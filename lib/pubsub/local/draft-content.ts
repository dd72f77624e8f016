import { budgets } from '../../core/budgets.ts'
import type { ByteBudget, ByteHolder } from '../byte-budget.ts'
import { shortContent, type Piece } from '../state-store.ts'

/** Approximate bytes of a piece besides its content. */
const OVERHEAD = 100

/** The content of a draft of `LocalPubSub`. Once the draft is finalized, the content is kept while there is room. */
export class DraftContent implements ByteHolder {
  readonly #budget: ByteBudget
  #pieces: Piece[] = []
  #bytes = 0
  #joined: string | undefined = ''

  constructor (budget: ByteBudget) {
    this.#budget = budget
  }

  /** The position after the last piece. */
  get length (): number {
    return this.#pieces.at(-1)?.end ?? 0
  }

  /** All pieces, joined, unless they are longer than `budgets.draft`. */
  get joined (): string | undefined {
    return this.#joined
  }

  append (piece: Piece): void {
    this.#pieces.push(piece)
    this.#joined = shortContent(this.#joined, piece)
    this.#count(piece.content.length + OVERHEAD)
    this.#budget.trim()
  }

  /** Returns the pieces from a position on: as many as fit into the bytes of a page, and at least one. */
  readFrom (position: number): Piece[] {
    const first = this.#indexAt(position)
    let bytes = 0
    let last = first
    for (; last < this.#pieces.length; last++) {
      bytes += Buffer.byteLength((this.#pieces[last] as Piece).content)
      if (last > first && bytes > budgets.page) break
    }
    return this.#pieces.slice(first, last)
  }

  /** Lets the budget drop the content: nothing is appended to it any more. */
  keep (): void {
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
    this.#pieces = []
    this.#joined = undefined
    this.#count(-this.#bytes)
  }

  #count (bytes: number): void {
    this.#bytes += bytes
    this.#budget.count(bytes)
  }

  /** The index of the piece that contains what follows a position. */
  #indexAt (position: number): number {
    let [low, high] = [0, this.#pieces.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#pieces[middle] as Piece).end > position) high = middle
      else low = middle + 1
    }
    return low
  }
}
