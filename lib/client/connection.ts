import {
  lossOf, marker, type ChatSubscription, type ChatSubscriptions, type StreamEvent, type StartPosition
} from './stream-event.ts'
import {
  limitOf, notEventStreamOf, refusalOfEvent, refusalOfResponse, TOO_LARGE, type Refusal
} from './refusal.ts'
import { expandPart } from './event-id.ts'
import { Attempt, SILENCE_MS } from './attempt.ts'
import { Backoff } from './backoff.ts'
import { routeFrames, type RoutedEvent } from './frame-router.ts'
import { positionHeader, pathOf, request, type Headers, type RequestOptions } from './request.ts'
import { parseFrames, type Frame } from './sse-parser.ts'
import { watchNetwork } from './network.ts'
import { whenAborted } from './listen.ts'
import { LATE_MS, MUTE_MS, type Transport } from './transport.ts'

const STREAM = { accept: 'text/event-stream' }
const POLL = { accept: 'application/json' }
/** A stream that was well is replaced after a random part of this time: many may break together. */
const SPREAD_MS = 250

export interface ConnectionOptions extends RequestOptions {
  /** Milliseconds without a byte after which a connection counts as dead. */
  silenceMs: number
  transport: Transport
}

/** The response to a long poll. */
interface Polled {
  events: { id?: string, event: string, data: unknown }[]
  /** Set if the server is closing. */
  retryMs?: number
}

/** The state of several connections is the first of these states that any of them has. */
export const STATES = ['offline', 'connecting', 'open', 'stopped', 'idle'] as const

export type ConnectionState = typeof STATES[number]

export interface ConnectionEvents {
  deliver (streamEvent: StreamEvent): void
  state? (state: ConnectionState): void
  /**
   * A chat was refused and is not requested any more. Without a `chatId` the whole connection was refused, and stops.
   */
  refused (refusal: Refusal): void
  /** One request can't carry all chats of this connection: those beyond the first `max` must be moved. */
  split? (max: number): void
}

/**
 * One connection for some chats. It reconnects whenever it breaks, and resumes each chat at its position. It is a
 * stream, or a series of long polls where a proxy holds streams back.
 */
export class StreamConnection {
  readonly chats = new Map<string, ChatSubscription>()
  state: ConnectionState = 'idle'
  readonly #options: ConnectionOptions
  readonly #events: ConnectionEvents
  readonly #unwatch: () => void
  readonly #backoff = new Backoff()
  /** Incremented when the connection is reopened or closed: `#run` then stops once it notices. */
  #generation = 0
  /** The latest attempt. */
  #attempt: Attempt
  /** A stream that is tried beside long polls. */
  #trial: Attempt | undefined
  /** Whether the device has reported that it lost the network. */
  #offline = false
  /** Whether headers were requested again after the server had refused the previous ones. */
  #headersRenewed = false

  constructor (options: ConnectionOptions, events: ConnectionEvents) {
    this.#options = options
    this.#events = events
    this.#attempt = new Attempt(options.silenceMs)
    this.#unwatch = watchNetwork(() => this.wake(), () => this.#lose())
  }

  add (chatId: string, position: StartPosition): void {
    this.chats.set(chatId, { ...position, ready: false })
    this.renew()
  }

  delete (chatId: string): void {
    if (this.chats.delete(chatId)) this.renew()
  }

  /** Reconnects at once. Also replaces a connection that may have died unnoticed. */
  wake (): void {
    this.#offline = false
    if (this.#attempt.silent) this.#attempt.abort()
    this.#backoff.skip(this.#attempt.signal.aborted)
  }

  /** Ends the connection without reporting another state. */
  close (): void {
    this.#unwatch()
    this.chats.clear()
    this.#generation++
    this.#attempt.abort()
    this.#trial?.abort()
    this.#backoff.abort()
  }

  /** Reopens the connection, each chat from its position. Several calls in one turn open one connection only. */
  renew (): void {
    const generation = ++this.#generation
    queueMicrotask(() => {
      if (generation !== this.#generation) return
      this.#attempt.abort()
      this.#backoff.abort()
      if (this.chats.size === 0) this.#setState('idle')
      else this.#run(generation)
    })
  }

  #setState (state: ConnectionState): void {
    this.state = state
    this.#events.state?.(state)
  }

  async #run (generation: number): Promise<void> {
    let wait: number | undefined = 0
    while (wait !== undefined && this.chats.size > 0) {
      // Between two long polls the connection stays open.
      if (wait > 0 || !this.#polls || this.state !== 'open') this.#setState(this.#offline ? 'offline' : 'connecting')
      if (wait > 0) await this.#backoff.wait(wait)
      if (generation === this.#generation) wait = await this.#connect()
      if (generation !== this.#generation) return
    }
    this.#setState('stopped')
  }

  get #polls (): boolean {
    return this.#options.transport.polls
  }

  /** Runs one request to its end. Resolves with the milliseconds until the next one, or `undefined` to stop. */
  async #connect (): Promise<number | undefined> {
    const subscriptions = [...this.chats]
    const polls = this.#polls
    const attempt = this.#attempt = new Attempt(polls ? SILENCE_MS : this.#options.silenceMs)
    const { signal } = attempt
    if (!polls) attempt.whenQuiet(MUTE_MS, () => this.#compare(attempt, MUTE_MS))
    try {
      attempt.renew()
      const response = await this.#request(subscriptions, attempt, polls ? POLL : STREAM)
      attempt.respondedAt = Date.now()
      if (response.status !== 200) return await this.#refused(response, subscriptions, signal)
      if (polls) {
        const polled = await response.json() as Polled
        // The `fetch` of an app may ignore the signal.
        signal.throwIfAborted()
        return this.#takeAll(polled, subscriptions)
      }
      const problem = notEventStreamOf(response) ?? await this.#read(response, subscriptions, attempt)
      if (problem) {
        this.#events.refused(problem)
        // A retry would have the same result.
        return undefined
      }
    } catch {
      // Retry, whatever broke the connection.
    } finally {
      attempt.abort()
    }
    // The network or the server may have changed: the next attempt finds it out anew.
    if (polls && attempt === this.#attempt && this.chats.size > 0) this.#options.transport.recover()
    return polls !== this.#polls ? 0 : attempt.wasWell ? Math.random() * SPREAD_MS : this.#backoff.next()
  }

  #request (subscriptions: ChatSubscriptions, { signal }: Attempt, accept: Headers): Promise<Response> {
    return request(this.#options, pathOf(subscriptions), signal, { ...accept, ...positionHeader(subscriptions) })
  }

  /** Handles the response to a long poll. Returns the milliseconds until the next one. */
  #takeAll ({ events, retryMs = 0 }: Polled, subscriptions: ChatSubscriptions): number {
    const takeFrame = this.#frameHandler(subscriptions)
    for (const { data, ...frame } of events) takeFrame({ ...frame, data: JSON.stringify(data) })
    // A handler, or the end of a catch-up, may have closed the connection.
    if (this.chats.size > 0 && this.#options.transport.isTrialDue()) this.#try()
    // Without an event, not even `ready`, the server is not well.
    return events.length > 0 ? retryMs : Math.max(retryMs, this.#backoff.next())
  }

  /**
   * Compares a stream that has been late with a poll, which is answered at once since it asks for no position. If the
   * poll takes less time, a proxy holds the stream back. Without `lateMs`, the stream has begun and is quiet. The poll
   * then asks for what comes next. If it gets an event that the stream does not get, a proxy keeps the last part.
   */
  async #compare (stream: Attempt, lateMs?: number): Promise<void> {
    // Ends the poll in time: a server without long poll answers with a stream.
    const poll = new Attempt(lateMs ?? MUTE_MS)
    const { lastByteAt } = stream
    poll.renew()
    whenAborted(stream.signal, () => poll.abort())
    try {
      const subscriptions: ChatSubscriptions = [...this.chats].map(([id, at]) => [id, lateMs ? { ready: false } : at])
      const { events } = await (await this.#request(subscriptions, poll, POLL)).json() as Polled
      // An error says nothing about the stream.
      if (!events || poll.signal.aborted || stream.lastByteAt > lastByteAt) return
      stream.whenQuiet(LATE_MS, () => {
        // Another connection may have found it out already.
        if (!this.#polls) this.#options.transport.fallBack()
        stream.abort()
      })
    } catch {
      // The network is broken, or the stream has ended.
    } finally {
      poll.abort()
    }
  }

  /** Tries a stream beside the polls. If it begins in time, it replaces them. */
  async #try (): Promise<void> {
    const trial = this.#trial = new Attempt(MUTE_MS)
    trial.renew()
    try {
      const response = await this.#request([...this.chats], trial, STREAM)
      const respondedAt = Date.now()
      const { value } = await (response.body as ReadableStream<Uint8Array>).getReader().read()
      if (!response.ok || notEventStreamOf(response) || !value || Date.now() - respondedAt > LATE_MS) return
      this.#options.transport.recover()
      this.#attempt.abort()
    } catch {
      // The stream is still held back.
    } finally {
      trial.abort()
    }
  }

  async #refused (
    response: Response, subscriptions: ChatSubscriptions, signal: AbortSignal
  ): Promise<number | undefined> {
    const { status } = response
    if (status >= 500 || status === 429) {
      return Math.max(this.#backoff.next(), Number(response.headers.get('retry-after')) * 1_000 || 0)
    }
    if (status === 401 && typeof this.#options.headers === 'function' && !this.#headersRenewed) {
      this.#headersRenewed = true
      return 0
    }
    const refusal = await refusalOfResponse(response)
    // An aborted request says nothing about the chats of the current one.
    signal.throwIfAborted()
    const limit = limitOf(refusal, subscriptions.length)
    if (limit) this.#events.split?.(limit)
    else for (const subscription of subscriptions) this.#refuse(subscription, refusal)
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
    response: Response, subscriptions: ChatSubscriptions, attempt: Attempt
  ): Promise<Refusal | undefined> {
    const decoder = new TextDecoder()
    const read = parseFrames(this.#frameHandler(subscriptions), (retryMs) => {
      this.#backoff.retry(retryMs)
      attempt.readyAt = undefined
    })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done || attempt.signal.aborted) return undefined
      attempt.renew()
      // What a proxy keeps the last part of is behind once a further part has arrived.
      if (attempt.readyAt) {
        attempt.whenQuiet(LATE_MS, () => this.#options.transport.isTrialDue() && this.#compare(attempt))
      }
      if (!read(decoder.decode(value, { stream: true }))) return TOO_LARGE
    }
  }

  /** Returns a function that handles the frames of one response. */
  #frameHandler (subscriptions: ChatSubscriptions): (frame: Frame) => void {
    const route = routeFrames(subscriptions.map(([chatId]) => chatId))
    return (frame) => {
      const routed = route(frame)
      const subscription = subscriptions[routed.index]
      if (subscription) this.#take(subscription, routed)
      if (this.chats.size === 0) this.#attempt.abort()
    }
  }

  #take (of: ChatSubscriptions[number], { event, data, part }: RoutedEvent): void {
    const [chatId, subscription] = of
    // A chat that was reopened meanwhile starts at another position.
    if (this.chats.get(chatId) !== subscription) return
    if (event === 'refused') return this.#refuse(of, refusalOfEvent(data))
    const previous = subscription.id
    const id = part ? expandPart(part) : undefined
    if (event !== 'ready') {
      if (id !== undefined) subscription.id = id
      return this.#events.deliver({ chatId, event, data, id, previous })
    }
    const attempt = this.#attempt
    const lateMs = attempt.begin()
    if (lateMs > LATE_MS) this.#compare(attempt, lateMs)
    this.#backoff.reset()
    this.#headersRenewed = this.#offline = false
    this.#setState('open')
    // A chat without a start position has missed nothing yet, and ignores this.
    if (id === undefined) this.#events.deliver(lossOf(chatId))
    // If the chat can't be resumed, a reset follows. `ready` must not move the position: if the reset is lost, the next
    // connection has to send it again.
    subscription.id = id && (subscription.id ?? id)
    subscription.ready = true
    this.#events.deliver(marker(chatId, subscription.id))
  }

  #lose (): void {
    this.#offline = true
    this.#attempt.abort()
    if (this.chats.size > 0) this.#setState('offline')
  }
}
