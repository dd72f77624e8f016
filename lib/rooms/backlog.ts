import { sameCursor, type Cursor } from '../cursor.ts'
import type { Position } from '../pubsub/provider.ts'

/** A frame, and the place in the log that a client has reached with it. */
export interface Reached {
  cursor: Cursor
  frame: Buffer
}

/** A run of a chat's frames without a hole, the newest last. */
export class Backlog {
  readonly #capacity: number
  /** The place before the first. */
  #base: Cursor
  #frames: Reached[] = []

  constructor (base: Cursor, capacity = Infinity) {
    this.#base = base
    this.#capacity = capacity
  }

  /** The place behind the last. */
  get top (): Cursor {
    return this.#frames.at(-1)?.cursor ?? this.#base
  }

  get size (): number {
    return this.#frames.length
  }

  get frames (): readonly Reached[] {
    return this.#frames
  }

  /** Whether an event comes right after the last. */
  precedes ({ epoch, offset, previousTag }: Position): boolean {
    return sameCursor(this.top, { epoch, offset: offset - 1, tag: previousTag })
  }

  push (reached: Reached): void {
    this.#frames.push(reached)
    // Cut in halves rather than one by one, which would move all of them each time.
    if (this.#frames.length < 2 * this.#capacity) return
    this.#base = (this.#frames[this.#capacity - 1] as Reached).cursor
    this.#frames = this.#frames.slice(this.#capacity)
  }

  /** What comes after a cursor; `undefined` if the cursor is not a place in this run. */
  after (cursor: Cursor): readonly Reached[] | undefined {
    const index = cursor.offset - this.#base.offset
    const place = index === 0 ? this.#base : this.#frames[index - 1]?.cursor
    return place !== undefined && sameCursor(place, cursor) ? this.#frames.slice(index) : undefined
  }

  /** The place before the last `count` frames, or before all of them. */
  before (count: number): Cursor {
    return this.#frames[this.#frames.length - 1 - count]?.cursor ?? this.#base
  }
}
