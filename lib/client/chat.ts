import type { ChatEvent, ChatEventType } from '../event-types.ts'
import type { StreamEvent, StartPosition } from './stream-event.ts'
import type { Refusal } from './refusal.ts'
import { isAtOrBefore } from './event-id.ts'
import { StreamConnection, type ConnectionOptions } from './connection.ts'
import { ListenerSet } from '../core/listener-set.ts'
import { listen, reportError, type ListenOptions } from './listen.ts'
import { request } from './request.ts'
import { isText } from './shape.ts'

/** Metadata that a handler gets beside the event. */
export interface EventInfo {
  /**
   * The event id, the same as in the publisher's receipt. Absent for ephemeral events, and if the server keeps no
   * history.
   */
  id?: string | undefined
}

/** Reports that events may be missing. */
export interface Reset {
  /**
   * `epoch`, `ahead`, `diverged`, `expired`, `trimmed`, `invalid`, `failover`, `no-history` if the server keeps no
   * history, or `unknown` if the reason could not be read.
   */
  reason: string
  /** `true` if events are certainly missing; `false` if they may be. */
  certain: boolean
}

/** An event of one type, or of any type with `'*'`. */
export type EventOf<Type extends ChatEventType | '*'> = ChatEvent<Type extends ChatEventType ? Type : ChatEventType>

/** An open chat. */
export interface RealtimeChat {
  readonly id: string
  /** The id of the last event that was delivered. Pass it as `after` when a later page opens the chat. */
  readonly lastEventId: string | undefined
  /** Resolves once the stream has begun: from then on no event is missed. Stays pending if that does not happen. */
  readonly ready: Promise<void>
  /**
   * Calls `handler` with each event of a type, or with all events for `'*'`, once and in order. Returns a function that
   * removes the handler.
   */
  on<Type extends ChatEventType | '*'> (
    type: Type, handler: (event: EventOf<Type>, info: EventInfo) => unknown, options?: ListenOptions
  ): () => void
  /**
   * Calls `handler` when events may be missing: reload the chat from your database. Later events are those after the
   * gap. Returns a function that removes the handler.
   */
  onReset (handler: (reset: Reset) => unknown, options?: ListenOptions): () => void
  /**
   * Requests a path of this chat from the server, such as `/bot-messages/42`, with the `headers` and the `fetch` of the
   * client. Rejects once the signal aborts. A path with a part `.` or `..`, as from such a chat id,
   * gives `Response.error()`.
   */
  request (path: string, signal: AbortSignal): Promise<Response>
  /** Aborts when the chat is closed. */
  readonly signal: AbortSignal
  /** Closes the chat. No handler is called afterwards. */
  close (): void
}

/** Dependencies that the client passes to a chat. */
interface ChatContext {
  connection: ConnectionOptions
  refused (refusal: Refusal): void
  closed (chat: Chat): void
}

const MAX_HELD = 1_000
const NO_HISTORY: Reset = { reason: 'no-history', certain: false }

const ignore = (): void => {}

export class Chat implements RealtimeChat {
  readonly id: string
  readonly ready: Promise<void>
  #setReady = ignore
  readonly #context: ChatContext
  readonly #events = new Map<string, ListenerSet<[ChatEvent, EventInfo]>>()
  readonly #resets = new ListenerSet<[Reset]>(reportError)
  readonly #rewind: number
  /**
   * `starting` until the start position is known, then `following` from event to event. `no-history` while the server
   * has sent no position: a loss of events can't be seen then.
   */
  #progress: 'starting' | 'following' | 'no-history'
  /** The last event that was delivered. Known while `following`. */
  #cursor: string | undefined
  /** Whether `startPosition` was called: the shared connection then starts where this chat asks for. */
  #startRequested = false
  /** Events that arrived while earlier ones are missing. */
  #held: StreamEvent[] = []
  /** A connection for this chat alone, used to catch up. */
  #catchUpConnection: StreamConnection | undefined
  readonly #closing = new AbortController()
  readonly signal: AbortSignal = this.#closing.signal

  constructor (id: string, { id: after, rewind = 0 }: StartPosition, context: ChatContext) {
    this.id = id
    this.#cursor = after
    this.#progress = after === undefined ? 'starting' : 'following'
    this.#rewind = rewind
    this.#context = context
    this.ready = new Promise((resolve) => { this.#setReady = resolve })
  }

  get lastEventId (): string | undefined {
    return this.#cursor
  }

  on<Type extends ChatEventType | '*'> (
    type: Type, handler: (event: EventOf<Type>, info: EventInfo) => unknown, options?: ListenOptions
  ): () => void {
    const listeners = this.#events.get(type) ?? new ListenerSet(reportError)
    this.#events.set(type, listeners)
    // The handler only gets events of its type.
    return listen(listeners, handler as unknown as (event: ChatEvent, info: EventInfo) => unknown, options)
  }

  onReset (handler: (reset: Reset) => unknown, options?: ListenOptions): () => void {
    return listen(this.#resets, handler, options)
  }

  request (path: string, signal: AbortSignal): Promise<Response> {
    return request(this.#context.connection, `/chats/${encodeURIComponent(this.id)}${path}`, signal)
  }

  close (): void {
    this.#closing.abort()
    this.#endCatchUp()
    this.#context.closed(this)
  }

  /** The start position for a connection that does not carry this chat yet. */
  startPosition (): StartPosition {
    this.#startRequested = true
    return { id: this.#cursor, rewind: this.#rewind }
  }

  /**
   * Handles a possible loss of events. If the server keeps a history, the next event id shows whether any are missing.
   */
  checkLoss (): void {
    if (this.#progress === 'no-history') this.#resets.notify(NO_HISTORY)
  }

  /** Restarts the catch-up connection, which the server may have refused. */
  restartCatchUp (): void {
    if (this.#catchUpConnection === undefined) return
    this.#endCatchUp()
    this.#catchUp()
  }

  /**
   * Handles an event of this chat from the shared connection, which this tab or another one holds. An event is
   * delivered only if it directly follows the previous one. Otherwise the chat reads the missing events on a
   * connection of its own until it has reached the shared one.
   */
  receive (streamEvent: StreamEvent): void {
    if (this.signal.aborted) return
    const hasStarted = this.#progress !== 'starting'
    if (streamEvent.event === 'ready' && this.#progress !== 'following') this.#start(streamEvent)
    else if (hasStarted) this.#process(streamEvent, true)
    else this.#catchUpBefore(streamEvent)
    if (hasStarted && streamEvent.noHistory === true) this.#resets.notify(NO_HISTORY)
  }

  #start (streamEvent: StreamEvent): void {
    // The shared connection rewinds only for the object whose `startPosition` it used. Others rewind by catching up.
    if (this.#rewind > 0 && !this.#startRequested && streamEvent.id !== undefined) {
      return this.#catchUpBefore(streamEvent)
    }
    this.#moveTo(streamEvent.id)
  }

  /** Moves to a position. Without one, the last position remains, if there is any. */
  #moveTo (id: string | undefined): void {
    this.#cursor = id ?? this.#cursor
    this.#progress = this.#cursor === undefined ? 'no-history' : 'following'
    this.#setReady()
  }

  /** Before the start position is known: holds an event, and catches up with the latest events before it. */
  #catchUpBefore (streamEvent: StreamEvent): void {
    if (this.#rewind === 0 || streamEvent.id === undefined) return
    this.#hold(streamEvent)
    this.#catchUp()
  }

  /**
   * Holds an event until those before it were delivered. If there are too many, the oldest is dropped: the catch-up
   * connection reads all events up to the oldest one held.
   */
  #hold (streamEvent: StreamEvent): void {
    if (this.#held.push(streamEvent) > MAX_HELD) this.#held.shift()
  }

  /** Delivers an event if it comes next, holds it if earlier ones are missing, and drops it if it was delivered. */
  #process (streamEvent: StreamEvent, shared: boolean): void {
    const { event, id, previous, data } = streamEvent
    // A discontinuity marker is an event of the log. Any other reset sets a new position, whatever the old one was.
    if (event === 'reset' && (id === undefined || data?.reason !== 'failover')) {
      this.#held = []
      this.#deliver(streamEvent)
    } else if (id === undefined) {
      // Both connections carry events without an id, so those of the catch-up connection are dropped.
      if (shared) this.#deliver(streamEvent)
    } else if (previous === this.#cursor) {
      this.#deliver(streamEvent)
    } else if (!isAtOrBefore(id, this.#cursor)) {
      this.#hold(streamEvent)
    }
    this.#deliverHeld()
  }

  /** Delivers the held events that have no gap before them. Catches up while any are left, and stops otherwise. */
  #deliverHeld (): void {
    this.#held = this.#held.filter((streamEvent) => {
      if (streamEvent.previous === this.#cursor) this.#deliver(streamEvent)
      return !isAtOrBefore(streamEvent.id as string, this.#cursor)
    })
    if (this.#held.length > 0) this.#catchUp()
    else this.#endCatchUp()
  }

  /** Moves to the position of an event and calls its handlers. */
  #deliver ({ event, id, data }: StreamEvent): void {
    this.#moveTo(id)
    if (this.signal.aborted || event === 'ready') return
    if (event === 'reset') return this.#resets.notify(resetOf(data))
    if (data === undefined) return
    // The app defines the fields of an event, so they are not checked here.
    for (const type of [event, '*']) this.#events.get(type)?.notify(data as ChatEvent, { id })
  }

  #catchUp (): void {
    if (this.#catchUpConnection !== undefined || this.signal.aborted) return
    this.#catchUpConnection = new StreamConnection(this.#context.connection, {
      deliver: (streamEvent) => {
        // If the start position is unknown, it is where the catch-up connection starts.
        this.#moveTo(this.#cursor ?? streamEvent.id)
        this.#process(streamEvent, false)
      },
      state: ignore,
      tooMany: ignore,
      refused: (refusal) => this.#context.refused(refusal)
    })
    this.#catchUpConnection.add(this.id, { id: this.#cursor, rewind: this.#rewind })
  }

  #endCatchUp (): void {
    this.#catchUpConnection?.close()
    this.#catchUpConnection = undefined
  }
}

/** Reads the data of a reset. A reset with unreadable data is still a reset. */
function resetOf ({ reason, certain }: NonNullable<StreamEvent['data']> = {}): Reset {
  return { reason: isText(reason) ? reason : 'unknown', certain: certain === true }
}
