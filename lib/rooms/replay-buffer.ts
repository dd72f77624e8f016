import { positionBefore, sameCursor, type Cursor } from '../pubsub/cursor.ts'
import { EventRing, type EventRingOptions } from '../pubsub/event-ring.ts'
import { ChatFrame, concat, entryFrame } from './frames.ts'
import type { ByteBudget } from '../pubsub/byte-budget.ts'
import type { LogEntry, LogPosition } from '../pubsub/event-log.ts'

/** Consecutive frames, and their bytes as one buffer. */
export interface FrameRun {
  readonly frames: readonly ChatFrame[]
  readonly bytes: Buffer
}

export const NO_FRAMES: FrameRun = { frames: [], bytes: Buffer.alloc(0) }

/** Approximate bytes of a frame in a run besides its content. */
const OVERHEAD = 100

/** Consecutive events of a chat, the newest last, and their frames, for clients that missed them. */
export class ReplayBuffer extends EventRing {
  readonly #chatId: string
  readonly #budget: ByteBudget | undefined
  /**
   * The last result of `after`, until an event is added: clients that reconnect at the same time missed the same
   * events. Its bytes count in the shared budget, which drops it before it drops events.
   */
  #last: { after: Cursor, maxBytes: number, run: FrameRun, counted: number } | undefined

  constructor (chatId: string, base: Cursor, limits: EventRingOptions = {}) {
    super(base, limits)
    this.#chatId = chatId
    this.#budget = limits.budget
  }

  override push (entry: LogEntry): void {
    if (this.#last !== undefined) this.#dropLast()
    super.push(entry)
  }

  override release (): boolean {
    if (this.#last === undefined) return super.release()
    this.#dropLast()
    return true
  }

  override clear (): void {
    this.#dropLast()
    super.clear()
  }

  /** True if an event follows directly after the last one. */
  precedes (position: LogPosition): boolean {
    return sameCursor(this.head, positionBefore(position))
  }

  /**
   * Returns the frames after a cursor, up to about `maxBytes` bytes; `undefined` if the buffer does not contain the
   * cursor.
   */
  after (cursor: Cursor, maxBytes = Infinity): FrameRun | undefined {
    const last = this.#last
    if (last !== undefined && last.maxBytes === maxBytes && sameCursor(last.after, cursor)) return last.run
    // Encoded frames may exceed the byte budget by now.
    this.trim()
    const start = this.indexAfter(cursor)
    if (start === undefined) return undefined
    if (start === this.size) return NO_FRAMES
    const run = this.#runFrom(start, maxBytes)
    this.#dropLast()
    // The bytes of a single frame are those of the event.
    const counted = run.frames.length === 1 ? OVERHEAD : run.bytes.length + run.frames.length * OVERHEAD
    this.#last = { after: cursor, maxBytes, run, counted }
    this.#budget?.count(counted)
    return run
  }

  /** True if the buffer contains the position of a cursor. */
  has (cursor: Cursor): boolean {
    return this.indexAfter(cursor) !== undefined
  }

  /** Returns the position before the last `count` events, or before all of them if there are fewer. */
  before (count: number): Cursor {
    return this.positionBefore(Math.max(0, this.size - count))
  }

  #runFrom (start: number, maxBytes: number): FrameRun {
    // An event is encoded when a client first needs it, since few are ever needed again.
    const encode = (entry: LogEntry): Buffer => entryFrame(this.#chatId, entry).bytes
    const frames: ChatFrame[] = []
    for (let index = start, left = maxBytes; index < this.size && left > 0; index++) {
      const frame = this.frame(index, encode)
      frames.push(new ChatFrame(this.positionBefore(index + 1), frame))
      left -= frame.length
    }
    return { frames, bytes: concat(frames) }
  }

  #dropLast (): void {
    this.#budget?.count(-(this.#last?.counted ?? 0))
    this.#last = undefined
  }
}
