import { positionBefore, sameCursor, type Cursor } from '../pubsub/cursor.ts'
import { EventRing, type EventRingOptions } from '../pubsub/event-ring.ts'
import { ChatFrame, entryFrame } from './frames.ts'
import type { LogEntry, LogPosition } from '../pubsub/event-log.ts'

/** Consecutive events of a chat, the newest last, and their frames, for clients that missed them. */
export class ReplayBuffer extends EventRing {
  readonly #chatId: string

  constructor (chatId: string, base: Cursor, limits?: EventRingOptions) {
    super(base, limits)
    this.#chatId = chatId
  }

  /** True if an event follows directly after the last one. */
  precedes (position: LogPosition): boolean {
    return sameCursor(this.head, positionBefore(position))
  }

  /**
   * Returns the frames after a cursor, up to about `bytes` bytes; `undefined` if the buffer does not contain the
   * cursor.
   */
  after (cursor: Cursor, bytes = Infinity): readonly ChatFrame[] | undefined {
    // Encoded frames may exceed the byte budget by now.
    this.trim()
    const start = this.indexAfter(cursor)
    if (start === undefined) return undefined
    // An event is encoded when a client first needs it, since few are ever needed again.
    const encode = (entry: LogEntry): Buffer => entryFrame(this.#chatId, entry).bytes
    const frames: ChatFrame[] = []
    for (let index = start, left = bytes; index < this.size && left > 0; index++) {
      const frame = this.frame(index, encode)
      frames.push(new ChatFrame(this.positionBefore(index + 1), frame))
      left -= frame.length
    }
    return frames
  }

  /** True if the buffer contains the position of a cursor. */
  has (cursor: Cursor): boolean {
    return this.indexAfter(cursor) !== undefined
  }

  /** Returns the position before the last `count` events, or before all of them if there are fewer. */
  before (count: number): Cursor {
    return this.positionBefore(Math.max(0, this.size - count))
  }
}
