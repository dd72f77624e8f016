import type { ChatEvent, ChatEventType } from '../event-types.ts'
import { lossOf, marker, type StreamEvent, type StartPosition } from './stream-event.ts'
import type { Refusal } from './refusal.ts'
import { epochOf, isAtOrBefore } from './event-id.ts'
import { StateLoader, type Load, type LoadResult } from './state-loader.ts'
import { StreamConnection, type ConnectionOptions } from './connection.ts'
import { ListenerSet } from '../core/listener-set.ts'
import { listen, reportError, type ListenOptions } from './listen.ts'
import { request } from './request.ts'
import { textOf } from './shape.ts'

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
   * history or kept none before, or `unknown` if the reason could not be read.
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
   * Calls `handler` when events may be missing: reload the chat from your database, unless it has a `load`, which is
   * called next. Later events are those after the gap. Returns a function that removes the handler.
   */
  onReset (handler: (reset: Reset) => unknown, options?: ListenOptions): () => void
  /**
   * Requests a path of this chat from the server, such as `/bot-messages/42`, with the `headers` and the `fetch` of the
   * client. Rejects once the signal aborts. Resolves with `Response.error()` if a part of the path is `.` or `..`, as
   * with such a chat id.
   */
  request (path: string, signal: AbortSignal): Promise<Response>
  /** Aborts when the chat is closed. */
  readonly signal: AbortSignal
  /** Closes the chat. No handler is called afterwards. */
  close (): void
}

/** Options of a chat: its start position, and a signal that closes it. */
export interface ChatOptions extends ListenOptions {
  /**
   * The id of the last event that the page has, from `lastEventId` or from a publisher's receipt. The events after it
   * are delivered first. With `load`, the page has the state from there, so `load` is called at resets only.
   * @default none
   */
  after?: string | undefined
  /** How many of the latest events are delivered first, if there is neither `after` nor `load`. @default 0 */
  rewind?: number | undefined
  /**
   * Fetches the state of the chat from your server, and reads the result of `chatEvents.lastEventId(chatId)` before the
   * rows. It is called once the stream has begun, and again after each reset. Events wait meanwhile; then those after
   * `lastEventId` are delivered. If it fails, that is written to the console, and it is called again after a while.
   * @default none
   */
  load?: Load | undefined
}

/** Dependencies that the client passes to a chat. */
interface ChatContext {
  connection: ConnectionOptions
  refused (refusal: Refusal): void
  closed (chat: Chat): void
}

/** The highest value that the server's option `maxRewind` can have. The server refuses a chat that asks for more. */
const MAX_REWIND = 999_999
/** How many characters of events are held. */
const MOST_HELD = 2 ** 20

export class Chat implements RealtimeChat {
  readonly id: string
  readonly ready: Promise<void>
  #setReady!: () => void
  readonly #context: ChatContext
  readonly #events = new Map<string, ListenerSet<[ChatEvent, EventInfo]>>()
  readonly #resets = new ListenerSet<[Reset]>(reportError)
  readonly #rewind: number
  readonly #loader: StateLoader | undefined
  /**
   * `connecting` until the start position is known, and `loading` while the app loads its state. Then `open` from
   * event to event.
   */
  #progress: 'connecting' | 'loading' | 'open'
  /**
   * The last event that was delivered, or the position at which loading began. Absent while `open` if the server
   * keeps no history: a loss of events can't be seen then.
   */
  #cursor: string | undefined
  /** The position of the last reset. */
  #resetAt: string | undefined
  /** Why the state is to be loaded. */
  #loadReason = 'start'
  /** Whether `position` was called: the shared connection then starts where this chat asks for. */
  #startRequested = false
  /** Events that arrived while earlier ones are missing, or while the app loads its state. */
  #held: StreamEvent[] = []
  /**
   * How many characters were held since the last time that none were. If there were too many, since the latest call of
   * `load` began.
   */
  #heldSize = 0
  /** A connection for this chat alone, used to catch up. */
  #catchUpConnection: StreamConnection | undefined
  readonly #closing = new AbortController()
  readonly signal: AbortSignal = this.#closing.signal

  constructor (id: string, { after, rewind = 0, load }: ChatOptions, context: ChatContext) {
    this.id = id
    this.#cursor = after || undefined
    this.#progress = after ? 'open' : 'connecting'
    // A number that the server accepts: a wrong one would make it refuse the whole request.
    this.#rewind = load ? 0 : Math.min(Math.max(Math.trunc(rewind) || 0, 0), MAX_REWIND)
    this.#loader = load && new StateLoader((context) => {
      if (this.#heldSize > MOST_HELD) this.#heldSize = 0
      return load(context)
    }, (lastEventId) => this.#loaded(lastEventId))
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
    this.#loader?.stop()
    this.#endCatchUp()
    this.#context.closed(this)
  }

  /** The start position for a connection that does not carry this chat yet. */
  position (): StartPosition {
    this.#startRequested = true
    return { id: this.#cursor, rewind: this.#rewind }
  }

  /**
   * Handles a possible loss of events. If the server keeps a history, the next event id shows whether any are missing.
   */
  lost (): void {
    if (this.#cursor === undefined) this.receive(lossOf(this.id))
  }

  /** Handles a refusal of this chat: its state is loaded once the chat is on a connection again. */
  refused (): void {
    if (this.#progress !== 'loading') return
    this.#loader?.stop()
    this.#held = []
    this.#progress = 'connecting'
  }

  /** Restarts the catch-up connection, which the server may have refused. */
  reconnect (): void {
    if (!this.#catchUpConnection) return
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
    if (this.#progress === 'connecting') this.#start(streamEvent)
    else if (this.#progress === 'open' || streamEvent.event === 'reset') this.#process(streamEvent, true)
    else this.#hold(streamEvent)
  }

  #start (streamEvent: StreamEvent): void {
    const { event, id } = streamEvent
    const rewinds = this.#rewind > 0 && id
    // The shared connection rewinds only for the object whose `position` it used. Others rewind by catching up.
    if (event === 'ready' && (this.#startRequested || !rewinds)) {
      this.#moveTo(id)
      this.#load()
    } else if (rewinds) {
      this.#hold(streamEvent)
      this.#catchUp()
    }
  }

  #load (repeats = false): void {
    if (!this.#loader || this.signal.aborted) return
    this.#progress = 'loading'
    this.#endCatchUp()
    this.#loader.start(this.#loadReason, repeats)
  }

  /** Continues after the state was loaded. Throws if it is not known which events follow it. */
  #loaded (lastEventId: LoadResult['lastEventId']): void {
    const cursor = this.#cursor
    // Without a history there are no positions to compare.
    const id = cursor && (textOf(lastEventId) || cursor)
    // If the log has begun anew, the stream gets a reset. Without a log, events that were dropped can't be read again.
    if (epochOf(id) !== epochOf(cursor) || (this.#heldSize > MOST_HELD && !cursor)) {
      throw Error(cursor ? 'lastEventId is of another log' : 'Too many events')
    }
    this.#moveTo(id)
    // If the state is from an earlier position than the stream, the marker shows that events are missing.
    for (const streamEvent of [marker(this.id, cursor), ...this.#held.splice(0)]) this.receive(streamEvent)
  }

  /** Moves to a position. Without one, the last position remains, if there is any. */
  #moveTo (id: string | undefined): void {
    this.#cursor = id ?? this.#cursor
    this.#progress = 'open'
    this.#setReady()
  }

  /**
   * Holds an event until those before it were delivered. If there are too many, only the last one with an id is kept: a
   * catch-up connection reads those before it.
   */
  #hold (streamEvent: StreamEvent): void {
    this.#heldSize += JSON.stringify(streamEvent).length
    if (this.#heldSize > MOST_HELD) this.#held = this.#held.filter(({ id }) => id).slice(-1)
    this.#held.push(streamEvent)
  }

  /** Delivers an event if it comes next, holds it if earlier ones are missing, and drops it if it was delivered. */
  #process (streamEvent: StreamEvent, shared: boolean): void {
    const { event, id, previous, data } = streamEvent
    // A discontinuity marker is an event of the log, but the position may be one that the failover has lost. Any other
    // reset sets a new position, whatever the old one was.
    if (event === 'reset' && (
      id === undefined || data?.reason !== 'failover' || this.#progress === 'loading' ||
      (isAtOrBefore(id, this.#cursor) && id !== this.#resetAt)
    )) {
      // The shared connection may be ahead of the catch-up connection. An absent id belongs to no epoch.
      this.#held = this.#held.filter((held) => !shared && isAtOrBefore(id as string, held.id))
      this.#deliver(streamEvent, shared)
    } else if (id === undefined) {
      // Both connections carry events without an id, so those of the catch-up connection are dropped.
      if (shared) this.#deliver(streamEvent, shared)
    } else if (this.#cursor === undefined) {
      // The server has begun to keep a history. Events before this one may be missing.
      this.#deliver(streamEvent, shared)
      this.#deliver(lossOf(this.id, id), shared)
    } else if (previous === this.#cursor) {
      this.#deliver(streamEvent, shared)
    } else if (!isAtOrBefore(id, this.#cursor)) {
      this.#hold(streamEvent)
    }
    this.#deliverHeld()
  }

  /** Delivers the held events that have no gap before them. Catches up while any are left, and stops otherwise. */
  #deliverHeld (): void {
    this.#held = this.#held.filter((streamEvent) => {
      // A handler or a reset may have changed that meanwhile.
      if (this.#progress === 'loading') return true
      if (streamEvent.previous === this.#cursor) this.#deliver(streamEvent, true)
      return !isAtOrBefore(streamEvent.id as string, this.#cursor)
    })
    if (this.#held.length > 0) this.#catchUp()
    else this.#endCatchUp()
  }

  /** Moves to the position of an event and calls its handlers. */
  #deliver ({ event, id, data }: StreamEvent, shared: boolean): void {
    this.#moveTo(id)
    if (this.signal.aborted || event === 'ready') return
    if (event === 'reset') {
      this.#cursor = this.#resetAt = id
      // A reset whose data can't be read is still a reset.
      const reset = { reason: textOf(data?.reason) ?? 'unknown', certain: data?.certain === true }
      this.#resets.notify(reset)
      this.#loadReason = reset.reason
      return this.#load(!shared)
    }
    if (!data) return
    // The app defines the fields of an event, so they are not checked here.
    for (const type of [event, '*']) this.#events.get(type)?.notify(data as ChatEvent, { id })
  }

  #catchUp (): void {
    if (this.#catchUpConnection || this.signal.aborted || this.#progress === 'loading') return
    this.#catchUpConnection = new StreamConnection(this.#context.connection, {
      deliver: (streamEvent) => {
        // If the start position is unknown, it is where the catch-up connection starts.
        this.#moveTo(this.#cursor ?? streamEvent.id)
        this.#process(streamEvent, false)
      },
      refused: this.#context.refused
    })
    this.#catchUpConnection.add(this.id, { id: this.#cursor, rewind: this.#rewind })
  }

  #endCatchUp (): void {
    this.#catchUpConnection?.close()
    this.#catchUpConnection = undefined
    this.#heldSize = 0
  }
}
