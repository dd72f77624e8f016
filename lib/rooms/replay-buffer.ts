import { positionBefore, sameCursor, type Cursor } from '../pubsub/cursor.ts'
import { EventRing, type EventRingOptions } from '../pubsub/event-ring.ts'
import { ChatFrame, frameOf } from './frames.ts'
import type { LogEntry, LogPosition } from '../pubsub/event-log.ts'

/** A contiguous range of a chat's events, the newest last, for clients that missed them. */
export class ReplayBuffer {
  readonly #ring: EventRing
  /** Encodes a frame when a client first needs it, since few events are ever needed again. */
  readonly #encode: (entry: LogEntry) => Buffer

  constructor (chatId: string, base: Cursor, limits?: EventRingOptions) {
    this.#ring = new EventRing(base, limits)
    this.#encode = (entry) => frameOf(chatId, entry).bytes
  }

  /** The position after the last event. */
  get head (): Cursor {
    return this.#ring.head
  }

  /** The position before the first event. */
  get base (): Cursor {
    return this.#ring.base
  }

  get size (): number {
    return this.#ring.size
  }

  /** True if an event follows directly after the last one. */
  precedes (position: LogPosition): boolean {
    return sameCursor(this.head, positionBefore(position))
  }

  push (entry: LogEntry): void {
    this.#ring.push(entry)
  }

  /** Removes all events. */
  clear (): void {
    this.#ring.clear()
  }

  /**
   * Returns the frames after a cursor, up to about `bytes` bytes; `undefined` if the buffer does not contain the
   * cursor.
   */
  after (cursor: Cursor, bytes = Infinity): readonly ChatFrame[] | undefined {
    // Encoded frames may exceed the byte budget by now.
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

  /** True if the buffer contains the position of a cursor. */
  has (cursor: Cursor): boolean {
    return this.#ring.indexAfter(cursor) !== undefined
  }

  /** Returns the position before the last `count` events, or before all of them if there are fewer. */
  before (count: number): Cursor {
    return this.#ring.positionBefore(Math.max(0, this.size - count))
  }
}
