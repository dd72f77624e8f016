/** Holds data that may be dropped when all holders together exceed the budget. */
export interface ByteHolder {
  /** Drops at least some of its data, the oldest first. Returns whether any is left. */
  release (): boolean
}

/** A trim shrinks the data to this share of the limit. At the limit itself, each further event would need a trim. */
const TARGET = 7 / 8

/** Limits the bytes that many holders have together. Beyond the limit, the holders drop their oldest data in turn. */
export class ByteBudget {
  readonly #limit: number
  #bytes = 0
  /** The holders that have data. The next one to shrink comes first. */
  readonly #holders = new Set<ByteHolder>()

  constructor (limit: number) {
    this.#limit = limit
  }

  get bytes (): number {
    return this.#bytes
  }

  /** Adds a holder that has data from now on. */
  enter (holder: ByteHolder): void {
    this.#holders.add(holder)
  }

  /** Removes a holder that has no data any more. */
  leave (holder: ByteHolder): void {
    this.#holders.delete(holder)
  }

  /** Counts bytes that a holder has gained, or lost if the number is negative. */
  count (bytes: number): void {
    this.#bytes += bytes
  }

  /** Lets the holders drop data if the limit is exceeded. */
  trim (): void {
    if (this.#bytes > this.#limit) while (this.#holders.size > 0 && this.#bytes > this.#limit * TARGET) this.#shrink()
  }

  /** Goes through the holders once. Each one that has data left moves to the end. */
  #shrink (): void {
    for (const holder of [...this.#holders]) {
      if (this.#bytes <= this.#limit * TARGET) return
      this.#holders.delete(holder)
      if (holder.release()) this.#holders.add(holder)
    }
  }
}
