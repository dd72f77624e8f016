import { sameCursor, type Cursor } from '../cursor.ts'
import type { Logged } from './provider.ts'

/**
 * Events of a log without a hole, the newest last; beyond its capacity the oldest is dropped. They are kept in columns: millions of small
 * objects would keep the garbage collector busy.
 */
export class EventRun {
  readonly #capacity: number
  #base: Cursor
  #size = 0
  /** Where the next one goes, and then on from the start. */
  #next = 0
  /** Below zero for a fence. */
  readonly #tags: number[] = []
  readonly #timestamps: number[] = []
  readonly #from: string[] = []
  readonly #events: string[] = []
  readonly #json: string[] = []
  /** Only if any event had one. */
  #traceparents: (string | undefined)[] | undefined

  constructor (base: Cursor, capacity = Infinity) {
    this.#base = base
    this.#capacity = capacity
  }

  /** The place before the first. */
  get base (): Cursor {
    return this.#base
  }

  /** The place behind the last. */
  get top (): Cursor {
    return this.placeBefore(this.#size)
  }

  get size (): number {
    return this.#size
  }

  /** Adds the event that comes right after the last. */
  push ({ from, timestamp, event, json, traceparent, position: { tag, fence } }: Logged): void {
    if (this.#size === this.#capacity) {
      this.#base = this.placeBefore(1)
      this.#size--
    }
    const slot = this.#next
    this.#tags[slot] = fence ? -tag : tag
    this.#timestamps[slot] = timestamp
    this.#from[slot] = from
    this.#events[slot] = event
    this.#json[slot] = json
    if (traceparent !== undefined) this.#traceparents ??= []
    if (this.#traceparents !== undefined) this.#traceparents[slot] = traceparent
    this.#next = (slot + 1) % this.#capacity
    this.#size++
  }

  /** The place before the event of an index, from 0 to `size`. */
  placeBefore (index: number): Cursor {
    if (index === 0) return this.#base
    const { epoch, offset } = this.#base
    return { epoch, offset: offset + index, tag: Math.abs(this.#tags[this.#slot(index - 1)] as number) }
  }

  /** The index of what comes after a cursor, up to `size`; `undefined` if the cursor is no place in this run. */
  indexAfter (cursor: Cursor): number | undefined {
    const index = cursor.offset - this.#base.offset
    return index >= 0 && index <= this.#size && sameCursor(this.placeBefore(index), cursor) ? index : undefined
  }

  /** The event of an index, from 0 to below `size`. */
  at (index: number): Logged {
    const slot = this.#slot(index)
    const traceparent = this.#traceparents?.[slot]
    return {
      from: this.#from[slot] as string,
      timestamp: this.#timestamps[slot] as number,
      event: this.#events[slot] as string,
      json: this.#json[slot] as string,
      ...traceparent !== undefined && { traceparent },
      position: { ...this.placeBefore(index + 1), previousTag: this.placeBefore(index).tag, fence: this.#tags[slot] as number < 0 }
    }
  }

  /** The events of the indexes from `start` to before `end`. */
  slice (start: number, end: number): Logged[] {
    return Array.from({ length: Math.max(0, Math.min(end, this.#size) - start) }, (_, n) => this.at(start + n))
  }

  #slot (index: number): number {
    const slot = this.#next - this.#size + index
    return slot < 0 ? slot + this.#capacity : slot
  }
}
