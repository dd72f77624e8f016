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
import type { ConnectionValues } from '../sse/options.ts'
import type { RouteValues } from './options.ts'
import type { Reservation, StreamLimits } from '../sse/stream-limits.ts'
import type { StreamRequest, Entrance, ChatAccess } from '../rooms/entrance.ts'

/** One event of a custom stream. */
export interface SseEvent {
  /** Any JSON value. The client reads it with `JSON.parse`. */
  data: unknown
  /** The event name that the client listens to: `^[\w.-]{1,64}$`. @default 'message' */
  event?: string | undefined
  /** The id that the client sends as `Last-Event-ID` when it reconnects. Not empty, no line breaks. @default none */
  id?: string | undefined
  /** Milliseconds after which the client reconnects. @default the value set before */
  retry?: number | undefined
}

/** The parts of the plugin that `reply.sse` uses. */
export interface SseContext extends
  ConnectionOptions,
  Pick<ConnectionValues, 'maxConnectionAgeMs'>,
  Pick<RouteValues, 'maxChatsPerStream' | 'maxRewind'> {
  connections: ConnectionRegistry
  limits: StreamLimits
  metrics: Metrics
  /** Authorizes a request for each chat. Rejects if every chat is refused. */
  authorize (request: FastifyRequest, chatIds: readonly string[]): Promise<StreamAccess>
  /** Enters a chat, or throws. The returned function creates the entrance of a stream and cannot fail. */
  enter (chatId: string, request: StreamRequest): (connection: Connection) => Entrance[]
  /**
   * Enters all granted chats for one stream, or throws and enters none. The returned function creates the entrances in
   * the order of the chats and cannot fail.
   */
  enterAll (chats: readonly ChatAccess[], request: StreamRequest): (connection: Connection) => Entrance[]
}

/** The access of one request to all of its chats. */
export interface StreamAccess {
  readonly all: readonly ChatAccess[]
  /** The grant that combines all granted chats: the client's user, and the earliest expiry. */
  readonly strictest: Grant
  /** Refuses chats whose grants are no longer valid. Throws if all are refused. */
  confirm (): void
  /** Lets the stream join each granted chat, immediately or once the grant is known to be valid. */
  admit (entrances: readonly Entrance[]): void
  /** Releases the permits that were not admitted. */
  release (): void
}

const STREAM_HEADERS = {
  'content-type': 'text/event-stream',
  // If the response could be stored, a browser would let a second tab with the same URL wait until it ends.
  'cache-control': 'no-store, no-transform',
  'x-accel-buffering': 'no'
}

/** Replaces a `lastEventId` that is not a string. No event has this id. */
const UNREADABLE_ID = '!'

/** Headers of the reply that a stream must not have: its length is unknown, and Node chooses the transfer encoding. */
const UNFIT_HEADERS: ReadonlySet<string> = new Set(['content-length', 'transfer-encoding'])

/** Headers of an HTTP/1.1 connection. Over HTTP/2, Node refuses to send them. */
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
  /** `true` while a stream is being opened. */
  #begun = false

  constructor (request: FastifyRequest, reply: FastifyReply, context: SseContext) {
    this.#request = request
    this.#reply = reply
    this.#context = context
  }

  /** The last event id of a reconnecting client: its `Last-Event-ID` header, otherwise the query's `lastEventId`. */
  get lastEventId (): string | undefined {
    const given = this.#givenEventId
    return typeof given === 'string' ? given : undefined
  }

  /** The id as sent. Its type is unknown: a query can repeat the parameter, and a custom parser may create objects. */
  get #givenEventId (): unknown {
    return [this.#request.headers['last-event-id'], this.#query.lastEventId].find((id) => id !== undefined && id !== '')
  }

  /**
   * The event id from which a chat stream starts. A client that sent an unreadable id must not count as a new client,
   * since a new client cannot have missed anything and would get no `reset`.
   */
  get #startId (): string | undefined {
    return this.#givenEventId === undefined ? undefined : this.lastEventId ?? UNREADABLE_ID
  }

  /** Aborts when the client disconnects or the stream is closed. Pass it to the code that produces the events. */
  get signal (): AbortSignal {
    // Created on first access, because every request has a `reply.sse` but few use it. It must work before the stream
    // opens, since the app may start to produce events earlier.
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
   * Streams the events of a chat until the client disconnects. Starts after `lastEventId`, or with the latest `n`
   * events if the query has `rewind=n`. Resolves once the stream is open, or once an overloaded instance has asked the
   * browser to reconnect later. Rejects with `RT_CHAT_ID_INVALID`, `RT_FORBIDDEN`, the error of `authorize`,
   * `RT_REWIND_INVALID`, `RT_TOO_MANY_CONNECTIONS` or a similar limit, `RT_CLOSED`, `RT_STREAM_STARTED` or
   * `RT_STREAM_PIPELINED`; the reply is then still unsent.
   */
  async chat (chatId: string): Promise<void> {
    await this.#serve([chatId], (_all, request) => this.#context.enter(chatId, request))
  }

  /**
   * Streams the events of several chats, like `chat` for one. The id of each event contains the positions in all chats,
   * so a client that reconnects with the same chats in the same order resumes in each. Duplicate ids count once. Each
   * chat is authorized; a refused chat is left out, and the client gets a `refused` event for it. If all chats are
   * refused, rejects with the error of the first. Rejects with `RT_TOO_MANY_CHATS` beyond `maxChatsPerStream`, and
   * otherwise like `chat`.
   */
  async chats (chatIds: readonly string[]): Promise<void> {
    const distinct = [...new Set(chatIds)]
    await this.#serve(distinct, (all, request) => this.#context.enterAll(all, request))
  }

  async #serve (
    chatIds: readonly string[],
    enter: SseContext['enterAll']
  ): Promise<void> {
    this.#begin()
    try {
      this.#checkCount(chatIds)
      this.#whileServed(() => { this.#reserve() })
      // Over a limit, a browser has already been asked to reconnect later.
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

  #enter (
    access: StreamAccess,
    headers: OutgoingHttpHeaders,
    enter: SseContext['enterAll']
  ): void {
    const { all } = access
    const rewinds = this.#rewinds(all)
    // An early grant may have expired or been revoked while the other chats were being authorized.
    access.confirm()
    const { strictest } = access
    this.#claim(strictest.userId)
    const entrances = enter(all, { lastEventId: this.#startId, rewinds })
    const connection = this.#takeOver()
    try {
      this.#open(connection, headers, strictest)
    } finally {
      // A stream that failed to start is closed and leaves the chats again.
      access.admit(entrances(connection))
    }
    for (const { refused } of all) if (refused !== undefined) this.#context.metrics.refused.add(refused)
  }

  /**
   * Sends a custom event. The first event opens the stream. Resolves once the client has received the event: without
   * awaiting it, an app can exceed `maxBufferedBytes`, at which the client is disconnected. Rejects with
   * `RT_PAYLOAD_INVALID` or `RT_SSE_FIELD_INVALID`, after which the stream stays open, or with `RT_STREAM_CLOSED`.
   * If the app ignores the promise, a rejection causes no `unhandledRejection` event.
   */
  send (event: SseEvent): Promise<void> {
    const sent = this.#send(event)
    sent.catch(() => {})
    return sent
  }

  /**
   * Sends the events of an async iterable, then ends the stream. Each event waits until the client has received the
   * previous one. If the client disconnects, the iterator's `return()` is called. If the iterable throws, ends the
   * stream and rejects with that error.
   */
  async stream (events: AsyncIterable<SseEvent>): Promise<void> {
    const iterator = iteratorOf(events)
    this.#begin()
    const connection = this.#openOwn()
    try {
      for (
        let next = await nextOrClosed(iterator, connection);
        !next.done;
        next = await nextOrClosed(iterator, connection)
      ) {
        await connection.writeAndDrain(encode(next.value))
      }
    } finally {
      // Not awaited: `return()` of a generator that is stuck in an `await` would never resolve.
      Promise.resolve().then(() => iterator.return?.()).catch(() => {})
      await connection.end()
    }
  }

  /** `true` if this reply is, or was, a stream. @internal */
  get opened (): boolean {
    return this.#connection !== undefined
  }

  /** Ends the stream. Resolves once the client has received everything or has disconnected. */
  async close (): Promise<void> {
    await this.#connection?.end()
  }

  get #query (): Record<string, unknown> {
    return this.#request.query as Record<string, unknown>
  }

  /** `true` if the reply was sent, or if the app has sent headers through `reply.raw`. */
  get #isAnswered (): boolean {
    return this.#reply.sent || this.#reply.raw.headersSent
  }

  async #send (event: SseEvent): Promise<void> {
    const frame = encode(event)
    if (this.#connection === undefined) this.#begin()
    const connection = this.#connection ?? this.#openOwn()
    if (!await connection.writeAndDrain(frame)) throw new RealtimeError('RT_STREAM_CLOSED')
  }

  /** Marks a stream as being opened. Throws if none can be opened. */
  #begin (): void {
    if (this.#begun || this.#connection !== undefined || this.#isAnswered) throw new RealtimeError('RT_STREAM_STARTED')
    const { raw } = this.#reply
    // A pipelined response gets its socket once the previous responses have ended, and a stream does not end.
    if (raw.socket === null && !isGone(raw)) throw new RealtimeError('RT_STREAM_PIPELINED')
    this.#begun = true
  }

  /** Opens a custom stream. */
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
    return this.#connection as unknown as Connection // #takeOver has set it.
  }

  #checkCount ({ length }: readonly string[]): void {
    const { maxChatsPerStream } = this.#context
    if (length === 0) throw new RealtimeError('RT_CHAT_ID_INVALID', 'none')
    if (length > maxChatsPerStream) {
      throw new RealtimeError('RT_TOO_MANY_CHATS', `${maxChatsPerStream} chats, got ${length}`)
    }
  }

  /** Returns the number of rewind events for each chat. Refuses a chat whose `rewind` exceeds `maxRewind`. */
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

  /** Counts the request before anything is awaited, since many requests can wait at the same time. */
  #reserve (): void {
    this.#reservation = this.#context.limits.reserve(this.#reply.raw, () => this.#request.ip)
  }

  #claim (userId: string | undefined): void {
    // #reserve has set the reservation.
    this.#context.limits.claim(this.#reservation as Reservation, userId, () => this.#request.ip)
  }

  /**
   * Ends the opening. If it failed, the request no longer counts against the limits; its handler may continue or try
   * again.
   */
  #settle (): void {
    this.#begun = false
    if (this.#connection === undefined) this.#reservation?.release()
  }

  /**
   * Calls `open`, a step of opening the stream, unless the client has disconnected. If the instance is overloaded, a
   * browser gets a stream that only asks it to reconnect later, since any status other than 200 would stop an
   * EventSource permanently.
   */
  #whileServed (open: (headers: OutgoingHttpHeaders) => void): void {
    if (this.#isAnswered) throw new RealtimeError('RT_STREAM_STARTED')
    const headers = this.#headers()
    // The client may have disconnected while `authorize` was pending.
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

  /**
   * Returns the headers of the stream. Throws Node's error for an invalid header here, because after `hijack()` no
   * error response could be sent.
   */
  #headers (): OutgoingHttpHeaders {
    const headers: OutgoingHttpHeaders = {}
    const overHttp2 = this.#request.raw.httpVersionMajor === 2
    // `hijack()` would discard headers that hooks have set, such as CORS headers.
    for (const [name, value] of Object.entries({ ...this.#reply.getHeaders(), ...STREAM_HEADERS })) {
      if (value === undefined || UNFIT_HEADERS.has(name) || (overHttp2 && CONNECTION_HEADERS.has(name))) continue
      validateHeaderName(name)
      validateHeaderValue(name, value as string) // Arrays and numbers are checked as strings, too.
      headers[name] = value
    }
    return headers
  }

  #open (connection: Connection, headers: OutgoingHttpHeaders, grant?: Grant): void {
    const { connections, maxConnectionAgeMs } = this.#context
    this.#start(connection, headers)
    if (this.#request.method === 'HEAD') {
      // Fastify handles HEAD with the handler of GET. A HEAD response has no body.
      connection.end()
    } else if (connections.draining) {
      connections.dismiss(connection)
    } else {
      connections.add(connection)
      connection.userId = grant?.userId
      // The age is randomized, so that clients whose streams opened together do not reconnect together.
      const age = maxConnectionAgeMs === undefined ? Infinity : maxConnectionAgeMs * (1 - Math.random() / 4)
      connection.endAfter(Math.min(age, (grant?.expiresAt ?? Infinity) - Date.now()))
    }
  }

  /** Sends the headers. */
  #start (connection: Connection, headers: OutgoingHttpHeaders): Connection {
    // The server's idle timeout must not end a silent stream.
    suspendIdleTimeout(this.#reply.raw)
    connection.start(headers)
    return connection
  }

  /** Takes over the reply. From here on, Fastify sends no error response. */
  #takeOver (): Connection {
    this.#reply.hijack()
    const gone = this.#gone
    // No callback may capture `this`, which would keep the request and the reply in memory as long as the stream.
    const connection = this.#connection = new Connection(this.#reply.raw, this.#context)
    if (gone !== undefined) connection.onClose(() => gone.abort())
    return connection
  }
}

const OVERLOAD: ReadonlySet<string> = new Set<RealtimeErrorCode>([
  'RT_TOO_MANY_CONNECTIONS', 'RT_TOO_MANY_PER_CLIENT', 'RT_TOO_MANY_PER_SESSION', 'RT_TOO_MANY_ROOMS'
])

function isOverload (error: unknown): boolean {
  return error instanceof RealtimeError && OVERLOAD.has(error.code)
}

function encode (event: SseEvent): Buffer {
  if (typeof event !== 'object' || event === null) {
    throw new RealtimeError('RT_SSE_FIELD_INVALID', `an event must be an object with data, got ${kindOf(event)}`)
  }
  return encodeFrame({ id: event.id, event: event.event, retry: event.retry, json: toJson(event.data) })
}

function iteratorOf<T> (events: AsyncIterable<T>): AsyncIterator<T> {
  if (typeof (events as Partial<AsyncIterable<T>> | null | undefined)?.[Symbol.asyncIterator] === 'function') {
    return events[Symbol.asyncIterator]()
  }
  throw new RealtimeError(
    'RT_SSE_FIELD_INVALID',
    `stream() takes an async iterable of events, got ${kindOf(events)}`
  )
}

/** Resolves with the next event, or with the end once the client disconnects, even if the iterable hangs. */
function nextOrClosed<T> (iterator: AsyncIterator<T>, connection: Connection): Promise<IteratorResult<T, unknown>> {
  if (connection.closed) return Promise.resolve({ done: true, value: undefined })
  return new Promise((resolve, reject) => {
    const off = connection.onClose(() => resolve({ done: true, value: undefined }))
    iterator.next().then(resolve, reject).finally(off)
  })
}

/** Parses `rewind` of the query. Throws `RT_REWIND_INVALID`. */
function rewindOf (given: unknown, maxRewind: number): number {
  if (given === undefined) return 0
  if (typeof given === 'string' && /^\d{1,6}$/.test(given)) return Number(given)
  throw rewindInvalid(maxRewind, typeof given === 'string' ? 'something else' : kindOf(given))
}

function rewindInvalid (maxRewind: number, got: string): RealtimeError {
  return new RealtimeError('RT_REWIND_INVALID', `${maxRewind}, got ${got}`)
}
