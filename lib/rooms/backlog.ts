import { placeBefore, sameCursor, type Cursor } from '../cursor.ts'
import { EventRun } from '../pubsub/event-run.ts'
import type { Logged, Position } from '../pubsub/provider.ts'
import { frameOf } from './control-frames.ts'

/** A frame, and the place in the log that a client has reached with it. */
export interface Reached {
  cursor: Cursor
  frame: Buffer
}

/** A run of a chat's events without a hole, the newest last, for clients that missed them. */
export class Backlog {
  readonly #chatId: string
  readonly #run: EventRun
  /** By offset. Encoded for the first client that needs it: few events are ever needed again. */
  #frames: Map<number, Buffer> | undefined

  constructor (chatId: string, base: Cursor, capacity?: number) {
    this.#chatId = chatId
    this.#run = new EventRun(base, { capacity })
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
    this.#frames?.delete(this.#run.base.offset)
  }

  /** What comes after a cursor; `undefined` if the cursor is not a place in this run. */
  after (cursor: Cursor): readonly Reached[] | undefined {
    const start = this.#run.indexAfter(cursor)
    if (start === undefined) return undefined
    return Array.from({ length: this.size - start }, (_, n) => ({ cursor: this.#run.placeBefore(start + n + 1), frame: this.#frame(start + n) }))
  }

  /** Whether a cursor is a place in this run. */
  has (cursor: Cursor): boolean {
    return this.#run.indexAfter(cursor) !== undefined
  }

  /** The place before the last `count` events, or before all of them. */
  before (count: number): Cursor {
    return this.#run.placeBefore(Math.max(0, this.size - count))
  }

  #frame (index: number): Buffer {
    const offset = this.#run.base.offset + index + 1
    const frames = this.#frames ??= new Map()
    const frame = frames.get(offset) ?? frameOf(this.#chatId, this.#run.at(index))
    frames.set(offset, frame)
    return frame
  }
}
