import {
  lossOf, marker, type ChatSubscription, type ChatSubscriptions, type StreamEvent, type StartPosition
} from './stream-event.ts'
import {
  limitOf, notEventStreamOf, refusalOfEvent, problemOf, refusalOfResponse, type Refusal
} from './refusal.ts'
import { SILENCE_MS, startAttempt, type Attempt } from './attempt.ts'
import { createBackoff, SPREAD_MS, STOP, WELL_MS } from './backoff.ts'
import { routeFrames, type RoutedEvent } from './frame-router.ts'
import { positionHeader, pathOf, request, type RequestOptions } from './request.ts'
import { parseFrames, type Frame } from './sse-parser.ts'
import { watchNetwork } from './network.ts'
import { whenAborted } from './listeners.ts'
import { LATE_MS, MUTE_MS, type Transport } from './transport.ts'

const STREAM = 'text/event-stream'
const POLL = 'application/json'

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

/** The state of several connections is the first of these states that any of them has, or else `idle`. */
export const STATES = ['offline', 'connecting', 'open', 'stopped'] as const

export type ConnectionState = typeof STATES[number] | 'idle'

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
export interface StreamConnection {
  readonly chats: Map<string, ChatSubscription>
  add (chatId: string, position: StartPosition): void
  delete (chatId: string): void
  /** Reopens the connection, each chat from its position. Several calls in one turn open one connection only. */
  renew (): void
  /** Reconnects at once. Also replaces a connection that may have died unnoticed. */
  wake (): void
  /** Ends the connection without reporting another state. */
  close (): void
}

export function createConnection (options: ConnectionOptions, events: ConnectionEvents): StreamConnection {
  const { transport } = options
  const chats = new Map<string, ChatSubscription>()
  const backoff = createBackoff()
  let state: ConnectionState = 'idle'
  /** Incremented when the connection is reopened or closed: `run` then stops once it notices. */
  let generation = 0
  /** The latest attempt. */
  let attempt: Attempt | undefined
  /** A stream that is tried beside long polls. */
  let trial: Attempt | undefined
  /** Whether the device has reported that it lost the network. */
  let isOffline = false
  /** Whether headers were requested again after the server had refused the previous ones. */
  let headersRenewed = false
  /** Whether the next stream that does not begin is followed by a poll. Every second one is, since the last `ready`. */
  let failed = false
  /** Whether the server keeps no history. */
  let lossy = false

  const unwatch = watchNetwork(wake, () => {
    isOffline = true
    attempt?.abort()
    // The end of this attempt says nothing about the stream.
    attempt = undefined
    if (chats.size) setState('offline')
  })

  function wake (): void {
    isOffline = false
    if (attempt?.isSilent()) attempt.abort()
    backoff.skip(!attempt || attempt.signal.aborted)
  }

  function renew (): void {
    const renewal = ++generation
    queueMicrotask(() => {
      if (renewal !== generation) return
      attempt?.abort()
      backoff.abort()
      if (!chats.size) setState('idle')
      else run(renewal)
    })
  }

  function setState (next: ConnectionState): void {
    state = next
    events.state?.(state)
  }

  async function run (current: number): Promise<void> {
    let wait = 0
    while (wait >= 0 && chats.size) {
      // Between two long polls the connection stays open.
      if (wait > 0 || !transport.polls || state !== 'open') setState(isOffline ? 'offline' : 'connecting')
      if (wait > 0) await backoff.wait(wait)
      if (current === generation) wait = await connect()
      if (current !== generation) return
    }
    setState('stopped')
  }

  /** Runs one request to its end. Resolves with the milliseconds until the next one, or with `STOP`. */
  async function connect (): Promise<number> {
    const subscriptions = [...chats]
    const { polls } = transport
    const current = attempt = startAttempt(polls ? SILENCE_MS : options.silenceMs)
    if (!polls) current.whenQuiet(MUTE_MS, () => compare(current, MUTE_MS))
    const takeFrame = frameHandler(subscriptions)
    const wait = await send(current, subscriptions, polls ? POLL : STREAM, async (response) => {
      current.respondedAt = Date.now()
      if (response.status !== 200) return await handleRefusal(response, subscriptions, current.signal)
      let problem = notEventStreamOf(response)
      // A server without long poll answers with a stream.
      if (polls && problem) {
        const polled = await response.json() as Polled
        // The `fetch` of an app may ignore the signal.
        current.signal.throwIfAborted()
        return takeAll(polled, takeFrame)
      }
      problem ??= await read(response, current, takeFrame)
      if (!problem) return undefined
      events.refused(problem)
      // A retry would have the same result.
      return STOP
    })
    if (wait !== undefined) return wait
    // `NaN` if the stream did not begin, and negative if the server has asked the client to reconnect later.
    const aliveMs = Date.now() - current.readyAt
    if (current === attempt && chats.size) {
      // The network or the server may have changed: the next attempt finds it out anew.
      if (polls) transport.recover()
      // A proxy may let no stream live long, or reset each one before it begins: but one failed request proves nothing.
      // Without a history, polls would lose events.
      else if (!(aliveMs < 0 || aliveMs > WELL_MS || lossy)) {
        if (failed || aliveMs >= 0) transport.fallBack()
        failed = !failed
      }
    }
    if (polls ? polls > 1 : transport.polls) return 0
    return aliveMs > WELL_MS ? Math.random() * SPREAD_MS : backoff.next()
  }

  /** Requests chats and uses the response. Resolves with `undefined` if that fails. The attempt ends in any case. */
  async function send<Result> (
    { signal, abort }: Attempt, subscriptions: ChatSubscriptions, accept: string,
    use: (response: Response) => Promise<Result>
  ): Promise<Result | undefined> {
    let result: Result | undefined
    try {
      const headers = { accept, ...positionHeader(subscriptions) }
      result = await use(await request(options, pathOf(subscriptions), signal, headers))
    } catch {
      // Whatever broke the connection, the next attempt begins anew.
    }
    abort()
    return result
  }

  /** Handles the response to a long poll. Returns the milliseconds until the next one. */
  function takeAll ({ events, retryMs = 0 }: Polled, takeFrame: (frame: Frame) => void): number {
    for (const { data, ...frame } of events) takeFrame({ ...frame, data: JSON.stringify(data) })
    if (events.length) transport.polls &&= 2
    // Without an event, not even `ready`, the server is not well.
    else retryMs = Math.max(retryMs, backoff.next())
    // A handler, or the end of a catch-up, may have closed the connection.
    if (chats.size && transport.isTrialDue()) tryStream()
    return retryMs
  }

  /**
   * Compares a stream that has been late with a poll, which is answered at once since it asks for no position. If the
   * poll takes less time, a proxy holds the stream back. Without `lateMs`, the stream has begun and is quiet. The poll
   * then asks for what comes next. If it gets an event that the stream does not get, a proxy keeps the last part.
   */
  function compare (stream: Attempt, lateMs?: number): void {
    // Ends the poll in time: a server without long poll answers with a stream.
    const poll = startAttempt(lateMs ?? MUTE_MS)
    const { lastByteAt } = stream
    whenAborted(stream.signal, poll.abort)
    const subscriptions: ChatSubscriptions = [...chats].map(([id, at]) => [id, lateMs ? {} : at])
    send(poll, subscriptions, POLL, async (response) => {
      const { events } = await response.json() as Polled
      // An error says nothing about the stream.
      if (!events || poll.signal.aborted || stream.lastByteAt > lastByteAt) return
      // If a further event pushes out what a proxy keeps, they are compared again.
      if (!transport.polls) transport.recover()
      stream.whenQuiet(LATE_MS, () => {
        transport.fallBack()
        stream.abort()
      })
    })
  }

  /** Tries a stream beside the polls. If it begins in time, it replaces them. */
  function tryStream (): void {
    trial = startAttempt(MUTE_MS)
    send(trial, [...chats], STREAM, async (response) => {
      const respondedAt = Date.now()
      const { value } = await (response.body as ReadableStream<Uint8Array>).getReader().read()
      if (notEventStreamOf(response) || !value || Date.now() - respondedAt > LATE_MS) return
      transport.recover()
      attempt?.abort()
    })
  }

  /** Handles a response that refuses the request. Resolves with the milliseconds until the next one. */
  async function handleRefusal (
    response: Response, subscriptions: ChatSubscriptions, signal: AbortSignal
  ): Promise<number> {
    const { status, headers } = response
    if (status >= 500 || status === 429) {
      // It may refuse all polls.
      if (transport.polls === 1) transport.recover()
      return Math.max(backoff.next(), Number(headers.get('retry-after')) * 1_000 || 0)
    }
    if (status === 401 && typeof options.headers === 'function' && !headersRenewed) {
      headersRenewed = true
      return 0
    }
    const refusal = await refusalOfResponse(response)
    // An aborted request says nothing about the chats of the current one.
    signal.throwIfAborted()
    const limit = limitOf(refusal, subscriptions.length)
    if (limit) events.split?.(limit)
    else for (const subscription of subscriptions) refuse(subscription, refusal)
    return 0
  }

  /** Leaves a refused chat out of the next request. The other chats of an open stream go on. */
  function refuse ([chatId, subscription]: ChatSubscriptions[number], refusal: Refusal): void {
    // The chat may have been closed and reopened meanwhile.
    if (chats.get(chatId) !== subscription) return
    chats.delete(chatId)
    events.refused({ ...refusal, chatId })
  }

  /** Resolves at the end of the stream, with a refusal if the stream must not be requested again. */
  async function read (
    response: Response, stream: Attempt, takeFrame: (frame: Frame) => void
  ): Promise<Refusal | undefined> {
    const decoder = new TextDecoder()
    const parse = parseFrames(takeFrame, (retryMs) => {
      backoff.retry(retryMs)
      stream.readyAt = Infinity
    })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done || stream.signal.aborted) return undefined
      stream.renew()
      // What a proxy keeps the last part of is behind once a further part has arrived.
      if (stream.readyAt) stream.whenQuiet(LATE_MS, () => transport.isTrialDue() && compare(stream))
      if (!parse(decoder.decode(value, { stream: true }))) return problemOf('RT_EVENT_TOO_LARGE', 'Too large')
    }
  }

  /** Returns a function that handles the frames of one response. */
  function frameHandler (subscriptions: ChatSubscriptions): (frame: Frame) => void {
    const route = routeFrames(subscriptions)
    return (frame) => {
      const routed = route(frame)
      if (routed.chat) take(routed.chat, routed)
      if (!chats.size) attempt?.abort()
    }
  }

  function take (of: ChatSubscriptions[number], { event, data, id }: RoutedEvent): void {
    const [chatId, subscription] = of
    // A chat that was reopened meanwhile starts at another position.
    if (chats.get(chatId) !== subscription) return
    if (event === 'refused') return refuse(of, refusalOfEvent(data))
    const previous = subscription.id
    if (event !== 'ready') {
      subscription.id = id ?? previous
      return events.deliver({ chatId, event, data, id, previous })
    }
    const current = attempt as Attempt
    const lateMs = current.begin()
    if (lateMs > LATE_MS) compare(current, lateMs)
    backoff.reset()
    headersRenewed = isOffline = failed = false
    setState('open')
    // A chat without a start position has missed nothing yet, and ignores this.
    lossy = !id
    if (lossy) events.deliver(lossOf(chatId))
    // If the chat can't be resumed, a reset follows. `ready` must not move the position: if the reset is lost, the next
    // connection has to send it again.
    subscription.id = id && (subscription.id ?? id)
    subscription.ready = true
    events.deliver(marker(chatId, subscription.id))
  }

  return {
    chats,
    add (chatId, position) {
      chats.set(chatId, { ...position, ready: false })
      renew()
    },
    delete (chatId) {
      if (chats.delete(chatId)) renew()
    },
    renew,
    wake,
    close () {
      unwatch()
      chats.clear()
      generation++
      attempt?.abort()
      trial?.abort()
      backoff.abort()
    }
  }
}
