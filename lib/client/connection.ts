import { marker, type StreamEvent, type StartPosition } from './stream-event.ts'
import { isTooMany, misfitOf, mostOf, refusalIn, refusalOf, TOO_LARGE, type Refusal } from './refusal.ts'
import { idOf } from './event-id.ts'
import { frameReader } from './sse-parser.ts'
import { watchNetwork } from './network.ts'
import { isObject } from './shape.ts'

export type Headers = Record<string, string>

export interface ConnectionOptions {
  /** What the paths of the routes start with. */
  url: string
  headers: Headers | (() => Headers | Promise<Headers>) | undefined
  fetch: typeof fetch
  /** Milliseconds without a byte after which a connection counts as dead. */
  silenceMs: number
}

export type ConnectionState = 'idle' | 'connecting' | 'open' | 'offline' | 'stopped'

export interface ConnectionEvents {
  deliver (streamEvent: StreamEvent): void
  state (state: ConnectionState): void
  /** A chat was refused and is not asked for any more; without a `chatId`, the connection was, and stops. */
  refused (refusal: Refusal): void
  /** One request can't carry as many chats as there are: all beyond `most` must leave. */
  tooMany (most: number): void
  /** The device is back. What has come from elsewhere meanwhile may be lost, too. */
  woke (): void
}

export interface ChatSubscription extends StartPosition {
  /** Whether it has been told where it is. */
  greeted: boolean
}

/** Whom a connection was opened for, in the order of their parts. */
type ChatSubscriptions = [chatId: string, seat: ChatSubscription][]

const LONGEST_WAIT = 30_000
/** A timer that is set for longer goes off at once. */
export const LONGEST_TIMER = 2 ** 31 - 1
/** What can stand in a path: Fastify takes no longer ones, unless it is told to, and dots alone mean another path. */
const PARAM = /^(?!\.\.?$).{1,100}$/
/** What can be the id of an event, or is at least as short. An empty one stands for no position yet. */
const LAST_EVENT_ID = /^[\w-]{0,64}$/
/** The events of the stream itself. They name their chat. */
const CONTROL = new Set(['ready', 'reset', 'refused'])

/** The events of some chats over one connection, which comes back whenever it breaks. */
export class StreamConnection {
  readonly chats = new Map<string, ChatSubscription>()
  state: ConnectionState = 'idle'
  readonly #options: ConnectionOptions
  readonly #events: ConnectionEvents
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

  constructor (options: ConnectionOptions, events: ConnectionEvents) {
    this.#options = options
    this.#events = events
    this.#unwatch = watchNetwork({ wake: () => { this.wake(); events.woke() }, offline: () => this.#lose() })
  }

  add (chatId: string, position: StartPosition): void {
    this.chats.set(chatId, { ...position, greeted: false })
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

  /** Ends without a further state. */
  close (): void {
    this.#unwatch()
    this.chats.clear()
    this.#turn++
    this.#connection.abort()
    this.#wake()
  }

  /** Opens the connection anew, each chat from where it is. What changes in one go makes one new connection. */
  renew (): void {
    const turn = ++this.#turn
    queueMicrotask(() => { if (turn === this.#turn) this.#restart() })
  }

  #restart (): void {
    this.#connection.abort()
    this.#wake()
    if (this.chats.size === 0) this.#become('idle')
    else this.#run(++this.#turn)
  }

  #become (state: ConnectionState): void {
    this.state = state
    this.#events.state(state)
  }

  async #run (turn: number): Promise<void> {
    let wait: number | undefined = 0
    while (wait !== undefined && this.chats.size > 0) {
      this.#become(this.#offline ? 'offline' : 'connecting')
      // Somebody may have woken it in between.
      if (wait > 0 && this.#attempts >= 0) await this.#wait(wait)
      if (turn === this.#turn) wait = await this.#connect()
      if (turn !== this.#turn) return
    }
    this.#become('stopped')
  }

  /** Lives through one connection. Resolves with the milliseconds until the next one, or nothing if there shall be none. */
  async #connect (): Promise<number | undefined> {
    const subscriptions = [...this.chats]
    const connection = this.#connection = new AbortController()
    const { signal } = connection
    try {
      this.#watch()
      const response = await this.#request(subscriptions, signal)
      if (response.status !== 200) return await this.#refused(response, subscriptions, signal)
      const problem = misfitOf(response) ?? await this.#read(response, subscriptions, signal)
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

  async #request (subscriptions: ChatSubscriptions, signal: AbortSignal): Promise<Response> {
    const { headers, url } = this.#options
    // It may hang, as any connection may.
    const given = typeof headers === 'function' ? await Promise.race([headers(), new Promise<never>((_resolve, reject) => signal.addEventListener('abort', reject))]) : headers
    // What an app gave as an id may be anything: it must not break the header, nor the positions of other chats.
    const ids = subscriptions.map(([, { id = '' }]) => LAST_EVENT_ID.test(id) ? id : '!')
    const query = rewindsOf(subscriptions).map((rewind) => `rewind=${rewind}`)
    const chats = subscriptions.map(([chatId]) => encodeURIComponent(chatId))
    const isShort = chats.length === 1 && PARAM.test(chats[0] as string)
    if (!isShort) query.push(...chats.map((chat) => `chat=${chat}`))
    return await this.#options.fetch(`${url}/chats/${isShort ? `${chats[0]}/` : ''}events?${query.join('&')}`, {
      headers: { ...given, accept: 'text/event-stream', ...ids.some((id) => id !== '') && { 'last-event-id': ids.join('.') } },
      // Firefox lets a second request for a URL wait until the first one's answer is in its cache, which for a stream is never.
      cache: 'no-store',
      signal
    } as RequestInit) // Node's type does not know of `cache`, as Node has none.
  }

  async #refused (response: Response, subscriptions: ChatSubscriptions, signal: AbortSignal): Promise<number | undefined> {
    const { status } = response
    if (status >= 500 || status === 429) {
      return Math.max(this.#backoff(), Number(response.headers.get('retry-after')) * 1_000 || 0)
    }
    if (status === 401 && typeof this.#options.headers === 'function' && !this.#renewed) {
      this.#renewed = true
      return 0
    }
    const refusal = await refusalOf(response)
    // A request that was given up says nothing about the chats that are wanted now.
    signal.throwIfAborted()
    if (subscriptions.length > 1 && isTooMany(refusal)) {
      this.#events.tooMany(mostOf(refusal, subscriptions.length))
      return 0
    }
    for (const subscription of subscriptions) this.#refuse(subscription, refusal)
    return 0
  }

  /** A refused chat is left out of the next request. Other chats of an open stream go on. */
  #refuse ([chatId, subscription]: ChatSubscriptions[number], refusal: Refusal): void {
    // It may have been closed and opened anew meanwhile.
    if (this.chats.get(chatId) !== subscription) return
    this.chats.delete(chatId)
    this.#events.refused({ ...refusal, chatId })
  }

  /** Resolves at the end of the stream: with what is wrong with it, if it must not be asked for again. */
  async #read (response: Response, subscriptions: ChatSubscriptions, signal: AbortSignal): Promise<Refusal | undefined> {
    const decoder = new TextDecoder()
    let parts: string[] = []
    const read = frameReader(({ event = 'message', id, data: json }) => {
      const data = parse(json)
      const told = id?.split('.') ?? []
      // Whatever the event itself says: it belongs to the chat whose part has changed. Where none has, it names its chat.
      const moved = told.findIndex((part, index) => part !== parts[index])
      const named = subscriptions.findIndex(([chatId]) => chatId === data?.chatId)
      const index = subscriptions.length === 1 ? 0 : moved === -1 || (CONTROL.has(event) && named !== -1) ? named : moved
      if (told.length > 0) parts = told
      const subscription = subscriptions[index]
      if (subscription !== undefined) this.#take(subscription, event, data, told[index])
      if (this.chats.size === 0) this.#connection.abort()
    }, (retryMs) => { this.#retryMs = retryMs || 1 })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done || signal.aborted) return undefined
      this.#watch()
      if (!read(decoder.decode(value, { stream: true }))) return TOO_LARGE
    }
  }

  #take (of: ChatSubscriptions[number], event: string, data: StreamEvent['data'], part: string | undefined): void {
    const [chatId, subscription] = of
    // A chat that was opened anew meanwhile starts elsewhere.
    if (this.chats.get(chatId) !== subscription) return
    if (event === 'refused') return this.#refuse(of, refusalIn(data))
    const previous = subscription.id
    // Without a place there is no part, or an empty one.
    const id = part ? idOf(part) : undefined
    if (event === 'ready') return this.#greeted(chatId, subscription, id)
    if (id !== undefined) subscription.id = id
    this.#events.deliver({ chatId, event, data, id, previous })
  }

  #greeted (chatId: string, subscription: ChatSubscription, id: string | undefined): void {
    this.#attempts = 0
    this.#renewed = false
    this.#become('open')
    this.#offline = false
    // Where it can't be resumed a reset follows. If that is lost it has to be told again, so it is what moves the place.
    subscription.id ??= id
    subscription.greeted = true
    this.#events.deliver({ ...marker(chatId, subscription.id), noHistory: id === undefined })
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
    if (this.chats.size > 0) this.#become('offline')
  }
}

/** How many of the last events each chat wants: for a chat that has a position the server does not look at it. */
function rewindsOf (subscriptions: ChatSubscriptions): number[] {
  const rewinds = subscriptions.map(([, { id, rewind = 0 }]) => id ? 0 : rewind)
  const most = Math.max(...rewinds)
  const isShared = subscriptions.every(([, { id }], index) => id || rewinds[index] === most)
  return most === 0 ? [] : isShared ? [most] : rewinds
}

/** The JSON object of an event; `undefined` for anything else. */
function parse (json: string): StreamEvent['data'] {
  try {
    const data: unknown = JSON.parse(json)
    return isObject(data) ? data : undefined
  } catch {
    return undefined
  }
}
