import type { BotAction, ChatEvent, ChatEventHandler, ChatEventInput, ChatMessage } from '../event-types.ts'
import { ControlChannel } from './control-channel.ts'
import { Entrances } from './entrances.ts'
import { features, type FeatureMethods } from './features.ts'
import { buildEvent } from './build-event.ts'
import { HistoryReader, type HistoryPage, type HistoryQueries, type HistoryQuery } from './history-reader.ts'
import { RealtimeError, kindOf } from '../errors.ts'
import { mustBeObject, toJson } from '../core/json.ts'
import type { Logger } from '../core/logger.ts'
import { Metrics } from '../observability/metrics.ts'
import { ByteBudget } from '../pubsub/byte-budget.ts'
import { controlFeedOf, type Controllable } from '../pubsub/control-feed.ts'
import { getChatChannel, typeOf } from '../pubsub/names.ts'
import { channelFeedOf, type ChannelFeed } from '../pubsub/channel-feed.ts'
import type { PubSubProvider, PublishOptions, PublishReceipt } from '../pubsub/provider.ts'
import { publishWith, remembersRows } from '../pubsub/publisher.ts'
import type { Stateful } from '../pubsub/state-store.ts'
import { reportFailure } from '../observability/log-failure.ts'
import type { ChatFeature, FeatureDefinition } from '../rooms/chat-feature.ts'
import { ReadGate } from '../rooms/read-gate.ts'
import { Rooms } from '../rooms/rooms.ts'
import { budgets } from '../core/budgets.ts'
import { resolve } from '../core/options.ts'
import { chatOptions, type ChatOptions } from './options.ts'
import { historyFields } from '../pubsub/provider-options.ts'
import type { Replayable } from '../pubsub/event-log.ts'
import { Revocations } from './revocations.ts'

/** Options to create `ChatEvents` outside the plugin. */
export interface ChatEventsOptions extends ChatOptions {
  /** Logger for failures. */
  log: Logger
  /** Metrics that count events. @default metrics that are not exported */
  metrics?: Metrics | undefined
  /** Chat features beside events. @default bot messages and presence @internal */
  features?: readonly FeatureDefinition[] | undefined
}

// The methods of the features, which the constructor adds.
export interface ChatEvents extends FeatureMethods {}

/** Publishes and receives the events of chats. */
export class ChatEvents {
  /** Lets streams into chats. @internal */
  readonly entrances: Entrances
  /** Reports ended access to every instance. @internal */
  readonly revocations: Revocations
  /** Whether a row of an outbox is published once, however often that is tried. @internal */
  readonly remembersRows: boolean
  readonly #pubsub: PubSubProvider
  readonly #feed: ChannelFeed
  readonly #log: Logger
  readonly #rooms: Rooms
  readonly #features: ChatFeature[]
  readonly #history: HistoryReader

  /** Throws the error of a feature that does not work with this provider, such as `RT_STATE_UNAVAILABLE`. */
  constructor (pubsub: PubSubProvider & Partial<Replayable & Stateful & Controllable>, options: ChatEventsOptions) {
    const { log, metrics = new Metrics() } = options
    const { maxRooms = Infinity, maxPayloadBytes, retryMs, history } = resolve(chatOptions, options)
    this.#pubsub = pubsub
    this.#feed = channelFeedOf(pubsub)
    this.#log = log
    const { eventLog, state } = pubsub
    this.remembersRows = remembersRows(pubsub)
    const { instanceId } = this.#feed
    const controlFeed = controlFeedOf(pubsub, this.#feed)
    const control = <T>(channel: string): ControlChannel<T> => new ControlChannel({ feed: controlFeed, log, channel })
    const onChatEvent = (chatId: string, handler: ChatEventHandler): () => void => this.onChatEvent(chatId, handler)
    const syncChat = async (chatId: string): Promise<void> => { await this.#rooms.find(chatId)?.chatLog.sync() }
    const featureContext = { pubsub, state, instanceId, log, maxPayloadBytes, control, onChatEvent, syncChat }
    this.#features = (options.features ?? features).map((feature: FeatureDefinition) =>
      feature.create({ ...featureContext, options: resolve(feature.options, { ...options }) })
    )
    for (const { methods } of this.#features) Object.assign(this, methods)
    this.revocations = new Revocations(control('revoked'), this.#features)
    const projections = this.#features.flatMap(({ projection }) => projection ?? [])
    const historySize = history === false ? historyFields.size.default : history.size
    const limits = { maxRooms, reads: new ReadGate(budgets.reads), replays: new ByteBudget(budgets.replays) }
    const roomContext = { eventLog, historySize, log, metrics, retryMs, state, projections }
    this.#rooms = new Rooms({ feed: this.#feed, ...roomContext, ...limits })
    this.#history = new HistoryReader(eventLog, maxPayloadBytes)
    this.entrances = new Entrances(this.#rooms, this.#features)
  }

  /** Publishes a message to all clients that have the chat open, on every instance. Settles as `publish` does. */
  emitChatMessage (chatId: string, message: ChatMessage & object, options?: PublishOptions): Promise<PublishReceipt> {
    return this.#publish(
      chatId, 'message', () => ({ type: 'message', message: mustBeObject('message', message), chatId }), options
    )
  }

  /** Publishes a bot action, such as `{ actionType: 'thinking' }`. Settles as `publish` does. */
  emitBotAction (chatId: string, action: BotAction & object, options?: PublishOptions): Promise<PublishReceipt> {
    return this.#publish(
      chatId, 'bot_action', () => ({ type: 'bot_action', action: mustBeObject('action', action), chatId }), options
    )
  }

  /**
   * Publishes an event of any type of `ChatEventMap` to all clients that have the chat open, on every instance.
   *
   * Rejects with `RT_CHAT_ID_INVALID`, `RT_EVENT_TYPE_INVALID`, or a code of `PubSubProvider.publish`. If the caller
   * ignores the promise, a rejection is logged and never becomes an `unhandledRejection`.
   */
  publish (chatId: string, event: ChatEventInput, options?: PublishOptions): Promise<PublishReceipt> {
    return this.#publish(chatId, typeOf(event), () => buildEvent(chatId, event), options)
  }

  /** Publishes the event that `build` returns. Checks the chat id first, so that an invalid one is reported first. */
  #publish (
    chatId: string, type: unknown, build: () => ChatEvent, options: PublishOptions | undefined
  ): Promise<PublishReceipt> {
    return publishWith(this.#pubsub, () => [getChatChannel(chatId), build(), options], this.#log, { chatId, type })
  }

  /**
   * Returns the id of the last event of a chat, or of the position before the first one. A stream that continues from
   * there gets every later event, or a `reset`. Read it before the rows of your database. For several chats, at most
   * 100, returns their ids in the same order, with one round trip to each Redis. Rejects with `RT_CHAT_ID_INVALID`,
   * `RT_HISTORY_INVALID`, `RT_HISTORY_UNAVAILABLE` or `RT_LOG_UNAVAILABLE`.
   */
  lastEventId (chatId: string): Promise<string>
  lastEventId (chatIds: readonly string[]): Promise<string[]>
  async lastEventId (chats: string | readonly string[]): Promise<string | string[]> {
    if (isList(chats)) return await this.#history.lastEventIds(chats)
    const [id] = await this.#history.lastEventIds([chats])
    return id as string // There is one for each chat.
  }

  /**
   * Reads a page of the events that the log of a chat has kept: the first events after `after`, the last ones before
   * `before`, or the last ones of all. The events of a page take at most 256 KiB, unless it is a single event. For
   * several chats, at most 100, returns a page of each in the same order, with one round trip to each Redis; all pages
   * share the 256 KiB, but each has at least one event, if there is one. Rejects with `RT_OPTION_INVALID`, or as
   * `lastEventId` does.
   */
  history (chatId: string, query?: HistoryQuery): Promise<HistoryPage>
  history (chatIds: readonly string[], queries?: HistoryQueries): Promise<HistoryPage[]>
  async history (
    chats: string | readonly string[], given?: HistoryQuery | HistoryQueries
  ): Promise<HistoryPage | HistoryPage[]> {
    // The overloads say which of them is given.
    if (isList(chats)) return await this.#history.read(chats, given as HistoryQueries | undefined)
    return await this.#history.readOne(chats, given as HistoryQuery | undefined)
  }

  /**
   * Calls `handler` with each event of a chat from any instance. Stops when the returned function or `offChatEvent` is
   * called. A handler is added once per chat, however often this is called. If it throws or rejects, the error is
   * logged. It runs in the AsyncLocalStorage context in which it was first added. Throws `RT_CHAT_ID_INVALID`,
   * `RT_HANDLER_INVALID` or `RT_CLOSED`.
   */
  onChatEvent (chatId: string, handler: ChatEventHandler): () => void {
    if (typeof handler !== 'function') throw new RealtimeError('RT_HANDLER_INVALID', kindOf(handler))
    this.#rooms.enter(chatId).addHandler(handler)
    return () => this.offChatEvent(chatId, handler)
  }

  /** Removes a handler that `onChatEvent` or `on` added. Does nothing if the handler was not added. */
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
   * Passes an event to the handlers and open streams of this instance only, synchronously, like an EventEmitter. To
   * reach other instances too, use `publish`. Returns true if this instance has a stream or handler in the chat.
   * Throws `RT_CHAT_ID_INVALID`, `RT_EVENT_TYPE_INVALID` or `RT_PAYLOAD_INVALID`.
   */
  emit (chatId: string, event: ChatEventInput): boolean {
    getChatChannel(chatId)
    const json = toJson(buildEvent(chatId, event))
    const room = this.#rooms.find(chatId)
    room?.emit({ from: this.#feed.instanceId, timestamp: Date.now(), event: event.type, json })
    return room?.isEmpty === false
  }

  /**
   * Ends the streams that a user has open in a chat, on every instance that has the option `authorize`. A client that
   * reconnects is authorized again, so remove the access first. Resolves once the revocation is published. Rejects as
   * `publish` does; the streams of this instance have ended then, too.
   */
  revoke (chatId: string, userId: string): Promise<void> {
    return reportFailure(() => this.revocations.publish(chatId, userId), this.#log, { chatId })
  }

  /** Removes all handlers and ends all chat streams of this instance. `app.close()` calls it. */
  cleanupChatSubscriptions (): void {
    this.#rooms.close()
    for (const feature of this.#features) feature.onCleanup?.()
  }

  /**
   * Waits for what the features have begun, for at most `ms` milliseconds, or as the options say. `app.close()` calls
   * it before it ends the streams. @internal
   */
  async drain (ms?: number): Promise<void> {
    await Promise.all(this.#features.map((feature) => feature.drain?.(ms)))
  }

  /** Closes the features, then removes all handlers and ends all streams. `app.close()` calls it. @internal */
  close (): void {
    for (const feature of this.#features) feature.close?.()
    this.cleanupChatSubscriptions()
  }

  /**
   * `localChats` is the number of chats that have streams or handlers on this instance. `remoteSubscriptions` is the
   * number of them that currently receive the events of other instances.
   */
  stats (): { localChats: number, remoteSubscriptions: number, pubsubProvider: string } {
    const { rooms, live } = this.#rooms.stats()
    return { localChats: rooms, remoteSubscriptions: live, pubsubProvider: this.#pubsub.name }
  }
}

/** `Array.isArray`, with the type of a list that must not be changed. */
function isList (chats: string | readonly string[]): chats is readonly string[] {
  return Array.isArray(chats)
}
