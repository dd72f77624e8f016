import { setMaxListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { createParser } from 'eventsource-parser'
import { parseCursor, type Cursor } from '../../lib/pubsub/cursor.ts'
import { Random } from './random.ts'

/** What a client was given: where it began, an event, or that it may have missed some. */
export interface Seen {
  event: string
  id: string
  data: { reason?: string | undefined, message?: { by: string, n: number } | undefined }
}

/** A stream that stays silent for this long is left, as a browser's user would: heartbeats come far more often. */
const SILENCE_MS = 1_500

/** A browser that has a chat open: when its stream ends it goes on at another instance, from the last id that it has. */
export class HoppingClient {
  readonly chatId: string
  readonly seen: Seen[] = []
  /** How many streams it has had, and how many of them went on from an id. */
  streams = 0
  resumed = 0
  /** How many of its streams broke off while it read nothing. */
  cut = 0
  /** When it had to come back, after its streams had ended. */
  readonly due: number[] = []
  /** What it was answered instead of a stream. A browser would give up there. */
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

  /** `pick` tells the URL of the instance that it is sent to each time. A patient one leaves no stream, and waits for as long as it was told, as a browser does. */
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

  /** Drops its stream; it comes back by itself. */
  drop (): void {
    this.#abort.abort()
  }

  /** Reads nothing for a while: what it is sent piles up on the way. */
  stall (until: Promise<void>): void {
    this.#stalled = until.finally(() => { this.#stalled = undefined })
  }

  close (): void {
    this.#closed = true
    this.drop()
  }

  /** Resolves once it has reached a place. Rejects with the signal. */
  reached (id: string, signal: AbortSignal): Promise<void> {
    return this.#until(() => this.#lastId === id, id, signal)
  }

  /** Resolves once it has been given an event. */
  saw (by: string, n: number, signal: AbortSignal): Promise<void> {
    return this.#until(() => this.seen.some(({ data: { message } }) => message?.by === by && message.n === n), `${by} ${n}`, signal)
  }

  /** Resolves once it has a place in its chat. */
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
      // Many wait with the same one.
      setMaxListeners(0, signal)
      signal.addEventListener('abort', () => reject(new Error(`A client of ${this.chatId} waits for ${what} and is at ${this.#lastId}`)))
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
    const silence = setTimeout(() => { this.#patient || this.#stalled !== undefined ? silence.refresh() : abort.abort() }, SILENCE_MS)
    try {
      const headers: Record<string, string> = this.#lastId === undefined ? {} : { 'last-event-id': this.#lastId }
      const response = await fetch(`${this.#pick()}/api/chats/${this.chatId}/events`, { headers, signal: abort.signal })
      if (response.status !== 200) this.refusals.push(response.status)
      const parser = createParser({
        onRetry: (retryMs) => { this.#retryMs = retryMs },
        onEvent: ({ event = 'message', id, data }) => { if (id !== undefined) this.#take({ event, id, data: essence(data) }) }
      })
      const decoder = new TextDecoder()
      for await (const chunk of response.body ?? []) {
        if (this.#stalled !== undefined) {
          stalled = true
          await this.#stalled
        }
        silence.refresh()
        // What comes after a drop was not read, and comes again.
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

/** All that is judged: the rest may be large. */
function essence (json: string): Seen['data'] {
  const { reason, message } = JSON.parse(json) as Seen['data']
  return { reason, message: message && { by: message.by, n: message.n } }
}

/** What is wrong with what a client was given. */
export interface Verdict { losses: number, duplicates: number, disorders: number, resets: Record<string, number>, events: number }

/**
 * Judges a client: between resets, what it was given is one unbroken run of the log, each event once. A fence is a place of the log
 * itself; any other reset says where the next run starts.
 */
export function judge ({ seen }: { seen: Seen[] }): Verdict {
  const verdict: Verdict = { losses: 0, duplicates: 0, disorders: 0, resets: {}, events: 0 }
  const known = new Set<string>()
  let at: Cursor | undefined
  for (const { event, id, data } of seen) {
    const cursor = parseCursor(id) as Cursor
    if (event === 'ready') {
      // It goes on from where the client was. Only a reset moves it elsewhere.
      at ??= cursor
      continue
    }
    const follows = at !== undefined && cursor.epoch === at.epoch && cursor.offset === at.offset + 1
    if (event === 'reset') {
      const reason = data.reason as string
      verdict.resets[reason] = (verdict.resets[reason] ?? 0) + 1
      if (reason === 'failover' && !follows) verdict.disorders++
      // "Once" holds between two of these: who goes back may be given again what another instance still takes for the log.
      if (reason === 'ahead' || reason === 'diverged') known.clear()
    } else {
      verdict.events++
      if (known.has(id)) verdict.duplicates++
      else if (!follows) cursor.epoch === at?.epoch && cursor.offset <= at.offset ? verdict.disorders++ : verdict.losses++
    }
    known.add(id)
    at = cursor
  }
  return verdict
}

/**
 * How many of a publisher's numbers, from 1 to `last`, a client missed although it was told of nothing between the one before and the
 * one after them.
 */
export function untold ({ seen }: { seen: Seen[] }, by: string, last: number): number {
  let next = 1
  let told = false
  let silent = 0
  for (const { event, data: { message } } of seen) {
    if (event === 'reset') told = true
    if (message?.by !== by) continue
    if (message.n > next && !told) silent += message.n - next
    // After a reset a number can come again: its publisher was not told that the lost branch had it.
    next = Math.max(next, message.n + 1)
    told = false
  }
  return silent + (told ? 0 : last + 1 - next)
}
