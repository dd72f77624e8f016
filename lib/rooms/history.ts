import { placeBefore, sameCursor, type Cursor } from '../cursor.ts'
import { budgets, timing } from '../options.ts'
import type { ByteBudget } from '../pubsub/byte-budget.ts'
import type { LogGap } from '../pubsub/provider.ts'
import { Backlog } from './backlog.ts'
import type { LogPages } from './log-pages.ts'

/** What was read of the end of a log. */
export interface SharedRead {
  run: Backlog
  /** Whether the log had no events before the run. */
  whole: boolean
}

/** What the log has left of a chat, as frames for clients that reconnect. */
export class History {
  readonly #chatId: string
  readonly #pages: LogPages
  readonly #size: number
  readonly #budget: ByteBudget
  #shared: Promise<SharedRead> | undefined
  #unused: NodeJS.Timeout | undefined

  constructor (chatId: string, pages: LogPages, size: number, budget: ByteBudget) {
    this.#chatId = chatId
    this.#pages = pages
    this.#size = size
    this.#budget = budget
  }

  /** Milliseconds after which what could not be read is tried again. */
  get retryMs (): number {
    return this.#pages.retryMs
  }

  /**
   * The last page, read once for all who come one after another, and again when it doesn't reach up to `least`.
   * The log can be further by now. Rejects where it can't be read.
   */
  async shared (least: Cursor): Promise<SharedRead> {
    const known = this.#shared
    if (known !== undefined && (await known).run.top.offset < least.offset && this.#shared === known) this.forget()
    this.#shared ??= this.#read()
    this.#unused?.refresh()
    return await this.#shared
  }

  /** Makes who comes next read again. */
  forget (): void {
    clearTimeout(this.#unused)
    this.#shared?.then(({ run }) => run.clear(), () => {})
    this.#shared = undefined
  }

  /** A page of what comes after a place, or why that can't be told. Rejects where it can't be read. */
  async after (place: Cursor): Promise<Backlog | LogGap> {
    const { gap, entries } = await this.#pages.read(place, budgets.clientPage)
    if (gap !== undefined) return gap
    const run = new Backlog(this.#chatId, place)
    for (const logged of entries) {
      if (!run.precedes(logged.position)) break
      run.push(logged)
    }
    // An entry that can't be read leaves a hole that no reading fills.
    return run.size === 0 && entries.length > 0 ? 'diverged' : run
  }

  /** The place before the last `count` events that are left. Rejects where it can't be read. */
  async start (count: number): Promise<Cursor> {
    const { top, start, entries: [first] } = await this.#pages.ends(count)
    return start ?? (first === undefined ? top : placeBefore(first.position))
  }

  async #read (): Promise<SharedRead> {
    try {
      const { top, entries, start } = await this.#pages.read(undefined, budgets.clientPage, this.#size)
      clearTimeout(this.#unused)
      this.#unused = setTimeout(() => this.forget(), timing.sharedRead).unref()
      let run = this.#run(top)
      for (const logged of entries) {
        const { position } = logged
        // The first one, or one after a hole.
        if (!run.precedes(position)) {
          run.clear()
          run = this.#run(placeBefore(position))
        }
        run.push(logged)
      }
      // An entry that can't be read at the end is a hole, too: nobody could go on from before it.
      if (sameCursor(run.top, top)) return { run, whole: start === undefined }
      run.clear()
      return { run: this.#run(top), whole: true }
    } catch (error) {
      this.forget()
      throw error
    }
  }

  #run (base: Cursor): Backlog {
    return new Backlog(this.#chatId, base, { budget: this.#budget })
  }
}
