import { placeBefore, sameCursor, type Cursor } from '../cursor.ts'
import { EventRun, type EventRunOptions } from '../pubsub/event-run.ts'
import type { Logged, Position } from '../pubsub/provider.ts'
import { ChatFrame, frameOf } from './control-frames.ts'

/** A run of a chat's events without a hole, the newest last, for clients that missed them. */
export class Backlog {
  readonly #run: EventRun
  /** Encodes a frame for the first client that needs it: few events are ever needed again. */
  readonly #encode: (logged: Logged) => Buffer

  constructor (chatId: string, base: Cursor, limits?: EventRunOptions) {
    this.#run = new EventRun(base, limits)
    this.#encode = (logged) => frameOf(chatId, logged).bytes
  }

  /** The place behind the last. */
  get top (): Cursor {
    return this.#run.top
  }

  /** The place before the first. */
  get base (): Cursor {
    return this.#run.base
  }

  get size (): number {
    return this.#run.size
  }

  /** Whether an event comes right after the last. */
  precedes (position: Position): boolean {
    return sameCursor(this.top, placeBefore(position))
  }

  push (logged: Logged): void {
    this.#run.push(logged)
  }

  /** Lets go of all. */
  clear (): void {
    this.#run.clear()
  }

  /** What comes after a cursor, until it has so many bytes; `undefined` if the cursor is not a place in this run. */
  after (cursor: Cursor, bytes = Infinity): readonly ChatFrame[] | undefined {
    // Frames that were made before may be too much by now.
    this.#run.trim()
    const start = this.#run.indexAfter(cursor)
    if (start === undefined) return undefined
    const frames: ChatFrame[] = []
    for (let index = start, left = bytes; index < this.size && left > 0; index++) {
      const frame = this.#run.frame(index, this.#encode)
      frames.push(new ChatFrame(this.#run.placeBefore(index + 1), frame))
      left -= frame.length
    }
    return frames
  }

  /** Whether a cursor is a place in this run. */
  has (cursor: Cursor): boolean {
    return this.#run.indexAfter(cursor) !== undefined
  }

  /** The place before the last `count` events, or before all of them. */
  before (count: number): Cursor {
    return this.#run.placeBefore(Math.max(0, this.size - count))
  }
}
