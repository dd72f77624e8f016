/** Random numbers that a seed repeats. */
export class Random {
  readonly seed: number
  #state: number

  constructor (seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))) {
    this.seed = seed
    this.#state = seed
  }

  /** An independent source of random numbers: other draws don't change them. */
  of (name: string): Random {
    let hash = this.seed
    for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193)
    return new Random(hash)
  }

  /** From 0 to below 1. */
  next (): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  pick<T> (list: readonly T[]): T {
    return list[Math.floor(this.next() * list.length)] as T
  }

  shuffled<T> (list: readonly T[]): T[] {
    return list.map((value) => ({ value, at: this.next() })).sort((a, b) => a.at - b.at).map(({ value }) => value)
  }
}
