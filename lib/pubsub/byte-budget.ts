/** Keeps what can be done without: it lets go of some of it when all together have too much. */
export interface ByteHolder {
  /** Lets go of at least something, the oldest first. Returns whether it still has any. */
  release (): boolean
}

/** To how much of its limit a budget comes down at once, so that not each byte more makes it look for another one to let go of. */
const DOWN_TO = 7 / 8

/** The bytes that many holders may have together. Beyond them, one after another lets go of its oldest. */
export class ByteBudget {
  readonly #limit: number
  #bytes = 0
  /** Those that have any. The one whose turn it is to let go of some comes first. */
  readonly #holders = new Set<ByteHolder>()

  constructor (limit: number) {
    this.#limit = limit
  }

  get bytes (): number {
    return this.#bytes
  }

  /** Says that a holder has something from now on. */
  enter (holder: ByteHolder): void {
    this.#holders.add(holder)
  }

  /** Says that a holder has nothing any more. */
  leave (holder: ByteHolder): void {
    this.#holders.delete(holder)
  }

  /** Counts what a holder has more, or less where it is negative. */
  count (bytes: number): void {
    this.#bytes += bytes
  }

  /** Makes holders let go of what is too much. */
  trim (): void {
    if (this.#bytes > this.#limit) while (this.#holders.size > 0 && this.#bytes > this.#limit * DOWN_TO) this.#shrink()
  }

  #shrink (): void {
    for (const holder of [...this.#holders]) {
      if (this.#bytes <= this.#limit * DOWN_TO) return
      this.#holders.delete(holder)
      if (holder.release()) this.#holders.add(holder)
    }
  }
}
