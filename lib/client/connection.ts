import { marker, type StreamEvent, type StartPosition } from './stream-event.ts'
import {
  isTooMany, limitOf, notEventStreamOf, refusalOfEvent, refusalOfResponse, TOO_LARGE, type Refusal
} from './refusal.ts'
import { expandPart } from './event-id.ts'
import { FrameReader } from './sse-parser.ts'
import { watchNetwork } from './network.ts'
import { isObject } from './shape.ts'

export type Headers = Record<string, string>

export interface ConnectionOptions {
  /** The prefix of the server's routes. */
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
  /**
   * A chat was refused and is not requested any more. Without a `chatId` the whole connection was refused, and stops.
   */
  refused (refusal: Refusal): void
  /** One request can't carry all chats of this connection: those beyond the first `max` must be moved. */
  tooMany (max: number): void
}

export interface ChatSubscription extends StartPosition {
  /** Whether the server has sent the start position (`ready`). */
  greeted: boolean
}

/** The chats that a connection was opened for, in the order of their parts in the event id. */
type ChatSubscriptions = [chatId: string, subscription: ChatSubscription][]

const MAX_BACKOFF_MS = 30_000
/** The longest delay of a timer, in milliseconds: with a longer one it fires at once. */
export const LONGEST_TIMER = 2 ** 31 - 1
/**
 * Chat ids that can be a path parameter: Fastify accepts 100 characters by default (`maxParamLength`), and `.` and `..`
 * would mean another path.
 */
const PATH_PARAMETER = /^(?!\.\.?$).{1,100}$/
/** Strings that are safe as one part of `Last-Event-ID`. An empty string means that there is no position yet. */
const LAST_EVENT_ID = /^[\w-]{0,64}$/
/** Control events of the stream. Their data names the chat. */
const CONTROL_EVENTS = new Set(['ready', 'reset', 'refused'])

/** Carries some chats over one connection, which reconnects whenever it breaks. */
export class StreamConnection {
  readonly chats = new Map<string, ChatSubscription>()
  state: ConnectionState = 'idle'
  readonly #options: ConnectionOptions
  readonly #events: ConnectionEvents
  readonly #unwatch: () => void
  /** Incremented to abandon the current connection: its code notices that and stops. */
  #generation = 0
  #connection = new AbortController()
  #silence: ReturnType<typeof setTimeout> | undefined
  #lastByteAt = 0
  /** Ends the wait before the next attempt. */
  #wake = (): void => {}
  #offline = false
  /** Failed attempts in a row. -1 if the next attempt starts without delay: see `wake`. */
  #attempts = 0
  #retryMs = 2_000
  /** Whether headers were requested again after the server had refused the previous ones. */
  #headersRenewed = false

  constructor (options: ConnectionOptions, events: ConnectionEvents) {
    this.#options = options
    this.#events = events
    this.#unwatch = watchNetwork({ wake: () => this.wake(), offline: () => this.#lose() })
  }

  add (chatId: string, position: StartPosition): void {
    this.chats.set(chatId, { ...position, greeted: false })
    this.renew()
  }

  delete (chatId: string): void {
    if (this.chats.delete(chatId)) this.renew()
  }

  /** Reconnects at once. Also replaces a connection that may have died unnoticed. */
  wake (): void {
    this.#offline = false
    if (Date.now() - this.#lastByteAt > this.#options.silenceMs / 2) this.#connection.abort()
    // A healthy connection keeps its backoff: it may break later, together with those of many other clients.
    if (this.#attempts > 0 || this.#connection.signal.aborted) this.#attempts = -1
    this.#wake()
  }

  /** Ends the connection without reporting another state. */
  close (): void {
    this.#unwatch()
    this.chats.clear()
    this.#generation++
    this.#connection.abort()
    this.#wake()
  }

  /** Reopens the connection, each chat from its position. Several calls in one turn open one connection only. */
  renew (): void {
    const generation = ++this.#generation
    queueMicrotask(() => { if (generation === this.#generation) this.#restart() })
  }

  #restart (): void {
    this.#connection.abort()
    this.#wake()
    if (this.chats.size === 0) this.#setState('idle')
    else this.#run(++this.#generation)
  }

  #setState (state: ConnectionState): void {
    this.state = state
    this.#events.state(state)
  }

  async #run (generation: number): Promise<void> {
    let wait: number | undefined = 0
    while (wait !== undefined && this.chats.size > 0) {
      this.#setState(this.#offline ? 'offline' : 'connecting')
      // `wake` may have been called in between.
      if (wait > 0 && this.#attempts >= 0) await this.#sleep(wait)
      if (generation === this.#generation) wait = await this.#connect()
      if (generation !== this.#generation) return
    }
    this.#setState('stopped')
  }

  /** Runs one connection to its end. Resolves with the milliseconds until the next one, or `undefined` to stop. */
  async #connect (): Promise<number | undefined> {
    const subscriptions = [...this.chats]
    const connection = this.#connection = new AbortController()
    const { signal } = connection
    try {
      this.#restartSilenceTimer()
      const response = await this.#request(subscriptions, signal)
      if (response.status !== 200) return await this.#refused(response, subscriptions, signal)
      const problem = notEventStreamOf(response) ?? await this.#read(response, subscriptions, signal)
      if (problem !== undefined) {
        this.#events.refused(problem)
        // A retry would have the same result.
        return undefined
      }
    } catch {
      // Retry, whatever broke the connection.
    } finally {
      // A newer connection may have started its own timer.
      if (this.#connection === connection) clearTimeout(this.#silence)
      connection.abort()
    }
    return this.#backoff()
  }

  async #request (subscriptions: ChatSubscriptions, signal: AbortSignal): Promise<Response> {
    const { headers, url } = this.#options
    // The `headers` function may hang, so the silence timeout aborts it, too.
    const given = typeof headers === 'function'
      ? await Promise.race([
        headers(),
        new Promise<never>((_resolve, reject) => signal.addEventListener('abort', reject))
      ])
      : headers
    // The app may pass any string as an id: it must not break the header, nor the positions of the other chats. `!` is
    // an invalid position, which the server answers with a reset.
    const ids = subscriptions.map(([, { id = '' }]) => LAST_EVENT_ID.test(id) ? id : '!')
    const query = rewindsOf(subscriptions).map((rewind) => `rewind=${rewind}`)
    const chats = subscriptions.map(([chatId]) => encodeURIComponent(chatId))
    const isShort = chats.length === 1 && PATH_PARAMETER.test(chats[0] as string)
    if (!isShort) query.push(...chats.map((chat) => `chat=${chat}`))
    return await this.#options.fetch(`${url}/chats/${isShort ? `${chats[0]}/` : ''}events?${query.join('&')}`, {
      headers: {
        ...given,
        accept: 'text/event-stream',
        ...ids.some((id) => id !== '') && { 'last-event-id': ids.join('.') }
      },
      // Firefox delays a second request for a URL until the first response is in its cache, which never happens for a
      // stream.
      cache: 'no-store',
      signal
    } as RequestInit) // Node's type lacks `cache`, since Node has no cache.
  }

  async #refused (
    response: Response, subscriptions: ChatSubscriptions, signal: AbortSignal
  ): Promise<number | undefined> {
    const { status } = response
    if (status >= 500 || status === 429) {
      return Math.max(this.#backoff(), Number(response.headers.get('retry-after')) * 1_000 || 0)
    }
    if (status === 401 && typeof this.#options.headers === 'function' && !this.#headersRenewed) {
      this.#headersRenewed = true
      return 0
    }
    const refusal = await refusalOfResponse(response)
    // An aborted request says nothing about the chats of the current one.
    signal.throwIfAborted()
    if (subscriptions.length > 1 && isTooMany(refusal)) {
      this.#events.tooMany(limitOf(refusal, subscriptions.length))
      return 0
    }
    for (const subscription of subscriptions) this.#refuse(subscription, refusal)
    return 0
  }

  /** Leaves a refused chat out of the next request. The other chats of an open stream go on. */
  #refuse ([chatId, subscription]: ChatSubscriptions[number], refusal: Refusal): void {
    // The chat may have been closed and reopened meanwhile.
    if (this.chats.get(chatId) !== subscription) return
    this.chats.delete(chatId)
    this.#events.refused({ ...refusal, chatId })
  }

  /** Resolves at the end of the stream, with a refusal if the stream must not be requested again. */
  async #read (
    response: Response, subscriptions: ChatSubscriptions, signal: AbortSignal
  ): Promise<Refusal | undefined> {
    const decoder = new TextDecoder()
    let parts: string[] = []
    const frames = new FrameReader(({ event = 'message', id, data: json }) => {
      const data = parse(json)
      const newParts = id?.split('.') ?? []
      // An event belongs to the chat whose part of the event id has changed, whatever its data says. If no part has
      // changed, its data names the chat.
      const changed = newParts.findIndex((part, index) => part !== parts[index])
      const namedInData = subscriptions.findIndex(([chatId]) => chatId === data?.chatId)
      const index = subscriptions.length === 1
        ? 0
        : changed === -1 || (CONTROL_EVENTS.has(event) && namedInData !== -1) ? namedInData : changed
      if (newParts.length > 0) parts = newParts
      const subscription = subscriptions[index]
      if (subscription !== undefined) this.#take(subscription, event, data, newParts[index])
      if (this.chats.size === 0) this.#connection.abort()
    }, (retryMs) => { this.#retryMs = retryMs || 1 })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done || signal.aborted) return undefined
      this.#restartSilenceTimer()
      if (!frames.read(decoder.decode(value, { stream: true }))) return TOO_LARGE
    }
  }

  #take (of: ChatSubscriptions[number], event: string, data: StreamEvent['data'], part: string | undefined): void {
    const [chatId, subscription] = of
    // A chat that was reopened meanwhile starts at another position.
    if (this.chats.get(chatId) !== subscription) return
    if (event === 'refused') return this.#refuse(of, refusalOfEvent(data))
    const previous = subscription.id
    // Without a position the part is missing or empty.
    const id = part ? expandPart(part) : undefined
    if (event === 'ready') return this.#greeted(chatId, subscription, id)
    if (id !== undefined) subscription.id = id
    this.#events.deliver({ chatId, event, data, id, previous })
  }

  #greeted (chatId: string, subscription: ChatSubscription, id: string | undefined): void {
    this.#attempts = 0
    this.#headersRenewed = false
    this.#setState('open')
    this.#offline = false
    // If the chat can't be resumed, a reset follows. `ready` must not move the position: if the reset is lost, the next
    // connection has to send it again.
    subscription.id ??= id
    subscription.greeted = true
    this.#events.deliver({ ...marker(chatId, subscription.id), noHistory: id === undefined })
  }

  /** Restarts the silence timer: a connection without any data, not even heartbeats, is dead. */
  #restartSilenceTimer (): void {
    this.#lastByteAt = Date.now()
    clearTimeout(this.#silence)
    const connection = this.#connection
    this.#silence = setTimeout(() => connection.abort(), Math.min(this.#options.silenceMs, LONGEST_TIMER))
  }

  #backoff (): number {
    if (this.#attempts++ < 0) return 0
    // Never earlier than the server's `retry`, and with jitter, so that clients do not reconnect all at once.
    return Math.min(this.#retryMs * 2 ** (this.#attempts - 1), Math.max(MAX_BACKOFF_MS, this.#retryMs)) *
      (1 + Math.random() / 2)
  }

  async #sleep (ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.min(ms, LONGEST_TIMER))
      this.#wake = () => { clearTimeout(timer); resolve() }
    })
  }

  #lose (): void {
    this.#offline = true
    this.#connection.abort()
    if (this.chats.size > 0) this.#setState('offline')
  }
}

/** The `rewind` of each chat, or one value for all. The server ignores the value of a chat that has a position. */
function rewindsOf (subscriptions: ChatSubscriptions): number[] {
  const rewinds = subscriptions.map(([, { id, rewind = 0 }]) => id ? 0 : rewind)
  const max = Math.max(...rewinds)
  const isShared = subscriptions.every(([, { id }], index) => id || rewinds[index] === max)
  return max === 0 ? [] : isShared ? [max] : rewinds
}

/** Parses the JSON object of an event. Returns `undefined` for anything else. */
function parse (json: string): StreamEvent['data'] {
  try {
    const data: unknown = JSON.parse(json)
    return isObject(data) ? data : undefined
  } catch {
    return undefined
  }
}
