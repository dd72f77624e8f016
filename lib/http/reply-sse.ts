import { validateHeaderName, validateHeaderValue, type OutgoingHttpHeaders } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { RealtimeError, kindOf, type RealtimeErrorCode } from '../errors.ts'
import type { Grant } from './grant.ts'
import { toJson } from '../core/json.ts'
import type { Metrics } from '../observability/metrics.ts'
import { Connection, isGone, type ConnectionOptions } from '../sse/connection.ts'
import type { ConnectionRegistry } from '../sse/connection-registry.ts'
import { encodeFrame } from '../sse/frame.ts'
import { suspendIdleTimeout } from '../sse/idle-timeout.ts'
import type { Reservation, StreamLimits } from '../sse/stream-limits.ts'
import type { StreamRequest, Entrance, ChatAccess } from '../rooms/entrance.ts'

/** One event of an app's own stream. */
export interface SseEvent {
  /** Any value that JSON can carry: the client reads it with `JSON.parse`. */
  data: unknown
  /** The name that the client listens for: `^[\w.-]{1,64}$`. @default 'message' */
  event?: string | undefined
  /** What the client sends back as `Last-Event-ID` when it reconnects. Without line breaks, not empty. @default none */
  id?: string | undefined
  /** Milliseconds after which the client reconnects. @default what was set before */
  retry?: number | undefined
}

/** What `reply.sse` needs of the plugin. */
export interface SseContext extends ConnectionOptions {
  connections: ConnectionRegistry
  limits: StreamLimits
  metrics: Metrics
  maxChatsPerStream: number
  maxRewind: number
  maxConnectionAgeMs: number | undefined
  /** Asks whether a request may open each of the chats. Rejects where it may open none of them. */
  authorize (request: FastifyRequest, chatIds: readonly string[]): Promise<StreamAccess>
  /** Enters a chat. Throws what is wrong with it; what it returns makes the entrance of a stream and can't fail. */
  enter (chatId: string, request: StreamRequest): (connection: Connection) => Entrance[]
  /** Enters for one stream those of several chats that were granted, or none of them. Throws and returns as `enter` does, in their order. */
  enterAll (chats: readonly ChatAccess[], request: StreamRequest): (connection: Connection) => Entrance[]
}

/** The access of one request to all of its chats. */
export interface StreamAccess {
  readonly all: readonly ChatAccess[]
  /** What holds for all that were granted. */
  readonly strictest: Grant
  /** Refuses what does not hold any more. Throws where all are refused. */
  confirm (): void
  /** Lets the streams of those that were granted join their chats, now or once that is proven to hold. */
  admit (entrances: readonly Entrance[]): void
  /** Lets go of what was not admitted. */
  release (): void
}

const STREAM_HEADERS = {
  'content-type': 'text/event-stream',
  // A browser that may store the response lets a second tab that asks for the same URL wait for its end.
  'cache-control': 'no-store, no-transform',
  'x-accel-buffering': 'no'
}

/** Stands for what is not a string. No event has this id. */
const UNREADABLE_ID = '!'

/** A stream has no length. How it is framed is for Node to say. */
const UNFIT_HEADERS: ReadonlySet<string> = new Set(['content-length', 'transfer-encoding'])

/** They concern one connection of HTTP/1.1. Over HTTP/2, Node refuses to send any of them. */
const CONNECTION_HEADERS: ReadonlySet<string> = new Set([
  'connection', 'http2-settings', 'keep-alive', 'proxy-connection', 'te', 'upgrade'
])

/** `reply.sse`: turns a reply into an event stream. */
export class ReplySse {
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #context: SseContext
  #gone: AbortController | undefined
  #connection: Connection | undefined
  #reservation: Reservation | undefined
  /** Whether a stream is being opened. */
  #begun = false

  constructor (request: FastifyRequest, reply: FastifyReply, context: SseContext) {
    this.#request = request
    this.#reply = reply
    this.#context = context
  }

  /** Where a returning client left off: its `Last-Event-ID` header, else the query's `lastEventId`. */
  get lastEventId (): string | undefined {
    const given = this.#givenEventId
    return typeof given === 'string' ? given : undefined
  }

  /** It may be anything: a query can hold it several times, and an app's own parser makes objects. */
  get #givenEventId (): unknown {
    return [this.#request.headers['last-event-id'], this.#query.lastEventId].find((id) => id !== undefined && id !== '')
  }

  /** Where a chat stream starts. A client that sent a position which can't be read must not count as a new one, which can't have missed anything. */
  get #startId (): string | undefined {
    return this.#givenEventId === undefined ? undefined : this.lastEventId ?? UNREADABLE_ID
  }

  /** Aborts when the client is gone or the stream was closed: pass it on to whatever makes the events. */
  get signal (): AbortSignal {
    // From the first look on: who makes the events may begin before the stream opens.
    // Not before that: every request of the app has a `reply.sse`, and few use it.
    if (this.#gone === undefined) {
      const gone = this.#gone = new AbortController()
      const { raw } = this.#reply
      if (isGone(raw) || this.#connection?.closed === true) gone.abort()
      else if (this.#connection === undefined) raw.once('close', () => gone.abort())
      else this.#connection.onClose(() => gone.abort())
    }
    return this.#gone.signal
  }

  /**
   * Streams the events of a chat until the client leaves, from `lastEventId` on, or from the query's `rewind` last events on. Resolves
   * once the stream is open, or a browser was told to come back later. Rejects, with the reply still unsent, with `RT_CHAT_ID_INVALID`,
   * `RT_FORBIDDEN`, what `authorize` throws, `RT_REWIND_INVALID`, `RT_TOO_MANY_CONNECTIONS` and its like, `RT_CLOSED`, `RT_STREAM_STARTED`
   * or `RT_STREAM_PIPELINED`.
   */
  async chat (chatId: string): Promise<void> {
    await this.#serve([chatId], (_all, request) => this.#context.enter(chatId, request))
  }

  /**
   * Streams the events of several chats, as `chat` does for one. The id of each event is the places of all of them, so that a client that comes
   * back for the same chats, in the same order, goes on in each. One that is named twice counts once. Each is authorized. Those that
   * are refused are left out, each with an event `refused`. Rejects with `RT_TOO_MANY_CHATS` beyond `maxChatsPerStream`; where all are
   * refused, as `chat` does for the first; else as `chat` does.
   */
  async chats (chatIds: readonly string[]): Promise<void> {
    const distinct = [...new Set(chatIds)]
    await this.#serve(distinct, (all, request) => this.#context.enterAll(all, request))
  }

  async #serve (chatIds: readonly string[], enter: (all: readonly ChatAccess[], request: StreamRequest) => (connection: Connection) => Entrance[]): Promise<void> {
    this.#begin()
    try {
      this.#checkCount(chatIds)
      this.#whileServed(() => { this.#reserve() })
      // A browser beyond the limits has its answer already.
      if (this.#connection !== undefined) return
      const access = await this.#context.authorize(this.#request, chatIds)
      try {
        this.#whileServed((headers) => this.#enter(access, headers, enter))
      } finally {
        access.release()
      }
    } catch (error) {
      if (error instanceof RealtimeError) this.#context.metrics.refused.add(error.code)
      throw error
    } finally {
      this.#settle()
    }
  }

  #enter (access: StreamAccess, headers: OutgoingHttpHeaders, enter: (all: readonly ChatAccess[], request: StreamRequest) => (connection: Connection) => Entrance[]): void {
    const { all } = access
    const rewinds = this.#rewinds(all)
    // It may be a while since the first was granted.
    access.confirm()
    const { strictest } = access
    this.#claim(strictest.userId)
    const entrances = enter(all, { lastEventId: this.#startId, rewinds })
    const connection = this.#takeOver()
    try {
      this.#open(connection, headers, strictest)
    } finally {
      // A stream that could not be started is closed, and leaves the chats again.
      access.admit(entrances(connection))
    }
    for (const { refused } of all) if (refused !== undefined) this.#context.metrics.refused.add(refused)
  }

  /**
   * Sends one event of the app's own, opening the stream with the first. Resolves once the client has taken it: whoever does not wait
   * for that gets the client cut at `maxBufferedBytes`. Rejects with `RT_PAYLOAD_INVALID` or `RT_SSE_FIELD_INVALID`, after which the
   * stream goes on, or with `RT_STREAM_CLOSED`. A promise that nobody looks at causes no `unhandledRejection`.
   */
  send (event: SseEvent): Promise<void> {
    const sent = this.#send(event)
    sent.catch(() => {})
    return sent
  }

  /**
   * Sends the events of an async iterable, each once the client has taken the one before, then ends the stream. When the client
   * leaves, the iterable is told to return. Rejects with what the iterable throws, after ending the stream.
   */
  async stream (events: AsyncIterable<SseEvent>): Promise<void> {
    const iterator = iteratorOf(events)
    this.#begin()
    const connection = this.#openOwn()
    try {
      for (let next = await nextOrClosed(iterator, connection); !next.done; next = await nextOrClosed(iterator, connection)) {
        await connection.writeAndDrain(encode(next.value))
      }
    } finally {
      // Not awaited: a generator that hangs in an await of its own would never return.
      Promise.resolve().then(() => iterator.return?.()).catch(() => {})
      await connection.end()
    }
  }

  /** Whether this reply is, or was, a stream. @internal */
  get opened (): boolean {
    return this.#connection !== undefined
  }

  /** Ends the stream. Resolves once the client has got everything, or is gone. */
  async close (): Promise<void> {
    await this.#connection?.end()
  }

  get #query (): Record<string, unknown> {
    return this.#request.query as Record<string, unknown>
  }

  /** Whether the reply was sent, or the app has begun to answer through `reply.raw`. */
  get #isAnswered (): boolean {
    return this.#reply.sent || this.#reply.raw.headersSent
  }

  async #send (event: SseEvent): Promise<void> {
    const frame = encode(event)
    if (this.#connection === undefined) this.#begin()
    const connection = this.#connection ?? this.#openOwn()
    if (!await connection.writeAndDrain(frame)) throw new RealtimeError('RT_STREAM_CLOSED')
  }

  /** Throws where there can be no stream. */
  #begin (): void {
    if (this.#begun || this.#connection !== undefined || this.#isAnswered) throw new RealtimeError('RT_STREAM_STARTED')
    const { raw } = this.#reply
    // A pipelined request gets its socket when the ones before it are answered, and a stream never is.
    if (raw.socket === null && !isGone(raw)) throw new RealtimeError('RT_STREAM_PIPELINED')
    this.#begun = true
  }

  /** Opens a stream of the app's own. */
  #openOwn (): Connection {
    try {
      this.#whileServed((headers) => {
        this.#reserve()
        this.#claim(undefined)
        this.#open(this.#takeOver(), headers)
      })
    } finally {
      this.#settle()
    }
    return this.#connection as unknown as Connection // That has set it.
  }

  #checkCount ({ length }: readonly string[]): void {
    const { maxChatsPerStream } = this.#context
    if (length === 0) throw new RealtimeError('RT_CHAT_ID_INVALID', 'none')
    if (length > maxChatsPerStream) throw new RealtimeError('RT_TOO_MANY_CHATS', `${maxChatsPerStream}, not ${length},`)
  }

  /** How many of the last events the client wants of each chat. A chat of which it wants too many is refused. */
  #rewinds (all: readonly ChatAccess[]): number[] {
    const { maxRewind } = this.#context
    const { rewind: given } = this.#query
    const isEach = Array.isArray(given) && given.length === all.length
    return all.map((chat, index) => {
      const rewind = rewindOf(isEach ? given[index] : given, maxRewind)
      if (rewind > maxRewind) chat.refuse(rewindInvalid(maxRewind, String(rewind)))
      return rewind
    })
  }

  /** Counts the request before anything is awaited: many can wait at the same time. */
  #reserve (): void {
    this.#reservation = this.#context.limits.reserve(this.#reply.raw, () => this.#request.ip)
  }

  #claim (userId: string | undefined): void {
    this.#context.limits.claim(this.#reservation as Reservation, userId, () => this.#request.ip) // It was made by #reserve.
  }

  /** Without a stream, the request no longer counts: its handler may go on, or try another one. */
  #settle (): void {
    this.#begun = false
    if (this.#connection === undefined) this.#reservation?.release()
  }

  /** Opens a stream, or tells the client to come back later where that would be too much. Any status but 200 would stop an EventSource for good. */
  #whileServed (open: (headers: OutgoingHttpHeaders) => void): void {
    if (this.#isAnswered) throw new RealtimeError('RT_STREAM_STARTED')
    const headers = this.#headers()
    // It may have left while the app thought about it.
    if (isGone(this.#reply.raw)) return this.#takeOver().destroy()
    try {
      open(headers)
    } catch (error) {
      const { connections, metrics } = this.#context
      const overload = isOverload(error)
      if (overload && this.#request.headers.accept?.includes('text/event-stream') === true) {
        metrics.refused.add((error as RealtimeError).code)
        connections.dismiss(this.#start(this.#takeOver(), headers))
        return
      }
      if (overload) this.#reply.header('retry-after', Math.ceil(connections.comeBackMs() / 1_000))
      throw error
    }
  }

  /** What the stream starts with. Throws what Node says of headers that can't be sent: later it could not be answered any more. */
  #headers (): OutgoingHttpHeaders {
    const headers: OutgoingHttpHeaders = {}
    const overHttp2 = this.#request.raw.httpVersionMajor === 2
    // What hooks have set so far, such as the headers of CORS, would be lost by hijacking.
    for (const [name, value] of Object.entries({ ...this.#reply.getHeaders(), ...STREAM_HEADERS })) {
      if (value === undefined || UNFIT_HEADERS.has(name) || (overHttp2 && CONNECTION_HEADERS.has(name))) continue
      validateHeaderName(name)
      validateHeaderValue(name, value as string) // Or several, or a number: it checks what they are as text.
      headers[name] = value
    }
    return headers
  }

  #open (connection: Connection, headers: OutgoingHttpHeaders, grant?: Grant): void {
    const { connections, maxConnectionAgeMs } = this.#context
    this.#start(connection, headers)
    if (this.#request.method === 'HEAD') {
      // Fastify answers HEAD by the handler of GET. There is nothing to stream.
      connection.end()
    } else if (connections.draining) {
      connections.dismiss(connection)
    } else {
      connections.add(connection)
      connection.userId = grant?.userId
      // Each at a time of its own, so that streams that opened together don't come back together.
      const age = maxConnectionAgeMs === undefined ? Infinity : maxConnectionAgeMs * (1 - Math.random() / 4)
      connection.endAfter(Math.min(age, (grant?.expiresAt ?? Infinity) - Date.now()))
    }
  }

  /** Sends the headers. */
  #start (connection: Connection, headers: OutgoingHttpHeaders): Connection {
    // The server's timeouts of idle connections must not end a silent stream.
    suspendIdleTimeout(this.#reply.raw)
    connection.start(headers)
    return connection
  }

  /** From here on Fastify answers no error any more. */
  #takeOver (): Connection {
    this.#reply.hijack()
    const gone = this.#gone
    // Nothing here may hold `this`, which would keep the request and the reply as long as the stream.
    const connection = this.#connection = new Connection(this.#reply.raw, this.#context)
    if (gone !== undefined) connection.onClose(() => gone.abort())
    return connection
  }
}

const OVERLOAD: ReadonlySet<string> = new Set<RealtimeErrorCode>(['RT_TOO_MANY_CONNECTIONS', 'RT_TOO_MANY_PER_CLIENT', 'RT_TOO_MANY_PER_SESSION', 'RT_TOO_MANY_ROOMS'])

function isOverload (error: unknown): boolean {
  return error instanceof RealtimeError && OVERLOAD.has(error.code)
}

function encode (event: SseEvent): Buffer {
  if (typeof event !== 'object' || event === null) throw new RealtimeError('RT_SSE_FIELD_INVALID', `an event must be an object with data, got ${kindOf(event)}`)
  return encodeFrame({ id: event.id, event: event.event, retry: event.retry, json: toJson(event.data) })
}

function iteratorOf<T> (events: AsyncIterable<T>): AsyncIterator<T> {
  if (typeof (events as Partial<AsyncIterable<T>> | null | undefined)?.[Symbol.asyncIterator] === 'function') return events[Symbol.asyncIterator]()
  throw new RealtimeError('RT_SSE_FIELD_INVALID', `what is streamed must be an async iterable of events, got ${kindOf(events)}`)
}

/** The next event, or the end once the client is gone, even while the iterable hangs. */
function nextOrClosed<T> (iterator: AsyncIterator<T>, connection: Connection): Promise<IteratorResult<T, unknown>> {
  if (connection.closed) return Promise.resolve({ done: true, value: undefined })
  return new Promise((resolve, reject) => {
    const off = connection.onClose(() => resolve({ done: true, value: undefined }))
    iterator.next().then(resolve, reject).finally(off)
  })
}

/** Reads how many of the last events are wanted, as it stands in the query. Throws `RT_REWIND_INVALID`. */
function rewindOf (given: unknown, maxRewind: number): number {
  if (given === undefined) return 0
  if (typeof given === 'string' && /^\d{1,6}$/.test(given)) return Number(given)
  throw rewindInvalid(maxRewind, typeof given === 'string' ? 'something else' : kindOf(given))
}

function rewindInvalid (maxRewind: number, got: string): RealtimeError {
  return new RealtimeError('RT_REWIND_INVALID', `${maxRewind}, got ${got}`)
}
