import { positionBefore, sameCursor, type Cursor } from '../pubsub/cursor.ts'
import type { ByteBudget } from '../pubsub/byte-budget.ts'
import { EventRing } from '../pubsub/event-ring.ts'
import { ReplayBuffer, type EventWindow } from './replay-buffer.ts'
import type { LogPages } from './log-pages.ts'
import { budgets } from '../core/budgets.ts'
import { timing } from '../core/timing.ts'
import type { LogGap, LogPosition } from '../pubsub/event-log.ts'

/** The last events of a log, as they were when it was read. */
export interface LastPage {
  ring: EventRing
  /** The events of the ring, as frames. */
  buffer: ReplayBuffer
  /** True if the log has no earlier event that can be replayed. */
  isWhole: boolean
}

/** Reads the history of one chat's log for clients that reconnect and for new clients that want past events. */
export class LogReplay {
  readonly #chatId: string
  readonly #pages: LogPages
  readonly #historySize: number
  readonly #budget: ByteBudget
  /** The last page that was read, for a short time. */
  #lastPage: Promise<LastPage> | undefined
  #expiry: NodeJS.Timeout | undefined

  constructor (chatId: string, pages: LogPages, historySize: number, budget: ByteBudget) {
    this.#chatId = chatId
    this.#pages = pages
    this.#historySize = historySize
    this.#budget = budget
  }

  /** Milliseconds after which a failed read is retried. */
  get retryMs (): number {
    return this.#pages.retryMs
  }

  /**
   * Returns the last page of the log. It is shared: many clients ask within a short time, and the log may have grown
   * since it was read. A page that ends before `minimum` is read again. Rejects if the log can't be read.
   */
  async lastPage (minimum: Cursor): Promise<LastPage> {
    const known = this.#lastPage
    const isTooOld = known !== undefined && (await known).buffer.head.offset < minimum.offset
    if (isTooOld && this.#lastPage === known) this.dropLastPage()
    this.#lastPage ??= this.#readLastPage()
    this.#expiry?.refresh()
    return await this.#lastPage
  }

  /** Drops the shared page, so that the next call of `lastPage` reads again. */
  dropLastPage (): void {
    clearTimeout(this.#expiry)
    this.#lastPage?.then(({ ring, buffer }) => {
      ring.clear()
      buffer.dropFrames()
    }, () => {})
    this.#lastPage = undefined
  }

  /** Reads a page of the events after a position. Returns the reason of a gap. Rejects if the log can't be read. */
  async readAfter (position: Cursor): Promise<ReplayBuffer | LogGap> {
    const { gap, entries } = await this.#pages.read(position, budgets.clientPage)
    if (gap !== undefined) return gap
    const ring = new EventRing(position)
    for (const entry of entries) {
      if (!precedes(ring, entry.position)) break
      ring.push(entry)
    }
    // An entry that can't be read leaves a gap that no later read fills.
    return ring.size === 0 && entries.length > 0 ? 'diverged' : new ReplayBuffer(this.#chatId, () => allOf(ring))
  }

  /** Returns the position before the last `count` events that the log still has. Rejects if the log can't be read. */
  async startOfLast (count: number): Promise<Cursor> {
    const { head, start, entries: [first] } = await this.#pages.readBounds(count)
    return start ?? (first === undefined ? head : positionBefore(first.position))
  }

  async #readLastPage (): Promise<LastPage> {
    try {
      const { head, entries, start } = await this.#pages.read(undefined, budgets.clientPage, this.#historySize)
      clearTimeout(this.#expiry)
      this.#expiry = setTimeout(() => this.dropLastPage(), timing.sharedRead).unref()
      let ring = this.#newRing(head)
      for (const entry of entries) {
        const { position } = entry
        // The first entry, or an entry after a gap: the page begins with it.
        if (!precedes(ring, position)) {
          ring.clear()
          ring = this.#newRing(positionBefore(position))
        }
        ring.push(entry)
      }
      // If the last entries of the log can't be read, no client can continue before them: the page is empty.
      if (sameCursor(ring.head, head)) return this.#pageOf(ring, start === undefined)
      ring.clear()
      return this.#pageOf(this.#newRing(head), true)
    } catch (error) {
      this.dropLastPage()
      throw error
    }
  }

  #newRing (base: Cursor): EventRing {
    return new EventRing(base, { budget: this.#budget })
  }

  #pageOf (ring: EventRing, isWhole: boolean): LastPage {
    return { ring, buffer: new ReplayBuffer(this.#chatId, () => allOf(ring), this.#budget), isWhole }
  }
}

/** Returns true if an event follows directly after the last one of a ring. */
function precedes (ring: EventRing, position: LogPosition): boolean {
  return sameCursor(ring.head, positionBefore(position))
}

function allOf (ring: EventRing): EventWindow {
  return { ring, end: ring.size }
}
