import type { BotAction, ChatEvent, ChatEventHandler, ChatEventInput, ChatMessage } from './chat-event-map.ts'
import { checkUserId } from './access.ts'
import { parseCursor } from './cursor.ts'
import { RealtimeError, kindOf } from './errors.ts'
import { toJson } from './json.ts'
import type { Logger } from './logger.ts'
import { Metrics } from './metrics.ts'
import { defaults } from './options.ts'
import { getChatChannel } from './pubsub/channel.ts'
import { isEventType } from './pubsub/envelope.ts'
import { liveFeedOf } from './pubsub/live-feed.ts'
import type { LiveFeed, PubSubProvider, PublishOptions, PublishReceipt, Replayable } from './pubsub/provider.ts'
import { reportFailure } from './report-failure.ts'
import { Rooms } from './rooms/rooms.ts'
import type { Connection } from './sse/connection.ts'
import type { StreamRequest } from './sse/reply-sse.ts'

export interface ChatEventsOptions {
  log: Logger
  /** Milliseconds after which a client that was dropped comes back. */
  retryMs: number
  /** How many events the provider keeps of a chat. @default 1000 */
  historySize?: number | undefined
  /** How many chats this instance follows at the same time. @default no limit */
  maxRooms?: number | undefined
  /** What it counts in. @default counts for nobody */
  metrics?: Metrics | undefined
}

/** Where instances tell each other whose access has ended. */
const REVOKED = 'revoked'

function controlChannelOf (name: string): string {
  return `fastify-realtime:${name}`
}

type OnRevoke = (chatId: string, userId: string) => void

/** Publishes and receives the events of chats. */
export class ChatEvents {
  readonly #pubsub: PubSubProvider
  readonly #feed: LiveFeed
  readonly #log: Logger
  readonly #rooms: Rooms
  /** What instances tell each other goes through logs like those of chats, so that nothing is missed while Redis is away. */
  readonly #control: Rooms
  readonly #onRevoke = new Set<OnRevoke>()
  readonly #onRevoked = (message: unknown): void => {
    const { chatId, userId } = message as { chatId: string, userId: string }
    this.#revoke(chatId, userId)
  }

  constructor (pubsub: PubSubProvider & Partial<Replayable>, { log, retryMs, historySize = defaults.history.size, maxRooms = Infinity, metrics = new Metrics() }: ChatEventsOptions) {
    this.#pubsub = pubsub
    this.#feed = liveFeedOf(pubsub)
    this.#log = log
    const context = { feed: this.#feed, events: pubsub.log, historySize, log, metrics, retryMs }
    this.#rooms = new Rooms({ ...context, channelOf: getChatChannel, maxRooms })
    this.#control = new Rooms({ ...context, channelOf: controlChannelOf, maxRooms: Infinity })
  }

  /** Publishes a message to everyone who has the chat open, on every instance. Settles as `publish` does. */
  emitChatMessage (chatId: string, message: ChatMessage & object, options?: PublishOptions): Promise<PublishReceipt> {
    return this.publish(chatId, { type: 'message', message }, options)
  }

  /** Publishes what a bot does, such as `{ actionType: 'thinking' }`. Settles as `publish` does. */
  emitBotAction (chatId: string, action: BotAction & object, options?: PublishOptions): Promise<PublishReceipt> {
    return this.publish(chatId, { type: 'bot_action', action }, options)
  }

  /**
   * Publishes an event of any type of `ChatEventMap` to everyone who has the chat open, on every instance.
   *
   * Rejects with `RT_CHAT_ID_INVALID`, `RT_EVENT_TYPE_INVALID`, or a code of `PubSubProvider.publish`. Whoever ignores the promise
   * gets a line in the log when it rejects, never an `unhandledRejection`.
   */
  publish (chatId: string, event: ChatEventInput, options?: PublishOptions): Promise<PublishReceipt> {
    return reportFailure(this.#publish(chatId, event, options), this.#log, { chatId, type: event?.type })
  }

  async #publish (chatId: string, event: ChatEventInput, options?: PublishOptions): Promise<PublishReceipt> {
    return await this.#pubsub.publish(getChatChannel(chatId), payload(chatId, event), options)
  }

  /**
   * Calls `handler` with each event of a chat, whichever instance published it, until the returned undo or `offChatEvent`.
   * A handler counts once per chat, however often it is added. One that throws or rejects is logged.
   * Throws `RT_CHAT_ID_INVALID`, `RT_HANDLER_INVALID` or `RT_CLOSED`.
   */
  onChatEvent (chatId: string, handler: ChatEventHandler): () => void {
    if (typeof handler !== 'function') throw new RealtimeError('RT_HANDLER_INVALID', kindOf(handler))
    this.#rooms.enter(chatId).addHandler(handler)
    return () => this.offChatEvent(chatId, handler)
  }

  /** Stops calling a handler that `onChatEvent` or `on` added. One that was not added is no error. */
  offChatEvent (chatId: string, handler: ChatEventHandler): void {
    this.#rooms.find(chatId)?.deleteHandler(handler)
  }

  /** The same as `onChatEvent`, for code that used an EventEmitter. */
  on (chatId: string, handler: ChatEventHandler): () => void {
    return this.onChatEvent(chatId, handler)
  }

  /** The same as `offChatEvent`, for code that used an EventEmitter. */
  off (chatId: string, handler: ChatEventHandler): void {
    this.offChatEvent(chatId, handler)
  }

  /**
   * Tells the handlers and open streams of this instance only, at once, like an EventEmitter: nothing reaches other
   * instances. To reach everyone, use `publish`. Returns whether anyone here listens. Throws `RT_CHAT_ID_INVALID`, `RT_EVENT_TYPE_INVALID` or
   * `RT_PAYLOAD_INVALID`.
   */
  emit (chatId: string, event: ChatEventInput): boolean {
    getChatChannel(chatId)
    const json = Buffer.from(toJson(payload(chatId, event)))
    const room = this.#rooms.find(chatId)
    room?.receive({ from: this.#feed.instanceId, timestamp: Date.now(), event: event.type, json }, false)
    return room?.isEmpty === false
  }

  /**
   * Ends the streams that a user has open in a chat, on every instance that was given `authorize`; who comes back is asked for its access
   * again, so take that away first. Resolves once the other instances are told. Rejects as `publish` does; what is open here has ended then, too.
   */
  revoke (chatId: string, userId: string): Promise<void> {
    return reportFailure(this.#tellRevoked(chatId, userId), this.#log, { chatId })
  }

  async #tellRevoked (chatId: string, userId: string): Promise<void> {
    getChatChannel(chatId)
    checkUserId(userId)
    this.#revoke(chatId, userId)
    await this.#pubsub.publish(controlChannelOf(REVOKED), { type: 'revoke', chatId, userId })
  }

  #revoke (chatId: string, userId: string): void {
    for (const tell of this.#onRevoke) tell(chatId, userId)
    this.#rooms.find(chatId)?.revoke(userId)
  }

  /** Hears from now on what other instances revoke, and ends the streams. Returns its undo. */
  watchRevocations (onRevoke: OnRevoke): () => void {
    this.#control.enter(REVOKED).addHandler(this.#onRevoked)
    this.#onRevoke.add(onRevoke)
    return () => { this.#onRevoke.delete(onRevoke) }
  }

  /** Forgets all handlers and ends all chat streams of this instance. `app.close()` does it. */
  cleanupChatSubscriptions (): void {
    this.#rooms.close()
    if (this.#onRevoke.size === 0) this.#control.close()
  }

  /** How many chats are listened to on this instance, and for how many of them events of other instances arrive now. */
  stats (): { localChats: number, remoteSubscriptions: number, pubsubProvider: string } {
    const { rooms, live } = this.#rooms.stats()
    return { localChats: rooms, remoteSubscriptions: live, pubsubProvider: this.#pubsub.name }
  }

  /** Enters a chat for a stream; what it returns takes the stream in. Throws `RT_CHAT_ID_INVALID`, `RT_REWIND_INVALID` or `RT_CLOSED`. */
  enter (chatId: string, { lastEventId, rewind }: StreamRequest = {}): (stream: Connection) => void {
    const arrival = { after: lastEventId === undefined ? undefined : parseCursor(lastEventId) ?? 'invalid' as const, rewind: countOf(rewind) }
    const room = this.#rooms.enter(chatId)
    return (stream) => room.join(stream, arrival)
  }
}

function countOf (rewind: unknown): number {
  if (rewind === undefined) return 0
  if (typeof rewind === 'string' && /^\d{1,6}$/.test(rewind)) return Number(rewind)
  throw new RealtimeError('RT_REWIND_INVALID', typeof rewind === 'string' ? 'something else' : kindOf(rewind))
}

/** What an event is as handlers and browsers get it. Throws `RT_EVENT_TYPE_INVALID` or `RT_PAYLOAD_INVALID`. */
function payload (chatId: string, event: ChatEventInput): ChatEvent {
  const type: unknown = event?.type
  if (!isEventType(type)) throw new RealtimeError('RT_EVENT_TYPE_INVALID', typeof type === 'string' ? `"${type.slice(0, 64)}"` : kindOf(type))
  // The two events of our own have a field that JSON would leave out unnoticed.
  if (type === 'message' || type === 'bot_action') mustBeObject(type === 'message' ? 'message' : 'action', event)
  return { ...event, chatId }
}

function mustBeObject (field: string, event: object): void {
  const value = (event as Record<string, unknown>)[field]
  if (typeof value !== 'object' || value === null) throw new RealtimeError('RT_PAYLOAD_INVALID', `\`${field}\` must be an object, got ${kindOf(value)}`)
}
