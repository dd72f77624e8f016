/** What a list is made of: each is in one list at most, or in none. */
export interface Linked<T> {
  previous?: T | undefined
  next?: T | undefined
}

/**
 * Items in the order they were added, for many that stay for a moment only. A `Set` copies itself again and again as they come and go, and what
 * it has outgrown keeps the garbage collector from freeing them soon.
 */
export class LinkedList<T extends Linked<T>> implements Iterable<T> {
  #first: T | undefined
  #last: T | undefined
  #size = 0

  get size (): number {
    return this.#size
  }

  add (item: T): void {
    item.previous = this.#last
    if (this.#last === undefined) this.#first = item
    else this.#last.next = item
    this.#last = item
    this.#size++
  }

  has (item: T): boolean {
    return item.previous !== undefined || this.#first === item
  }

  /** Returns whether it was in the list. */
  delete (item: T): boolean {
    if (!this.has(item)) return false
    const { previous, next } = item
    if (previous === undefined) this.#first = next
    else previous.next = next
    if (next === undefined) this.#last = previous
    else next.previous = previous
    // Else one that is gone would keep all that came after it.
    item.previous = item.next = undefined
    this.#size--
    return true
  }

  /** From the first on. The one at hand may be deleted meanwhile, no other. */
  * [Symbol.iterator] (): Iterator<T> {
    for (let item = this.#first, next; item !== undefined; item = next) {
      next = item.next
      yield item
    }
  }
}
