/** The links of an item. An item can be in at most one list. */
export interface Linked<T> {
  previous?: T | undefined
  next?: T | undefined
}

/**
 * A list in insertion order, for many short-lived items. A `Set` would rehash repeatedly as items are added and
 * deleted, and its discarded tables delay the garbage collection of the items.
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

  /** Returns whether the item was in the list. */
  delete (item: T): boolean {
    if (!this.has(item)) return false
    const { previous, next } = item
    if (previous === undefined) this.#first = next
    else previous.next = next
    if (next === undefined) this.#last = previous
    else next.previous = previous
    // Otherwise a removed item would keep all later items reachable.
    item.previous = item.next = undefined
    this.#size--
    return true
  }

  /** Iterates in insertion order. During iteration only the current item may be deleted. */
  * [Symbol.iterator] (): Iterator<T> {
    for (let item = this.#first, next; item !== undefined; item = next) {
      next = item.next
      yield item
    }
  }
}
