import type { ChatEvent, ChatEventType } from '../chat-event-map.ts'
import type { Delivery, Place } from './delivery.ts'
import type { Refusal } from './refusal.ts'
import { isPast } from './event-id.ts'
import { Feed, type FeedOptions } from './feed.ts'
import { Listeners, type ListenOptions } from './listeners.ts'
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
  feed: FeedOptions
  refused (refusal: Refusal): void
  closed (chat: Chat): void
}

const MOST_HELD = 1_000
const NO_HISTORY: Reset = { reason: 'no-history', certain: false }

const ignore = (): void => {}

export class Chat implements RealtimeChat {
  readonly id: string
  readonly #context: ChatContext
  readonly #events = new Map<string, Listeners<[ChatEvent, EventInfo]>>()
  readonly #resets = new Listeners<[Reset]>()
  #rewind: number
  #cursor: string | undefined
  /** Whether it has a place, or there is none to have. */
  #ready = false
  /** Whether the feed starts where it wants to. */
  #first = false
  /** What came while something before it is missing. */
  #held: Delivery[] = []
  /** A connection of its own, on which it catches up. */
  #own: Feed | undefined
  #closed = false

  constructor (id: string, { id: after, rewind = 0 }: Place, context: ChatContext) {
    this.id = id
    this.#cursor = after
    this.#rewind = rewind
    this.#context = context
  }

  get lastEventId (): string | undefined {
    return this.#cursor
  }

  on<Type extends ChatEventType | '*'> (type: Type, handler: (event: EventOf<Type>, info: EventInfo) => unknown, options?: ListenOptions): () => void {
    const listeners = this.#events.get(type) ?? new Listeners()
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
  place (): Place {
    this.#first = true
    return { id: this.#cursor, rewind: this.#rewind }
  }

  /** Events may have been missed. Where the server keeps a history the next position shows it. */
  lose (): void {
    if (this.#ready && this.#cursor === undefined) this.#resets.tell(NO_HISTORY)
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
  receive (delivery: Delivery): void {
    if (this.#closed) return
    const isKnown = this.#ready || this.#cursor !== undefined
    if (delivery.event === 'ready' && this.#cursor === undefined) this.#start(delivery)
    else if (isKnown) this.#take(delivery, true)
    else this.#wantsMore(delivery)
    if (isKnown && delivery.noHistory === true) this.#resets.tell(NO_HISTORY)
  }

  #start (delivery: Delivery): void {
    // Only who came first on the feed has it rewound.
    if (this.#rewind > 0 && !this.#first && delivery.id !== undefined) return this.#wantsMore(delivery)
    this.#cursor = delivery.id
    this.#ready = true
  }

  #wantsMore (delivery: Delivery): void {
    if (this.#rewind === 0 || delivery.id === undefined) return
    this.#hold(delivery)
    this.#catchUp()
  }

  /** Of too many, those that come last are enough: the others are read until they follow. */
  #hold (delivery: Delivery): void {
    if (this.#held.push(delivery) > MOST_HELD) this.#held.shift()
  }

  #take (delivery: Delivery, shared: boolean): void {
    const { event, id, previous, data } = delivery
    this.#ready = true
    // A fence is an event of the log; any other reset starts anew, wherever that is.
    if (event === 'reset' && (id === undefined || data?.reason !== 'failover')) {
      this.#held = []
      this.#advance(delivery)
    } else if (id === undefined) {
      // Both tell what has no place.
      if (shared) this.#advance(delivery)
    } else if (previous === this.#cursor) {
      this.#advance(delivery)
    } else if (!isPast(id, this.#cursor)) {
      this.#hold(delivery)
    }
    this.#settle()
  }

  /** Goes on with what was held as far as nothing is missing before it. */
  #settle (): void {
    this.#held = this.#held.filter((delivery) => {
      if (delivery.previous === this.#cursor) this.#advance(delivery)
      return !isPast(delivery.id as string, this.#cursor)
    })
    if (this.#held.length > 0) this.#catchUp()
    else this.#caughtUp()
  }

  #advance ({ event, id, data }: Delivery): void {
    if (id !== undefined) this.#cursor = id
    if (this.#closed || event === 'ready') return
    if (event === 'reset') return this.#resets.tell(resetOf(data))
    if (data === undefined) return
    // Which fields an event has is the app's to know.
    for (const type of [event, '*']) this.#events.get(type)?.tell(data as ChatEvent, { id })
  }

  #catchUp (): void {
    if (this.#own !== undefined || this.#closed) return
    this.#own = new Feed(this.#context.feed, {
      deliver: (delivery) => {
        this.#cursor ??= delivery.id
        this.#take(delivery, false)
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
function resetOf ({ reason, certain }: NonNullable<Delivery['data']> = {}): Reset {
  return { reason: isText(reason) ? reason : 'unknown', certain: certain === true }
}
