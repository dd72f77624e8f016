import { positionBefore, sameCursor, type Cursor } from '../pubsub/cursor.ts'
import { EventRing, type EventRingOptions } from '../pubsub/event-ring.ts'
import { ChatFrame, frameOf } from './frames.ts'
import type { LogEntry, LogPosition } from '../pubsub/event-log.ts'

/** A run of a chat's events without a hole, the newest last, for clients that missed them. */
export class ReplayBuffer {
  readonly #ring: EventRing
  /** Encodes a frame for the first client that needs it: few events are ever needed again. */
  readonly #encode: (entry: LogEntry) => Buffer

  constructor (chatId: string, base: Cursor, limits?: EventRingOptions) {
    this.#ring = new EventRing(base, limits)
    this.#encode = (entry) => frameOf(chatId, entry).bytes
  }

  /** The place behind the last. */
  get head (): Cursor {
    return this.#ring.head
  }

  /** The place before the first. */
  get base (): Cursor {
    return this.#ring.base
  }

  get size (): number {
    return this.#ring.size
  }

  /** Whether an event comes right after the last. */
  precedes (position: LogPosition): boolean {
    return sameCursor(this.head, positionBefore(position))
  }

  push (entry: LogEntry): void {
    this.#ring.push(entry)
  }

  /** Lets go of all. */
  clear (): void {
    this.#ring.clear()
  }

  /** What comes after a cursor, until it has so many bytes; `undefined` if the cursor is not a place in this run. */
  after (cursor: Cursor, bytes = Infinity): readonly ChatFrame[] | undefined {
    // Frames that were made before may be too much by now.
    this.#ring.trim()
    const start = this.#ring.indexAfter(cursor)
    if (start === undefined) return undefined
    const frames: ChatFrame[] = []
    for (let index = start, left = bytes; index < this.size && left > 0; index++) {
      const frame = this.#ring.frame(index, this.#encode)
      frames.push(new ChatFrame(this.#ring.positionBefore(index + 1), frame))
      left -= frame.length
    }
    return frames
  }

  /** Whether a cursor is a place in this run. */
  has (cursor: Cursor): boolean {
    return this.#ring.indexAfter(cursor) !== undefined
  }

  /** The place before the last `count` events, or before all of them. */
  before (count: number): Cursor {
    return this.#ring.positionBefore(Math.max(0, this.size - count))
  }
}
