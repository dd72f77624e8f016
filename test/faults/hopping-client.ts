import { setMaxListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { createParser } from 'eventsource-parser'
import { parseCursor, type Cursor } from '../../lib/pubsub/cursor.ts'
import { Random } from './random.ts'

/** An item on a client's stream: where it began, an event, or a reset. */
export interface Seen {
  event: string
  id: string
  data: { reason?: string | undefined, message?: { by: string, n: number } | undefined }
}

/** A client abandons a stream after this silence, as a browser's user would: heartbeats are far more frequent. */
const SILENCE_MS = 1_500

/** A browser with an open chat: when its stream ends, it reconnects to another instance with its last event id. */
export class HoppingClient {
  readonly chatId: string
  readonly seen: Seen[] = []
  /** How many streams it has had, and how many of them resumed from an event id. */
  streams = 0
  resumed = 0
  /** How many of its streams were cut while it did not read. */
  cut = 0
  /** When it was due to reconnect, after its streams had ended. */
  readonly due: number[] = []
  /** The status of each response that was not a stream. A browser would give up there. */
  readonly refusals: number[] = []
  readonly #pick: () => string
  readonly #random: Random
  readonly #patient: boolean
  #retryMs = 0
  #stalled: Promise<void> | undefined
  readonly #watchers = new Set<() => void>()
  #abort = new AbortController()
  #lastId: string | undefined
  #closed = false

  /**
   * `pick` returns the URL of the instance for each connection. A patient client never abandons a stream, and waits for
   * the `retry` that it received, as a browser does.
   */
  constructor (chatId: string, pick: () => string, { random = new Random(), patient = false } = {}) {
    this.chatId = chatId
    this.#pick = pick
    this.#random = random
    this.#patient = patient
    this.#run()
  }

  get lastId (): string | undefined {
    return this.#lastId
  }

  /** Drops its stream; it reconnects by itself. */
  drop (): void {
    this.#abort.abort()
  }

  /** Reads nothing for a while: what is sent to it piles up on the way. */
  stall (until: Promise<void>): void {
    this.#stalled = until.finally(() => { this.#stalled = undefined })
  }

  close (): void {
    this.#closed = true
    this.drop()
  }

  /** Resolves once it has reached a position. Rejects with the signal. */
  reached (id: string, signal: AbortSignal): Promise<void> {
    return this.#until(() => this.#lastId === id, id, signal)
  }

  /** Resolves once it has received an event. */
  saw (by: string, n: number, signal: AbortSignal): Promise<void> {
    const received = ({ data: { message } }: Seen): boolean => message?.by === by && message.n === n
    return this.#until(() => this.seen.some(received), `${by} ${n}`, signal)
  }

  /** Resolves once it has a position in its chat. */
  ready (signal: AbortSignal): Promise<void> {
    return this.#until(() => this.#lastId !== undefined, 'ready', signal)
  }

  #until (fulfilled: () => boolean, what: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const check = (): void => {
        if (!fulfilled()) return
        this.#watchers.delete(check)
        resolve()
      }
      this.#watchers.add(check)
      // Many calls share one signal.
      setMaxListeners(0, signal)
      signal.addEventListener('abort', () => {
        reject(new Error(`A client of ${this.chatId} waits for ${what} and is at ${this.#lastId}`))
      })
      check()
    })
  }

  async #run (): Promise<void> {
    while (!this.#closed) {
      this.#abort = new AbortController()
      await this.#stream(this.#abort).catch(() => {})
      const wait = this.#patient ? this.#retryMs : 20 + this.#random.next() * 80
      this.due.push(performance.now() + wait)
      if (!this.#closed) await delay(wait)
    }
  }

  async #stream (abort: AbortController): Promise<void> {
    let stalled = false
    const silence = setTimeout(() => {
      this.#patient || this.#stalled !== undefined ? silence.refresh() : abort.abort()
    }, SILENCE_MS)
    try {
      const headers: Record<string, string> = this.#lastId === undefined ? {} : { 'last-event-id': this.#lastId }
      const response = await fetch(`${this.#pick()}/api/chats/${this.chatId}/events`, { headers, signal: abort.signal })
      if (response.status !== 200) this.refusals.push(response.status)
      const parser = createParser({
        onRetry: (retryMs) => { this.#retryMs = retryMs },
        onEvent: ({ event = 'message', id, data }) => {
          if (id !== undefined) this.#take({ event, id, data: essence(data) })
        }
      })
      const decoder = new TextDecoder()
      for await (const chunk of response.body ?? []) {
        if (this.#stalled !== undefined) {
          stalled = true
          await this.#stalled
        }
        silence.refresh()
        // A chunk after a drop counts as unread; its events are sent again.
        if (abort.signal.aborted) return
        parser.feed(decoder.decode(chunk, { stream: true }))
      }
    } catch (error) {
      if (stalled && !abort.signal.aborted) this.cut++
      throw error
    } finally {
      clearTimeout(silence)
      abort.abort()
    }
  }

  #take (seen: Seen): void {
    if (seen.event === 'ready') this.streams++
    if (seen.event === 'ready' && this.#lastId !== undefined) this.resumed++
    this.seen.push(seen)
    this.#lastId = seen.id
    for (const check of this.#watchers) check()
  }
}

/** The judged part of an event: the rest may be large. */
function essence (json: string): Seen['data'] {
  const { reason, message } = JSON.parse(json) as Seen['data']
  return { reason, message: message && { by: message.by, n: message.n } }
}

/** The faults in what a client received. */
export interface Verdict {
  losses: number
  duplicates: number
  disorders: number
  resets: Record<string, number>
  events: number
}

/**
 * Judges a client: between resets, it received one unbroken run of the log, each event once. A discontinuity marker has
 * a position in the log itself; any other reset has the position where the next run starts.
 */
export function judge ({ seen }: { seen: Seen[] }): Verdict {
  const verdict: Verdict = { losses: 0, duplicates: 0, disorders: 0, resets: {}, events: 0 }
  const known = new Set<string>()
  let at: Cursor | undefined
  for (const { event, id, data } of seen) {
    const cursor = parseCursor(id) as Cursor
    if (event === 'ready') {
      // The stream continues from the client's position. Only a reset changes that position.
      at ??= cursor
      continue
    }
    const follows = at !== undefined && cursor.epoch === at.epoch && cursor.offset === at.offset + 1
    if (event === 'reset') {
      const reason = data.reason as string
      verdict.resets[reason] = (verdict.resets[reason] ?? 0) + 1
      // "Once" holds between two of these: after them, another instance may send events again that it still holds.
      // A `failover` that does not follow is no marker: Redis could not write one yet, so the run starts at the head.
      if (reason === 'ahead' || reason === 'diverged' || (reason === 'failover' && !follows)) known.clear()
    } else {
      verdict.events++
      if (known.has(id)) verdict.duplicates++
      else if (!follows && cursor.epoch === at?.epoch && cursor.offset <= at.offset) verdict.disorders++
      else if (!follows) verdict.losses++
    }
    known.add(id)
    at = cursor
  }
  return verdict
}

/**
 * How many of a publisher's numbers, from 1 to `last`, a client missed without a reset between the number before and
 * the number after them.
 */
export function unreported ({ seen }: { seen: Seen[] }, by: string, last: number): number {
  let next = 1
  let reported = false
  let silent = 0
  for (const { event, data: { message } } of seen) {
    if (event === 'reset') reported = true
    if (message?.by !== by) continue
    if (message.n > next && !reported) silent += message.n - next
    // After a reset a number can be repeated: its publisher got no reply for the event on the lost branch.
    next = Math.max(next, message.n + 1)
    reported = false
  }
  return silent + (reported ? 0 : last + 1 - next)
}
