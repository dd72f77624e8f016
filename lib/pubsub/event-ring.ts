import { sameCursor, type Cursor } from './cursor.ts'
import type { ByteBudget, ByteHolder } from './byte-budget.ts'
import type { LogEntry } from './event-log.ts'

/** Limits of a ring. If one is exceeded, the oldest events are dropped. */
export interface EventRingOptions {
  /** Maximum number of events. @default no limit */
  capacity?: number | undefined
  /** Maximum bytes of the events. The newest event is always kept. @default no limit */
  bytes?: number | undefined
  /** A budget shared with other rings. If it is exceeded, the ring drops its older half. @default none */
  budget?: ByteBudget | undefined
}

/** Each event has two numbers: its tag, which is negative for a discontinuity marker, and its timestamp. */
const NUMBERS = 2
const TAG = 0
const TIMESTAMP = 1

/** Each event has three texts: its publisher, its name and its JSON. */
const TEXTS = 3
const FROM = 0
const EVENT = 1
const PAYLOAD = 2

/** Approximate bytes of an event besides its payload. */
const OVERHEAD = 100

/**
 * Consecutive events of a log, the newest last. If a limit is exceeded, the oldest are dropped. They share a few
 * arrays: millions of small objects would keep the garbage collector busy, and each further array would be one more
 * wait for memory. An event is addressed by its index: 0 is the oldest. Its slot is its place in these arrays.
 */
export class EventRing implements ByteHolder {
  readonly #capacity: number
  readonly #maxBytes: number
  readonly #budget: ByteBudget | undefined
  #bytes = 0
  #base: Cursor
  #size = 0
  /** The slot of the next event. It wraps around at the capacity. */
  #next = 0
  // Each of these arrays is `undefined` until it is needed, since most chats are idle.
  #numbers: number[] | undefined
  #texts: string[] | undefined
  /** By slot. Most apps have none. */
  #traceparents: (string | undefined)[] | undefined

  constructor (base: Cursor, { capacity = Infinity, bytes = Infinity, budget }: EventRingOptions = {}) {
    this.#base = base
    this.#capacity = capacity
    this.#maxBytes = bytes
    this.#budget = budget
  }

  /** The position before the first event. */
  get base (): Cursor {
    return this.#base
  }

  /** The position after the last event. */
  get head (): Cursor {
    return this.positionBefore(this.#size)
  }

  /** The offset of the last event. */
  get offset (): number {
    return this.#base.offset + this.#size
  }

  get size (): number {
    return this.#size
  }

  /** Approximate bytes of the events: a character counts as one byte. */
  get bytes (): number {
    return this.#bytes
  }

  /**
   * Adds the event that directly follows the last one, and drops the oldest beyond the limits. The indexes of the
   * others become smaller.
   */
  push ({ from, timestamp, event, json, traceparent, position: { tag, isMarker } }: LogEntry): void {
    if (this.#size === this.#capacity) this.#shift()
    const slot = this.#next
    const numbers = this.#numbers ??= []
    const texts = this.#texts ??= []
    numbers[slot * NUMBERS + TAG] = isMarker ? -tag : tag
    numbers[slot * NUMBERS + TIMESTAMP] = timestamp
    texts[slot * TEXTS + FROM] = from
    texts[slot * TEXTS + EVENT] = event
    texts[slot * TEXTS + PAYLOAD] = json
    if (traceparent !== undefined) this.#traceparents ??= []
    if (this.#traceparents !== undefined) this.#traceparents[slot] = traceparent
    this.#next = (slot + 1) % this.#capacity
    this.#size++
    if (this.#size === 1) this.#budget?.enter(this)
    this.#addBytes(json.length + OVERHEAD)
    while (this.#bytes > this.#maxBytes && this.#size > 1) this.#shift()
    this.#budget?.trim()
  }

  /** Drops the older half, rounded up. Returns whether any event is left. */
  release (): boolean {
    for (let n = Math.ceil(this.#size / 2); n > 0; n--) this.#shift()
    return this.#size > 0
  }

  /** Drops all events. The next event must still follow the last one. */
  clear (): void {
    while (this.#size > 0) this.#shift()
    this.#budget?.leave(this)
  }

  /** The position before the event at an index, from 0 to `size`. */
  positionBefore (index: number): Cursor {
    if (index === 0) return this.#base
    const { epoch, offset } = this.#base
    return { epoch, offset: offset + index, tag: Math.abs(this.#number(index - 1, TAG)) }
  }

  /** The index of the event after a cursor, up to `size`; `undefined` if the cursor is not a position in this ring. */
  indexAfter (cursor: Cursor): number | undefined {
    const index = cursor.offset - this.#base.offset
    return index >= 0 && index <= this.#size && sameCursor(this.positionBefore(index), cursor) ? index : undefined
  }

  /** The event at an index, from 0 to below `size`. */
  at (index: number): LogEntry {
    const { epoch, offset, tag } = this.positionBefore(index + 1)
    const traceparent = this.#traceparents?.[this.#slot(index)]
    const { tag: previousTag } = this.positionBefore(index)
    return {
      from: this.#text(index, FROM),
      timestamp: this.#number(index, TIMESTAMP),
      event: this.#text(index, EVENT),
      json: this.#text(index, PAYLOAD),
      ...traceparent !== undefined && { traceparent },
      position: { epoch, offset, tag, previousTag, isMarker: this.#number(index, TAG) < 0 }
    }
  }

  /** How many of the `limit` events from an index on fit into `bytes` bytes: at least one, if there is one. */
  countFirst (index: number, limit: number, bytes: number): number {
    return this.#countFitting(Math.min(limit, this.#size - index), bytes, (n) => index + n)
  }

  /** How many of the last `limit` events before an index fit into `bytes` bytes: at least one, if there is one. */
  countLast (end: number, limit: number, bytes: number): number {
    return this.#countFitting(Math.min(limit, end), bytes, (n) => end - 1 - n)
  }

  /** The events at the indexes from `start` to before `end`. */
  slice (start: number, end: number): LogEntry[] {
    return Array.from({ length: Math.max(0, Math.min(end, this.#size) - start) }, (_, n) => this.at(start + n))
  }

  #countFitting (limit: number, bytes: number, indexOf: (n: number) => number): number {
    let count = 0
    for (let left = bytes; count < limit; count++) {
      left -= this.#bytesAt(indexOf(count))
      if (left < 0 && count > 0) break
    }
    return count
  }

  #bytesAt (index: number): number {
    return this.#text(index, PAYLOAD).length + OVERHEAD
  }

  /** Drops the oldest event. */
  #shift (): void {
    const slot = this.#slot(0)
    const bytes = this.#bytesAt(0)
    this.#base = this.positionBefore(1)
    this.#size--
    // Otherwise it would stay in memory until the slot is used again.
    ;(this.#texts as string[])[slot * TEXTS + PAYLOAD] = ''
    this.#addBytes(-bytes)
  }

  // The index of these two is that of an event in the ring, so the array exists.

  #number (index: number, column: number): number {
    return (this.#numbers as number[])[this.#slot(index) * NUMBERS + column] as number
  }

  #text (index: number, column: number): string {
    return (this.#texts as string[])[this.#slot(index) * TEXTS + column] as string
  }

  #addBytes (bytes: number): void {
    this.#bytes += bytes
    this.#budget?.count(bytes)
  }

  #slot (index: number): number {
    const slot = this.#next - this.#size + index
    return slot < 0 ? slot + this.#capacity : slot
  }
}
