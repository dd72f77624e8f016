import type { OutgoingHttpHeaders } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { RealtimeError } from '../errors.ts'
import { prefersJson } from './accept.ts'
import type { Grant } from './grant.ts'
import { isOverload } from './overload.ts'
import { encodeEvent, iteratorOf, nextOrClosed, type SseEvent } from './sse-event.ts'
import { lastEventIdOf, rewindsOf, startIdOf } from './start-position.ts'
import { streamHeaders } from './stream-headers.ts'
import { EXPOSED_HEADERS, uiMessageHeaders, writeUIMessage } from './ui-message-stream.ts'
import { UI_MESSAGE } from '../ui-message.ts'
import type { ChatEvents } from '../chat/chat-events.ts'
import type { Metrics } from '../observability/metrics.ts'
import { Connection, isDisconnected, type ConnectionOptions } from '../sse/connection.ts'
import { LongPoll } from '../sse/long-poll.ts'
import type { ConnectionRegistry } from '../sse/connection-registry.ts'
import { suspendIdleTimeout } from '../sse/idle-timeout.ts'
import type { ConnectionValues } from '../sse/options.ts'
import type { RouteValues } from './options.ts'
import type { Reservation, StreamLimits } from '../sse/stream-limits.ts'
import type { ChatAccess, Entrance, Entrances } from '../chat/entrances.ts'

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
  /** Lets streams into chats. */
  entrances: Entrances
  botMessages: Pick<ChatEvents, 'activeBotMessage' | 'hasBotMessage' | 'followBotMessage'>
}

/** What a stream of chats is opened with. */
interface ChatStream {
  /** Enters the chats. */
  enter: Entrances['enterAll']
  /** Headers beside those of every stream. */
  headers?: OutgoingHttpHeaders
}

/** The access of one request to all of its chats. */
interface StreamAccess {
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

interface Opening {
  readonly name: 'opening'
  /** Counts the request against the limits. */
  readonly reservation: Reservation | undefined
}

/** The stream of a reply. A reply whose stream could not be opened is `unopened` again. */
type State =
  | { readonly name: 'unopened' }
  | Opening
  | { readonly name: 'opened', readonly connection: Connection }

const UNOPENED: State = { name: 'unopened' }

/** `reply.sse`: turns a reply into an event stream. */
export class ReplySse {
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #context: SseContext
  #controller: AbortController | undefined
  #state = UNOPENED
  /** Whether the client would take a clean end for a complete stream, so that any other end cuts the connection. */
  #endsByCutting = false
  /** Whether the events of the chats are sent as one JSON response. */
  #isPoll = false

  constructor (request: FastifyRequest, reply: FastifyReply, context: SseContext) {
    this.#request = request
    this.#reply = reply
    this.#context = context
  }

  /** The last event id of a reconnecting client: its `Last-Event-ID` header, otherwise the query's `lastEventId`. */
  get lastEventId (): string | undefined {
    return lastEventIdOf(this.#request)
  }

  /** Aborts when the client disconnects or the stream is closed. Pass it to the code that produces the events. */
  get signal (): AbortSignal {
    // Created on first access, because every request has a `reply.sse` but few use it. It must work before the stream
    // opens, since the app may start to produce events earlier.
    if (this.#controller === undefined) {
      const controller = this.#controller = new AbortController()
      const { raw } = this.#reply
      const connection = this.#connection
      if (isDisconnected(raw) || connection?.closed === true) controller.abort()
      else if (connection === undefined) raw.once('close', () => controller.abort())
      else connection.onClose(() => controller.abort())
    }
    return this.#controller.signal
  }

  /**
   * Streams the events of a chat until the client disconnects. Starts after `lastEventId`, or with the latest `n`
   * events if the query has `rewind=n`. Resolves once the stream is open, or once an overloaded instance has asked the
   * browser to reconnect later. Rejects with `RT_CHAT_ID_INVALID`, `RT_FORBIDDEN`, the error of `authorize`,
   * `RT_REWIND_INVALID`, `RT_TOO_MANY_CONNECTIONS` or a similar limit, `RT_CLOSED`, `RT_STREAM_STARTED` or
   * `RT_STREAM_PIPELINED`; the reply is then still unsent.
   */
  async chat (chatId: string): Promise<void> {
    await this.#openEventStream([chatId], (_all, request) => this.#context.entrances.enter(chatId, request))
  }

  /**
   * Streams a bot message as a UI message stream of the AI SDK: from its first chunk on, then live, whichever instance
   * produces it. The stream ends with the bot message; any earlier end cuts the connection. Waits for a bot message
   * that this instance is opening. The header `x-bot-message-id` has the id, percent-encoded. Settles as `chat` does,
   * and rejects with `RT_BOT_MESSAGE_NOT_FOUND` unless the chat has a bot message with this id that consists of such
   * chunks.
   */
  async uiMessage (chatId: string, { id }: { id: string }): Promise<void> {
    const found = await this.#openUIMessageStream(chatId, async () => {
      return await this.#context.botMessages.hasBotMessage(chatId, id, UI_MESSAGE) ? id : undefined
    })
    if (!found) throw new RealtimeError('RT_BOT_MESSAGE_NOT_FOUND')
  }

  /**
   * Streams the UI message that is in progress, as `uiMessage` does. Resolves with false if there is none. @internal
   */
  async activeUIMessage (chatId: string): Promise<boolean> {
    return await this.#openUIMessageStream(chatId, () => this.#context.botMessages.activeBotMessage(chatId, UI_MESSAGE))
  }

  async #openUIMessageStream (chatId: string, find: () => Promise<string | undefined>): Promise<boolean> {
    let found = true
    this.#endsByCutting = true
    await this.#openChatStream([chatId], async () => {
      const id = await find()
      found = id !== undefined
      if (id === undefined) return undefined
      const enter: ChatStream['enter'] = () => {
        const follower = this.#context.botMessages.followBotMessage(chatId, id)
        return (stream) => [{
          stream,
          join: () => { writeUIMessage(stream, follower) },
          endAfter: stream.endAfter.bind(stream)
        }]
      }
      return { enter, headers: uiMessageHeaders(id, this.#reply.getHeader(EXPOSED_HEADERS)) }
    })
    return found
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
    await this.#openEventStream(distinct, (all, request) => this.#context.entrances.enterAll(all, request))
  }

  /** Opens a stream of events, or a long poll for them if the request accepts JSON only. */
  #openEventStream (chatIds: readonly string[], enter: ChatStream['enter']): Promise<void> {
    this.#isPoll = prefersJson(this.#request, this.#reply)
    return this.#openChatStream(chatIds, { enter })
  }

  /** A function is called once access is granted; if it resolves with `undefined`, no stream is opened. */
  async #openChatStream (
    chatIds: readonly string[], given: ChatStream | (() => Promise<ChatStream | undefined>)
  ): Promise<void> {
    this.#beginOpening()
    try {
      this.#checkCount(chatIds)
      this.#runOpeningStep(() => this.#reserve())
      // Over a limit, a browser has already been asked to reconnect later.
      if (this.opened) return
      const access = await this.#context.authorize(this.#request, chatIds)
      try {
        const stream = typeof given === 'function' ? await given() : given
        if (stream !== undefined) this.#runOpeningStep(() => this.#enterChats(access, stream))
      } finally {
        access.release()
      }
    } catch (error) {
      if (error instanceof RealtimeError) this.#context.metrics.refused.add(error.code)
      throw error
    } finally {
      this.#endOpening()
    }
  }

  /** Enters the granted chats, then opens the stream. All that can fail comes before `#takeOver`. */
  #enterChats (access: StreamAccess, { enter, headers: additional }: ChatStream): void {
    const headers = this.#headers()
    const { all } = access
    const rewinds = rewindsOf(this.#request, all, this.#context.maxRewind)
    // An early grant may have expired or been revoked while the other chats were being authorized.
    access.confirm()
    const { strictest } = access
    this.#countForUser(strictest.userId)
    const createEntrances = enter(all, { lastEventId: startIdOf(this.#request), rewinds })
    const connection = this.#takeOver()
    try {
      this.#open(connection, additional === undefined ? headers : { ...headers, ...additional }, strictest)
    } finally {
      // A stream that failed to start is closed and leaves the chats again.
      access.admit(createEntrances(connection))
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
    this.#beginOpening()
    const connection = this.#openCustomStream()
    try {
      for (
        let next = await nextOrClosed(iterator, connection);
        !next.done;
        next = await nextOrClosed(iterator, connection)
      ) {
        await connection.writeAndDrain(encodeEvent(next.value))
      }
    } finally {
      // Not awaited: `return()` of a generator that is stuck in an `await` would never resolve.
      Promise.resolve().then(() => iterator.return?.()).catch(() => {})
      await connection.end()
    }
  }

  /** `true` if this reply is, or was, a stream. @internal */
  get opened (): boolean {
    return this.#state.name === 'opened'
  }

  /** Ends the stream. Resolves once the client has received everything or has disconnected. */
  async close (): Promise<void> {
    await this.#connection?.end()
  }

  get #connection (): Connection | undefined {
    return this.#state.name === 'opened' ? this.#state.connection : undefined
  }

  /** `true` if the reply was sent, or if the app has sent headers through `reply.raw`. */
  get #isReplySent (): boolean {
    return this.#reply.sent || this.#reply.raw.headersSent
  }

  async #send (event: SseEvent): Promise<void> {
    const frame = encodeEvent(event)
    if (!this.opened) this.#beginOpening()
    const connection = this.#connection ?? this.#openCustomStream()
    if (!await connection.writeAndDrain(frame)) throw new RealtimeError('RT_STREAM_CLOSED')
  }

  /** Marks a stream as being opened. Throws if none can be opened. */
  #beginOpening (): void {
    if (this.#state.name !== 'unopened' || this.#isReplySent) throw new RealtimeError('RT_STREAM_STARTED')
    const { raw } = this.#reply
    // A pipelined response gets its socket once the previous responses have ended, and a stream does not end.
    if (raw.socket === null && !isDisconnected(raw)) throw new RealtimeError('RT_STREAM_PIPELINED')
    this.#state = { name: 'opening', reservation: undefined }
  }

  /** Opens a stream for the events of the app, without a chat. */
  #openCustomStream (): Connection {
    try {
      this.#runOpeningStep(() => {
        const headers = this.#headers()
        this.#reserve()
        this.#countForUser(undefined)
        this.#open(this.#takeOver(), headers)
      })
    } finally {
      this.#endOpening()
    }
    return this.#connection as Connection // #takeOver has set it.
  }

  /** Returns the headers of the stream. Throws Node's error for one that is invalid. */
  #headers (): OutgoingHttpHeaders {
    return streamHeaders(this.#request, this.#reply)
  }

  #checkCount ({ length }: readonly string[]): void {
    const { maxChatsPerStream } = this.#context
    if (length === 0) throw new RealtimeError('RT_CHAT_ID_INVALID', 'none')
    if (length > maxChatsPerStream) {
      throw new RealtimeError('RT_TOO_MANY_CHATS', `${maxChatsPerStream} chats, got ${length}`)
    }
  }

  /** Counts the request before anything is awaited, since many requests can wait at the same time. */
  #reserve (): void {
    const reservation = this.#context.limits.reserve(this.#reply.raw, () => this.#request.ip)
    this.#state = { name: 'opening', reservation }
  }

  /** Counts the request for its user, or for its address if there is no user. */
  #countForUser (userId: string | undefined): void {
    const { reservation } = this.#state as Opening // The reply is opening, and #reserve has set the reservation.
    this.#context.limits.claim(reservation as Reservation, userId, () => this.#request.ip)
  }

  /**
   * Ends the opening. If it failed, the request no longer counts against the limits; its handler may continue or try
   * again.
   */
  #endOpening (): void {
    if (this.#state.name !== 'opening') return
    this.#state.reservation?.release()
    this.#state = UNOPENED
    // The next stream of the reply may be of another kind.
    this.#endsByCutting = this.#isPoll = false
  }

  /**
   * Runs a step of opening the stream, unless the client has disconnected. If the step throws because the instance is
   * overloaded, a browser gets a stream that only asks it to reconnect later, since any status other than 200 would
   * stop an EventSource permanently.
   */
  #runOpeningStep (step: () => void): void {
    if (this.#isReplySent) throw new RealtimeError('RT_STREAM_STARTED')
    // The client may have disconnected while `authorize` was pending.
    if (isDisconnected(this.#reply.raw)) return this.#takeOver().destroy()
    try {
      step()
    } catch (error) {
      const { connections, metrics } = this.#context
      const overload = isOverload(error)
      if (overload && !this.#endsByCutting && this.#request.headers.accept?.includes('text/event-stream') === true) {
        const headers = this.#headers()
        metrics.refused.add(error.code)
        connections.dismiss(this.#start(this.#takeOver(), headers))
        return
      }
      if (overload) this.#reply.header('retry-after', Math.ceil(connections.reconnectDelayMs() / 1_000))
      throw error
    }
  }

  /** Sends the headers. Ends the stream at once for a HEAD request or a closing instance, otherwise registers it. */
  #open (connection: Connection, headers: OutgoingHttpHeaders, grant?: Grant): void {
    const { connections, maxConnectionAgeMs } = this.#context
    this.#start(connection, headers)
    if (this.#request.method === 'HEAD') {
      // Fastify handles HEAD with the handler of GET. A HEAD response has no body.
      connection.finish()
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
    const controller = this.#controller
    // No callback may capture `this`, which would keep the request and the reply in memory as long as the stream.
    const { raw } = this.#reply
    const { reservation } = this.#state as Opening // Only a reply that is opening takes over.
    // Its listener is removed before the connection adds one: for three, Node makes an array with space for 19.
    reservation?.handOver(raw)
    const connection = this.#isPoll
      ? new LongPoll(raw, this.#context, startIdOf(this.#request))
      : new Connection(raw, this.#context, this.#endsByCutting)
    if (reservation !== undefined) connection.hold(reservation)
    this.#state = { name: 'opened', connection }
    if (controller !== undefined) connection.onClose(() => controller.abort())
    return connection
  }
}
