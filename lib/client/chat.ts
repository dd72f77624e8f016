import type { ChatEvent, ChatEventType } from '../event-types.ts'
import type { StreamEvent, StartPosition } from './stream-event.ts'
import type { Refusal } from './refusal.ts'
import { isPast } from './event-id.ts'
import { StreamConnection, type ConnectionOptions } from './connection.ts'
import { ListenerSet, type ListenOptions } from './listener-set.ts'
import { isText } from './shape.ts'

/** What a handler is told of an event beside the event itself. */
export interface EventInfo {
  /** Its place in the chat's log, the same as in the publisher's receipt. Absent for ephemeral events, and where the server keeps no history. */
  id?: string | undefined
}

/** Says that events may be missing. */
export interface Reset {
  /**
   * `epoch`, `ahead`, `diverged`, `expired`, `trimmed`, `invalid`, `failover`, `no-history` where the server keeps none, or
   * `unknown` where it could not be read.
   */
  reason: string
  /** Whether events are missing for certain. */
  certain: boolean
}

/** An event of one type, or of any with `'*'`. */
export type EventOf<Type extends ChatEventType | '*'> = ChatEvent<Type extends ChatEventType ? Type : ChatEventType>

/** A chat that is open. */
export interface RealtimeChat {
  readonly id: string
  /** The place behind the last event that was handed on: what `after` of a later page may be. */
  readonly lastEventId: string | undefined
  /** Calls `handler` with each event of a type, or with all for `'*'`, once and in order. Returns its undo. */
  on<Type extends ChatEventType | '*'> (type: Type, handler: (event: EventOf<Type>, info: EventInfo) => unknown, options?: ListenOptions): () => void
  /** Calls `handler` when events may be missing: reload the chat from your database. What comes after that comes after the gap. Returns its undo. */
  onReset (handler: (reset: Reset) => unknown, options?: ListenOptions): () => void
  /** Leaves the chat. No handler is called any more. */
  close (): void
}

/** What a chat needs of its client. */
export interface ChatContext {
  connection: ConnectionOptions
  refused (refusal: Refusal): void
  closed (chat: Chat): void
}

const MOST_HELD = 1_000
const NO_HISTORY: Reset = { reason: 'no-history', certain: false }

const ignore = (): void => {}

export class Chat implements RealtimeChat {
  readonly id: string
  readonly #context: ChatContext
  readonly #events = new Map<string, ListenerSet<[ChatEvent, EventInfo]>>()
  readonly #resets = new ListenerSet<[Reset]>()
  #rewind: number
  #cursor: string | undefined
  /** Whether it has a place, or there is none to have. */
  #ready = false
  /** Whether the feed starts where it wants to. */
  #first = false
  /** What came while something before it is missing. */
  #held: StreamEvent[] = []
  /** A connection of its own, on which it catches up. */
  #own: StreamConnection | undefined
  #closed = false

  constructor (id: string, { id: after, rewind = 0 }: StartPosition, context: ChatContext) {
    this.id = id
    this.#cursor = after
    this.#rewind = rewind
    this.#context = context
  }

  get lastEventId (): string | undefined {
    return this.#cursor
  }

  on<Type extends ChatEventType | '*'> (type: Type, handler: (event: EventOf<Type>, info: EventInfo) => unknown, options?: ListenOptions): () => void {
    const listeners = this.#events.get(type) ?? new ListenerSet()
    this.#events.set(type, listeners)
    // It is only told of events of its type.
    return listeners.add(handler as unknown as (event: ChatEvent, info: EventInfo) => unknown, options)
  }

  onReset (handler: (reset: Reset) => unknown, options?: ListenOptions): () => void {
    return this.#resets.add(handler, options)
  }

  close (): void {
    if (this.#closed) return
    this.#closed = true
    this.#caughtUp()
    this.#context.closed(this)
  }

  /** Where a feed that has not got this chat yet shall start. */
  startPosition (): StartPosition {
    this.#first = true
    return { id: this.#cursor, rewind: this.#rewind }
  }

  /** Events may have been missed. Where the server keeps a history the next position shows it. */
  lose (): void {
    if (this.#ready && this.#cursor === undefined) this.#resets.notify(NO_HISTORY)
  }

  /** Asks again for what it reads by itself. It may have been refused. */
  retry (): void {
    if (this.#own === undefined) return
    this.#caughtUp()
    this.#catchUp()
  }

  /**
   * Takes what the feed says of this chat, here or in another tab. An event is handed on only if it follows the one before; whoever can't
   * follow reads what is between on a connection of its own, until the two meet.
   */
  receive (streamEvent: StreamEvent): void {
    if (this.#closed) return
    const isKnown = this.#ready || this.#cursor !== undefined
    if (streamEvent.event === 'ready' && this.#cursor === undefined) this.#start(streamEvent)
    else if (isKnown) this.#take(streamEvent, true)
    else this.#wantsMore(streamEvent)
    if (isKnown && streamEvent.noHistory === true) this.#resets.notify(NO_HISTORY)
  }

  #start (streamEvent: StreamEvent): void {
    // Only who came first on the feed has it rewound.
    if (this.#rewind > 0 && !this.#first && streamEvent.id !== undefined) return this.#wantsMore(streamEvent)
    this.#cursor = streamEvent.id
    this.#ready = true
  }

  #wantsMore (streamEvent: StreamEvent): void {
    if (this.#rewind === 0 || streamEvent.id === undefined) return
    this.#buffer(streamEvent)
    this.#catchUp()
  }

  /** Of too many, those that come last are enough: the others are read until they follow. */
  #buffer (streamEvent: StreamEvent): void {
    if (this.#held.push(streamEvent) > MOST_HELD) this.#held.shift()
  }

  #take (streamEvent: StreamEvent, shared: boolean): void {
    const { event, id, previous, data } = streamEvent
    this.#ready = true
    // A fence is an event of the log; any other reset starts anew, wherever that is.
    if (event === 'reset' && (id === undefined || data?.reason !== 'failover')) {
      this.#held = []
      this.#advance(streamEvent)
    } else if (id === undefined) {
      // Both tell what has no place.
      if (shared) this.#advance(streamEvent)
    } else if (previous === this.#cursor) {
      this.#advance(streamEvent)
    } else if (!isPast(id, this.#cursor)) {
      this.#buffer(streamEvent)
    }
    this.#settle()
  }

  /** Goes on with what was held as far as nothing is missing before it. */
  #settle (): void {
    this.#held = this.#held.filter((streamEvent) => {
      if (streamEvent.previous === this.#cursor) this.#advance(streamEvent)
      return !isPast(streamEvent.id as string, this.#cursor)
    })
    if (this.#held.length > 0) this.#catchUp()
    else this.#caughtUp()
  }

  #advance ({ event, id, data }: StreamEvent): void {
    if (id !== undefined) this.#cursor = id
    if (this.#closed || event === 'ready') return
    if (event === 'reset') return this.#resets.notify(resetOf(data))
    if (data === undefined) return
    // Which fields an event has is the app's to know.
    for (const type of [event, '*']) this.#events.get(type)?.notify(data as ChatEvent, { id })
  }

  #catchUp (): void {
    if (this.#own !== undefined || this.#closed) return
    this.#own = new StreamConnection(this.#context.connection, {
      deliver: (streamEvent) => {
        this.#cursor ??= streamEvent.id
        this.#take(streamEvent, false)
      },
      state: ignore,
      woke: ignore,
      tooMany: ignore,
      refused: (refusal) => this.#context.refused(refusal)
    })
    this.#own.add(this.id, { id: this.#cursor, rewind: this.#rewind })
  }

  #caughtUp (): void {
    this.#own?.close()
    this.#own = undefined
  }
}

/** What a reset says. One that can't be read still is a reset. */
function resetOf ({ reason, certain }: NonNullable<StreamEvent['data']> = {}): Reset {
  return { reason: isText(reason) ? reason : 'unknown', certain: certain === true }
}
