import { placeBefore, sameCursor, type Cursor } from '../cursor.ts'
import { timing } from '../options.ts'
import type { EventLog, LogGap } from '../pubsub/provider.ts'
import { Backlog, type Reached } from './backlog.ts'

/** How many events are read at once for one client. */
const PAGE = 500

/** What the log has left of a chat, as frames for clients that come back. */
export class History {
  readonly #chatId: string
  readonly #channel: string
  readonly #log: EventLog
  readonly #size: number
  #shared: Promise<Backlog> | undefined
  #unused: NodeJS.Timeout | undefined

  constructor (chatId: string, channel: string, log: EventLog, size: number) {
    this.#chatId = chatId
    this.#channel = channel
    this.#log = log
    this.#size = size
  }

  /**
   * The last events, read once for all who come one after another, and again when they don't reach up to `least` any more. The log can be
   * further by now. Rejects where it can't be read.
   */
  async shared (least: Cursor): Promise<Backlog> {
    const known = this.#shared
    if (known !== undefined && (await known).top.offset < least.offset && this.#shared === known) this.forget()
    this.#shared ??= this.#read()
    this.#unused?.refresh()
    return await this.#shared
  }

  /** Makes who comes next read again. */
  forget (): void {
    clearTimeout(this.#unused)
    this.#shared = undefined
  }

  /** What comes after a place, at most a page of it, or why that can't be told. Rejects where it can't be read. */
  async after (place: Cursor): Promise<readonly Reached[] | LogGap> {
    const { gap, entries } = await this.#log.read(this.#channel, place, PAGE)
    if (gap !== undefined) return gap
    const run = new Backlog(this.#chatId, place)
    for (const logged of entries) {
      if (!run.precedes(logged.position)) break
      run.push(logged)
    }
    // An entry that can't be read leaves a hole that no reading fills.
    return run.size === 0 && entries.length > 0 ? 'diverged' : run.after(place) as readonly Reached[] // It is where the run starts.
  }

  async #read (): Promise<Backlog> {
    try {
      const { top, entries } = await this.#log.read(this.#channel, undefined, this.#size)
      clearTimeout(this.#unused)
      this.#unused = setTimeout(() => this.forget(), timing.sharedRead).unref()
      let run = new Backlog(this.#chatId, top)
      for (const logged of entries) {
        const { position } = logged
        // The first one, or one after a hole.
        if (!run.precedes(position)) run = new Backlog(this.#chatId, placeBefore(position))
        run.push(logged)
      }
      // An entry that can't be read at the end is a hole, too: nobody could go on from before it.
      return sameCursor(run.top, top) ? run : new Backlog(this.#chatId, top)
    } catch (error) {
      this.forget()
      throw error
    }
  }
}
