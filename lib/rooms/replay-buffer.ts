import { sameCursor, type Cursor } from '../pubsub/cursor.ts'
import type { EventRing } from '../pubsub/event-ring.ts'
import { concat, entryFrame, type ChatFrame } from './frames.ts'
import type { ByteBudget, ByteHolder } from '../pubsub/byte-budget.ts'
import { budgets } from '../core/budgets.ts'

/** Consecutive frames, and their bytes as one buffer. */
export interface FrameRun {
  readonly frames: readonly ChatFrame[]
  readonly bytes: Buffer
}

export const NO_FRAMES: FrameRun = { frames: [], bytes: Buffer.alloc(0) }

/** The events of a ring up to an index. The ring may have later ones, which streams do not get yet. */
export interface EventWindow {
  readonly ring: EventRing
  /** The index after the last event. */
  readonly end: number
}

/** Approximate bytes of a frame besides its content. */
const OVERHEAD = 300

/**
 * Consecutive events of a chat as frames, for clients that missed them. The events stay in a ring: in the log of this
 * process, or in one of the room. This class keeps only encoded frames, which can be encoded again.
 */
export class ReplayBuffer implements ByteHolder {
  readonly #chatId: string
  readonly #window: () => EventWindow
  readonly #budget: ByteBudget | undefined
  /** Frames by offset: an event is encoded when a client first needs it, since few are ever needed again. */
  #frames: Map<number, ChatFrame> | undefined
  /** The last result of `after`: clients that reconnect at the same time missed the same events. */
  #last: { after: Cursor, maxBytes: number, run: FrameRun, counted: number } | undefined
  /** The bytes that count in the budget. */
  #bytes = 0

  /** `window` returns the current events. */
  constructor (chatId: string, window: () => EventWindow, budget?: ByteBudget) {
    this.#chatId = chatId
    this.#window = window
    this.#budget = budget
  }

  /** The position before the first event. */
  get base (): Cursor {
    return this.#window().ring.base
  }

  /** The position after the last event. */
  get head (): Cursor {
    const { ring, end } = this.#window()
    return ring.positionBefore(end)
  }

  /** The number of events. */
  get size (): number {
    return this.#window().end
  }

  /** True if the buffer contains the position of a cursor. */
  has (cursor: Cursor): boolean {
    return indexAfter(cursor, this.#window()) !== undefined
  }

  /** Returns the position before the last `count` events, or before all of them if there are fewer. */
  before (count: number): Cursor {
    const { ring, end } = this.#window()
    return ring.positionBefore(Math.max(0, end - count))
  }

  /**
   * Returns the frames after a cursor, up to about `maxBytes` bytes; `undefined` if the buffer does not contain the
   * cursor.
   */
  after (cursor: Cursor, maxBytes = Infinity): FrameRun | undefined {
    const last = this.#last
    if (last !== undefined && last.maxBytes === maxBytes && sameCursor(last.after, cursor)) return last.run
    const window = this.#window()
    const start = indexAfter(cursor, window)
    if (start === undefined) return undefined
    if (start === window.end) return NO_FRAMES
    const run = this.#runFrom(start, window, maxBytes)
    // A run of one frame has no bytes of its own.
    const counted = run.frames.length === 1 ? 0 : run.bytes.length
    this.#count(counted - (last?.counted ?? 0))
    this.#last = { after: cursor, maxBytes, run, counted }
    if (this.#bytes > budgets.replay) this.dropFrames()
    this.#budget?.trim()
    return run
  }

  /** Drops the frames, since there is another event, or the budget is exceeded. */
  dropFrames (): void {
    if (this.#bytes === 0) return
    this.#count(-this.#bytes)
    this.#budget?.leave(this)
    this.#frames = undefined
    this.#last = undefined
  }

  release (): boolean {
    this.dropFrames()
    return false
  }

  #runFrom (start: number, { ring, end }: EventWindow, maxBytes: number): FrameRun {
    const frames: ChatFrame[] = []
    for (let index = start, left = maxBytes; index < end && left > 0; index++) {
      const frame = this.#frameAt(ring, index)
      frames.push(frame)
      left -= frame.bytes.length
    }
    return { frames, bytes: concat(frames) }
  }

  #frameAt (ring: EventRing, index: number): ChatFrame {
    const offset = ring.base.offset + index + 1
    const known = this.#frames?.get(offset)
    if (known !== undefined) return known
    const frame = entryFrame(this.#chatId, ring.at(index))
    if (this.#bytes === 0) this.#budget?.enter(this)
    this.#frames ??= new Map()
    this.#frames.set(offset, frame)
    this.#count(frame.bytes.length + OVERHEAD)
    return frame
  }

  #count (bytes: number): void {
    this.#bytes += bytes
    this.#budget?.count(bytes)
  }
}

function indexAfter (cursor: Cursor, { ring, end }: EventWindow): number | undefined {
  const index = ring.indexAfter(cursor)
  return index === undefined || index > end ? undefined : index
}
