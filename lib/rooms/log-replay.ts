import { positionBefore, sameCursor, type Cursor } from '../pubsub/cursor.ts'
import type { ByteBudget } from '../pubsub/byte-budget.ts'
import { ReplayBuffer } from './replay-buffer.ts'
import type { LogPages } from './log-pages.ts'
import { budgets } from '../core/budgets.ts'
import { timing } from '../core/timing.ts'
import type { LogGap } from '../pubsub/event-log.ts'

/** The last page of a log. */
export interface SharedRead {
  buffer: ReplayBuffer
  /** True if the buffer begins with the first event of the log that can be replayed. */
  whole: boolean
}

/** Reads the events that the log still has, as frames for clients that reconnect. */
export class LogReplay {
  readonly #chatId: string
  readonly #pages: LogPages
  readonly #size: number
  readonly #budget: ByteBudget
  #shared: Promise<SharedRead> | undefined
  #expiry: NodeJS.Timeout | undefined

  constructor (chatId: string, pages: LogPages, size: number, budget: ByteBudget) {
    this.#chatId = chatId
    this.#pages = pages
    this.#size = size
    this.#budget = budget
  }

  /** Milliseconds after which a failed read is retried. */
  get retryMs (): number {
    return this.#pages.retryMs
  }

  /**
   * Returns the last page. One read is shared by all clients that ask within a short time; it is repeated if the page
   * ends before `minimum`. The log may have grown since. Rejects if the log can't be read.
   */
  async shared (minimum: Cursor): Promise<SharedRead> {
    const known = this.#shared
    const isTooOld = known !== undefined && (await known).buffer.head.offset < minimum.offset
    if (isTooOld && this.#shared === known) this.forget()
    this.#shared ??= this.#read()
    this.#expiry?.refresh()
    return await this.#shared
  }

  /** Drops the shared page, so that the next call reads again. */
  forget (): void {
    clearTimeout(this.#expiry)
    this.#shared?.then(({ buffer }) => buffer.clear(), () => {})
    this.#shared = undefined
  }

  /** Returns a page of the events after a position, or the reason of a gap. Rejects if the log can't be read. */
  async after (position: Cursor): Promise<ReplayBuffer | LogGap> {
    const { gap, entries } = await this.#pages.read(position, budgets.clientPage)
    if (gap !== undefined) return gap
    const buffer = new ReplayBuffer(this.#chatId, position)
    for (const entry of entries) {
      if (!buffer.precedes(entry.position)) break
      buffer.push(entry)
    }
    // An entry that can't be read leaves a gap that no later read fills.
    return buffer.size === 0 && entries.length > 0 ? 'diverged' : buffer
  }

  /** Returns the position before the last `count` events that the log still has. Rejects if the log can't be read. */
  async start (count: number): Promise<Cursor> {
    const { head, start, entries: [first] } = await this.#pages.ends(count)
    return start ?? (first === undefined ? head : positionBefore(first.position))
  }

  async #read (): Promise<SharedRead> {
    try {
      const { head, entries, start } = await this.#pages.read(undefined, budgets.clientPage, this.#size)
      clearTimeout(this.#expiry)
      this.#expiry = setTimeout(() => this.forget(), timing.sharedRead).unref()
      let buffer = this.#newBuffer(head)
      for (const entry of entries) {
        const { position } = entry
        // The first entry, or one after a gap.
        if (!buffer.precedes(position)) {
          buffer.clear()
          buffer = this.#newBuffer(positionBefore(position))
        }
        buffer.push(entry)
      }
      // An unreadable entry at the end is a gap, too: no client can continue from before it.
      if (sameCursor(buffer.head, head)) return { buffer, whole: start === undefined }
      buffer.clear()
      return { buffer: this.#newBuffer(head), whole: true }
    } catch (error) {
      this.forget()
      throw error
    }
  }

  #newBuffer (base: Cursor): ReplayBuffer {
    return new ReplayBuffer(this.#chatId, base, { budget: this.#budget })
  }
}
