import { sameCursor, type Cursor } from './cursor.ts'
import type { ByteBudget, ByteHolder } from './byte-budget.ts'
import type { LogEntry } from './event-log.ts'

/** Limits of a ring. Beyond them, the oldest events are dropped. */
export interface EventRingOptions {
  /** Maximum number of events. @default no limit */
  capacity?: number | undefined
  /** Maximum bytes of the events and their frames. The newest event is always kept. @default no limit */
  bytes?: number | undefined
  /** A shared budget that counts the bytes. The ring drops its older half when the budget asks for it. @default none */
  budget?: ByteBudget | undefined
}

/** Approximate bytes of an event besides its payload. */
const OVERHEAD = 100

/**
 * Consecutive events of a log, the newest last. Beyond the limits, the oldest are dropped. They are stored in columns:
 * millions of small objects would keep the garbage collector busy.
 */
export class EventRing implements ByteHolder {
  readonly #capacity: number
  readonly #mostBytes: number
  readonly #budget: ByteBudget | undefined
  #bytes = 0
  #base: Cursor
  #size = 0
  /** The slot of the next event. It wraps around at the capacity. */
  #next = 0
  /** Negative for a discontinuity marker. */
  readonly #tags: number[] = []
  readonly #timestamps: number[] = []
  readonly #from: string[] = []
  readonly #events: string[] = []
  readonly #json: string[] = []
  /** `undefined` until an event has a traceparent. */
  #traceparents: (string | undefined)[] | undefined
  /** `undefined` until the first frame is made. */
  #frames: (Buffer | undefined)[] | undefined

  constructor (base: Cursor, { capacity = Infinity, bytes = Infinity, budget }: EventRingOptions = {}) {
    this.#base = base
    this.#capacity = capacity
    this.#mostBytes = bytes
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

  get size (): number {
    return this.#size
  }

  /** Approximate bytes of the events and their frames: a character counts as one byte. */
  get bytes (): number {
    return this.#bytes
  }

  /** Adds the event that directly follows the last one. */
  push ({ from, timestamp, event, json, traceparent, position: { tag, isMarker: fence } }: LogEntry): void {
    if (this.#size === this.#capacity) this.#shift()
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
    if (this.#size === 1) this.#budget?.enter(this)
    this.#count(json.length + OVERHEAD)
    this.trim()
  }

  /** Drops the oldest events beyond the limits. This shifts the indexes. */
  trim (): void {
    while (this.#bytes > this.#mostBytes && this.#size > 1) this.#shift()
    this.#budget?.trim()
  }

  /**
   * Returns the frame of an event. `make` builds it on the first call; it is cached until the event is dropped. A
   * frame counts as bytes, but only the next `trim` or `push` drops the excess.
   */
  frame (index: number, make: (entry: LogEntry) => Buffer): Buffer {
    const slot = this.#slot(index)
    const frames = this.#frames ??= []
    let frame = frames[slot]
    if (frame === undefined) {
      frame = frames[slot] = make(this.at(index))
      this.#count(frame.length)
    }
    return frame
  }

  /** Drops the older half. Returns whether any is left. */
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
    return { epoch, offset: offset + index, tag: Math.abs(this.#tags[this.#slot(index - 1)] as number) }
  }

  /** The index of the event after a cursor, up to `size`; `undefined` if the cursor is not a position in this ring. */
  indexAfter (cursor: Cursor): number | undefined {
    const index = cursor.offset - this.#base.offset
    return index >= 0 && index <= this.#size && sameCursor(this.positionBefore(index), cursor) ? index : undefined
  }

  /** The event at an index, from 0 to below `size`. */
  at (index: number): LogEntry {
    const slot = this.#slot(index)
    const traceparent = this.#traceparents?.[slot]
    return {
      from: this.#from[slot] as string,
      timestamp: this.#timestamps[slot] as number,
      event: this.#events[slot] as string,
      json: this.#json[slot] as string,
      ...traceparent !== undefined && { traceparent },
      position: {
        ...this.positionBefore(index + 1),
        previousTag: this.positionBefore(index).tag,
        isMarker: this.#tags[slot] as number < 0
      }
    }
  }

  /** How many of the `limit` events from an index on fit into `bytes` bytes: at least one, if there is one. */
  fitAfter (index: number, limit: number, bytes: number): number {
    const most = Math.min(limit, this.#size - index)
    let count = 0
    for (let left = bytes; count < most; count++) {
      left -= this.#weight(index + count)
      if (left < 0 && count > 0) break
    }
    return count
  }

  /** How many of the last `limit` events fit into `bytes` bytes: at least one, if there is one. */
  fitBeforeEnd (limit: number, bytes: number): number {
    const most = Math.min(limit, this.#size)
    let count = 0
    for (let left = bytes; count < most; count++) {
      left -= this.#weight(this.#size - 1 - count)
      if (left < 0 && count > 0) break
    }
    return count
  }

  /** The events at the indexes from `start` to before `end`. */
  slice (start: number, end: number): LogEntry[] {
    return Array.from({ length: Math.max(0, Math.min(end, this.#size) - start) }, (_, n) => this.at(start + n))
  }

  #weight (index: number): number {
    return (this.#json[this.#slot(index)] as string).length + OVERHEAD
  }

  #shift (): void {
    const slot = this.#slot(0)
    const bytes = this.#weight(0) + (this.#frames?.[slot]?.length ?? 0)
    this.#base = this.positionBefore(1)
    this.#size--
    // Otherwise these would stay in memory until the slot is used again.
    this.#json[slot] = ''
    if (this.#frames !== undefined) this.#frames[slot] = undefined
    this.#count(-bytes)
  }

  #count (bytes: number): void {
    this.#bytes += bytes
    this.#budget?.count(bytes)
  }

  #slot (index: number): number {
    const slot = this.#next - this.#size + index
    return slot < 0 ? slot + this.#capacity : slot
  }
}
