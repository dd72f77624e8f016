import { marker, type Delivery, type Place } from './delivery.ts'
import { misfitOf, refusalOf, TOO_LARGE, type Refusal } from './refusal.ts'
import { idOf } from './event-id.ts'
import { frameReader } from './frame-reader.ts'
import { watchNetwork } from './network.ts'

export type Headers = Record<string, string>

export interface FeedOptions {
  /** What the paths of the routes start with. */
  url: string
  headers: Headers | (() => Headers | Promise<Headers>) | undefined
  fetch: typeof fetch
  /** Milliseconds without a byte after which a connection counts as dead. */
  silenceMs: number
}

export type FeedState = 'idle' | 'connecting' | 'open' | 'offline' | 'stopped'

export interface FeedEvents {
  deliver (delivery: Delivery): void
  state (state: FeedState): void
  /** A chat was refused and is not asked for any more; without a `chatId`, all are. */
  refused (refusal: Refusal): void
  /** The device is back. What has come from elsewhere meanwhile may be lost, too. */
  woke (): void
}

interface Seat extends Place {
  /** Whether it has been told where it is. */
  greeted: boolean
}

/** Whom a connection was opened for, in the order of their parts. */
type Seats = [chatId: string, seat: Seat][]

const LONGEST_WAIT = 30_000
/** A timer that is set for longer goes off at once. */
const LONGEST_TIMER = 2 ** 31 - 1
/** What can stand in a path: Fastify takes no longer ones, unless it is told to, and dots alone mean another path. */
const PARAM = /^(?!\.\.?$).{1,100}$/

/** The events of some chats over one connection, which comes back whenever it breaks. */
export class Feed {
  readonly chats = new Map<string, Seat>()
  readonly #options: FeedOptions
  readonly #events: FeedEvents
  readonly #unwatch: () => void
  /** Changes whenever the connection that there is shall not be gone on with. */
  #turn = 0
  #connection = new AbortController()
  #silence: ReturnType<typeof setTimeout> | undefined
  #heard = 0
  /** Ends the wait before the next attempt. */
  #wake = (): void => {}
  #offline = false
  #attempts = 0
  #retryMs = 2_000
  /** Whether headers were asked for anew, since those before were refused. */
  #renewed = false

  constructor (options: FeedOptions, events: FeedEvents) {
    this.#options = options
    this.#events = events
    this.#unwatch = watchNetwork({ wake: () => { this.wake(); events.woke() }, offline: () => this.#lose() })
  }

  add (chatId: string, place: Place): void {
    this.chats.set(chatId, { ...place, greeted: false })
    this.renew()
  }

  delete (chatId: string): void {
    if (this.chats.delete(chatId)) this.renew()
  }

  /** Comes back now rather than later, and also where a connection may have died unnoticed. */
  wake (): void {
    this.#offline = false
    if (Date.now() - this.#heard > this.#options.silenceMs / 2) this.#connection.abort()
    // One that is well may break much later, and then all at once with others.
    if (this.#attempts > 0 || this.#connection.signal.aborted) this.#attempts = -1
    this.#wake()
  }

  close (): void {
    this.#unwatch()
    this.chats.clear()
    this.renew()
  }

  /** Opens the connection anew, each chat from where it is. What changes in one go makes one new connection. */
  renew (): void {
    const turn = ++this.#turn
    queueMicrotask(() => { if (turn === this.#turn) this.#restart() })
  }

  #restart (): void {
    this.#connection.abort()
    this.#wake()
    if (this.chats.size === 0) this.#events.state('idle')
    else this.#run(++this.#turn)
  }

  async #run (turn: number): Promise<void> {
    let wait: number | undefined = 0
    while (wait !== undefined && this.chats.size > 0) {
      this.#events.state(this.#offline ? 'offline' : 'connecting')
      // Somebody may have woken it in between.
      if (wait > 0 && this.#attempts >= 0) await this.#wait(wait)
      if (turn === this.#turn) wait = await this.#connect()
      if (turn !== this.#turn) return
    }
    this.#events.state('stopped')
  }

  /** Lives through one connection. Resolves with the milliseconds until the next one, or nothing if there shall be none. */
  async #connect (): Promise<number | undefined> {
    const seats = [...this.chats]
    const connection = this.#connection = new AbortController()
    const { signal } = connection
    try {
      this.#watch()
      const response = await this.#request(seats, signal)
      if (response.status !== 200) return await this.#refused(response, seats, signal)
      const problem = misfitOf(response) ?? await this.#read(response, seats, signal)
      if (problem !== undefined) {
        this.#events.refused(problem)
        // Asked again, the answer would be the same.
        return undefined
      }
    } catch {
      // Whatever broke it, it is tried again.
    } finally {
      // Not another one's, which may have begun.
      if (this.#connection === connection) clearTimeout(this.#silence)
      connection.abort()
    }
    return this.#backoff()
  }

  async #request (seats: Seats, signal: AbortSignal): Promise<Response> {
    const { headers, url } = this.#options
    // It may hang, as any connection may.
    const given = typeof headers === 'function' ? await Promise.race([headers(), new Promise<never>((_resolve, reject) => signal.addEventListener('abort', reject))]) : headers
    // What an app gave as an id may be anything: it must not break the header, nor the places of others.
    const ids = seats.map(([, { id = '' }]) => id.replace(/[^\w-]/g, '!'))
    // For a chat that has an id it is not looked at.
    const query = seats.map(([, { rewind = 0 }]) => `rewind=${rewind}`)
    const chats = seats.map(([chatId]) => encodeURIComponent(chatId))
    const isShort = chats.length === 1 && PARAM.test(chats[0] as string)
    if (!isShort) query.push(...chats.map((chat) => `chat=${chat}`))
    return await this.#options.fetch(`${url}/chats/${isShort ? `${chats[0]}/` : ''}events?${query.join('&')}`, {
      headers: { ...given, accept: 'text/event-stream', ...ids.some((id) => id !== '') && { 'last-event-id': ids.join('.') } },
      // Firefox lets a second request for a URL wait until the first one's answer is in its cache, which for a stream is never.
      cache: 'no-store',
      signal
    } as RequestInit) // Node's type does not know of `cache`, as Node has none.
  }

  async #refused (response: Response, seats: Seats, signal: AbortSignal): Promise<number | undefined> {
    const { status } = response
    if (status >= 500 || status === 429) {
      return Math.max(this.#backoff(), Number(response.headers.get('retry-after')) * 1_000 || 0)
    }
    if (status === 401 && typeof this.#options.headers === 'function' && !this.#renewed) {
      this.#renewed = true
      return 0
    }
    // One that is refused refuses all, and the answer does not say which it is.
    const refusals = seats.length === 1 ? [await refusalOf(response, seats[0]?.[0])] : await Promise.all(seats.map((seat) => this.#probe(seat, signal)))
    // Cut off, they say nothing of what is asked for now.
    signal.throwIfAborted()
    for (const refusal of refusals) {
      if (refusal === undefined) continue
      this.chats.delete(refusal.chatId as string)
      this.#events.refused(refusal)
    }
    if (this.chats.size < seats.length) return 0
    this.#events.refused(await refusalOf(response))
    return undefined
  }

  /** Asks for one chat alone. Resolves with why it is refused, if it is. */
  async #probe (seat: Seats[number], signal: AbortSignal): Promise<Refusal | undefined> {
    const response = await this.#request([seat], signal)
    if (response.status >= 400 && response.status < 500) return await refusalOf(response, seat[0])
    await response.body?.cancel()
  }

  /** Resolves at the end of the stream: with what is wrong with it, if it must not be asked for again. */
  async #read (response: Response, seats: Seats, signal: AbortSignal): Promise<Refusal | undefined> {
    const decoder = new TextDecoder()
    let parts: string[] = []
    const read = frameReader(({ event = 'message', id, data: json }) => {
      const data = parse(json) as { chatId?: string } | undefined
      const told = id?.split('.') ?? []
      // Whatever the event itself says: whose place moves, that one's it is. A place that stays is told of by name.
      const moved = told.findIndex((part, index) => part !== parts[index])
      const index = seats.length === 1 ? 0 : event === 'ready' || event === 'reset' || moved === -1 ? seats.findIndex(([chatId]) => chatId === data?.chatId) : moved
      if (told.length > 0) parts = told
      if (data !== undefined && index !== -1) this.#take(seats[index] as Seats[number], event, data, told[index])
    }, (retryMs) => { this.#retryMs = retryMs || 1 })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done || signal.aborted) return undefined
      this.#watch()
      if (!read(decoder.decode(value, { stream: true }))) return TOO_LARGE
    }
  }

  #take ([chatId, seat]: Seats[number], event: string, data: object, part: string | undefined): void {
    // A chat that was opened anew meanwhile starts elsewhere.
    if (this.chats.get(chatId) !== seat) return
    const previous = seat.id
    // Without a place there is no part, or an empty one.
    const id = part ? idOf(part) : undefined
    if (event === 'ready') {
      this.#greeted(chatId, seat, id)
    } else {
      if (id !== undefined) seat.id = id
      this.#events.deliver({ chatId, event, data, id, previous })
    }
  }

  #greeted (chatId: string, seat: Seat, id: string | undefined): void {
    this.#attempts = 0
    this.#renewed = false
    this.#events.state('open')
    this.#offline = false
    // Where it can't be resumed a reset follows. If that is lost it has to be told again, so it is what moves the place.
    seat.id ??= id
    seat.greeted = true
    this.#events.deliver({ ...marker(chatId, seat.id), noHistory: id === undefined })
  }

  /** A connection on which nothing comes, not even heartbeats, is dead. */
  #watch (): void {
    this.#heard = Date.now()
    clearTimeout(this.#silence)
    const connection = this.#connection
    this.#silence = setTimeout(() => connection.abort(), Math.min(this.#options.silenceMs, LONGEST_TIMER))
  }

  #backoff (): number {
    if (this.#attempts++ < 0) return 0
    // Never before the time that the server has told, and not all clients at once.
    return Math.min(this.#retryMs * 2 ** (this.#attempts - 1), Math.max(LONGEST_WAIT, this.#retryMs)) * (1 + Math.random() / 2)
  }

  async #wait (ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.min(ms, LONGEST_TIMER))
      this.#wake = () => { clearTimeout(timer); resolve() }
    })
  }

  #lose (): void {
    this.#offline = true
    this.#connection.abort()
    if (this.chats.size > 0) this.#events.state('offline')
  }
}

function parse (json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}
