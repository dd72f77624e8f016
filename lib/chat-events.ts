import type { BotAction, ChatEvent, ChatEventHandler, ChatEventInput, ChatMessage } from './chat-event-map.ts'
import type { BotAnswer, BotMessageEnd } from './bot-answer.ts'
import { BotAnswers, type BotMessageSource, type StartBotMessageOptions, type StreamBotMessageOptions } from './bot-answers.ts'
import type { RevocationListener, RevocationWatch } from './access.ts'
import { checkAnswerId } from './bot-message.ts'
import { ControlChannel, type ControlListener } from './chat/control-channel.ts'
import { checkOptions } from './check-options.ts'
import { parseCursor } from './cursor.ts'
import { parseVector } from './cursor-vector.ts'
import { RealtimeError, kindOf } from './errors.ts'
import { notJson, toJson } from './json.ts'
import type { Logger } from './logger.ts'
import { Metrics } from './metrics.ts'
import { budgets, defaults, timing, type PresenceTimes } from './options.ts'
import { Presence, readPresence } from './presence.ts'
import { ByteBudget } from './pubsub/byte-budget.ts'
import { getChatChannel } from './pubsub/channel.ts'
import { controlFeedOf, type Controllable } from './pubsub/control-feed.ts'
import { checkEventType, typeOf } from './pubsub/event-name.ts'
import { liveFeedOf } from './pubsub/live-feed.ts'
import { own } from './pubsub/own-publish.ts'
import type { LiveFeed, PubSubProvider, PublishOptions, PublishReceipt, Replayable } from './pubsub/provider.ts'
import type { Stateful, StateStore } from './pubsub/state-store.ts'
import { reportFailure } from './report-failure.ts'
import { AnswersView } from './rooms/answers-view.ts'
import type { Arrival } from './rooms/arrival.ts'
import { refused } from './rooms/control-frames.ts'
import { PresenceView } from './rooms/presence-view.ts'
import type { Room } from './rooms/room.ts'
import { ReadGate } from './rooms/read-gate.ts'
import { Rooms } from './rooms/rooms.ts'
import { Seats } from './rooms/seats.ts'
import type { MakeView } from './rooms/state-view.ts'
import type { Stream } from './rooms/stream.ts'
import type { Connection } from './sse/connection.ts'
import type { ChatAccess, Entrance, StreamRequest } from './sse/reply-sse.ts'
import { TypingThrottle } from './typing.ts'
import { checkUserId } from './user-id.ts'
import { within } from './within.ts'

/** What `ChatEvents` are made with outside the plugin. */
export interface ChatEventsOptions {
  /** Where failures go. */
  log: Logger
  /** Milliseconds after which a client that was dropped comes back. */
  retryMs: number
  /** How many events the provider keeps of a chat. @default 1000 */
  historySize?: number | undefined
  /** How many chats this instance follows at the same time. @default no limit */
  maxRooms?: number | undefined
  /** Bytes of JSON that one event may take. @default 65_536 */
  maxPayloadBytes?: number | undefined
  /** Milliseconds over which what is appended to a bot's answer becomes one piece. @default 50 */
  botMessageWindowMs?: number | undefined
  /** Milliseconds after which an answer counts as interrupted whose producer gives no sign of life. @default 5_000 */
  botMessageLeaseMs?: number | undefined
  /** When a user counts as gone; `false` tells nobody who is in a chat. @default false */
  presence?: PresenceTimes | false | undefined
  /** What it counts in. @default counts for nobody */
  metrics?: Metrics | undefined
}

/** Options of `emitTyping`. */
export interface TypingOptions {
  /** `false` says that the user has stopped. @default true */
  typing?: boolean | undefined
}

/** A user whose access to a chat has ended. */
interface Revocation { type: 'revoke', chatId: string, userId: string }

/** A bot message that shall end. */
interface StopRequest { type: 'stop', chatId: string, id: string }

/** Publishes and receives the events of chats. */
export class ChatEvents {
  readonly #pubsub: PubSubProvider
  readonly #feed: LiveFeed
  readonly #log: Logger
  readonly #rooms: Rooms
  readonly #revocations: ControlChannel<Revocation>
  readonly #stops: ControlChannel<StopRequest>
  readonly #state: StateStore | undefined
  readonly #presence: Presence | undefined
  readonly #typing = new TypingThrottle()
  readonly #answers: BotAnswers
  readonly #onStop: ControlListener<StopRequest> = {
    message: ({ chatId, id }) => this.#answers.stop(chatId, id)
  }

  /** Throws `RT_STATE_UNAVAILABLE` where `presence` is asked of a provider that keeps no state. */
  constructor (pubsub: PubSubProvider & Partial<Replayable & Stateful & Controllable>, { log, retryMs, historySize = defaults.history.size, maxRooms = Infinity, presence = false, metrics = new Metrics(), ...options }: ChatEventsOptions) {
    this.#pubsub = pubsub
    this.#feed = liveFeedOf(pubsub)
    this.#log = log
    const shared = { reads: new ReadGate(budgets.reads), replays: new ByteBudget(budgets.replays) }
    const context = { feed: this.#feed, events: pubsub.log, historySize, log, metrics, retryMs, ...shared }
    const { maxPayloadBytes = defaults.maxPayloadBytes, botMessageWindowMs: windowMs = defaults.botMessageWindowMs, botMessageLeaseMs: leaseMs = defaults.botMessageLeaseMs } = options
    const answers = this.#answers = new BotAnswers({ store: pubsub.state, windowMs, leaseMs, maxPayloadBytes, log })
    this.#state = pubsub.state
    const { instanceId } = this.#feed
    const here = this.#presence = presence === false ? undefined : new Presence({ ...presence, store: pubsub.state, instanceId, log })
    const views: MakeView[] = [(room) => new AnswersView(room, (...args) => answers.interrupt(...args))]
    if (here !== undefined) views.push((room) => new PresenceView(room, { instanceId, onGone: (chatId, userId) => here.restore(chatId, userId) }))
    this.#rooms = new Rooms({ ...context, channelOf: getChatChannel, maxRooms, state: pubsub.state, views })
    const control = { feed: controlFeedOf(pubsub, this.#feed), log }
    this.#revocations = new ControlChannel({ ...control, channel: 'revoked' })
    this.#stops = new ControlChannel({ ...control, channel: 'stopped' })
  }

  /** Publishes a message to everyone who has the chat open, on every instance. Settles as `publish` does. */
  emitChatMessage (chatId: string, message: ChatMessage & object, options?: PublishOptions): Promise<PublishReceipt> {
    return this.#publish(chatId, 'message', () => ({ type: 'message', message: mustBeObject('message', message), chatId }), options)
  }

  /** Publishes what a bot does, such as `{ actionType: 'thinking' }`. Settles as `publish` does. */
  emitBotAction (chatId: string, action: BotAction & object, options?: PublishOptions): Promise<PublishReceipt> {
    return this.#publish(chatId, 'bot_action', () => ({ type: 'bot_action', action: mustBeObject('action', action), chatId }), options)
  }

  /**
   * Begins an answer of a bot that is streamed piece by piece. Everyone who has the chat open, or opens it, on any instance, sees what there
   * is of it, as events `bot_message`. Rejects with `RT_CHAT_ID_INVALID`, `RT_ANSWER_ID_INVALID`, `RT_ANSWER_EXISTS`, `RT_STATE_UNAVAILABLE`, or a code of
   * `PubSubProvider.publish`.
   */
  startBotMessage (chatId: string, options?: StartBotMessageOptions): Promise<BotAnswer> {
    return reportFailure(() => this.#whileStoppable(() => this.#answers.start(chatId, options)), this.#log, { chatId, type: 'bot_message' })
  }

  /**
   * Streams what an async iterable gives, such as the tokens of a model, as one answer, and finishes it. Resolves with its id and how it
   * ended. Rejects as `startBotMessage` does, and with what the iterable throws, after telling the readers that the answer failed.
   */
  streamBotMessage (chatId: string, source: BotMessageSource, options?: StreamBotMessageOptions): Promise<BotMessageEnd & { id: string }> {
    return reportFailure(() => this.#whileStoppable(() => this.#answers.stream(chatId, source, options)), this.#log, { chatId, type: 'bot_message' })
  }

  /**
   * Ends an answer with what there is of it and aborts the signal of its producer, whichever instance that is on. One that has ended, or that there never was, is
   * no error. Resolves once the request is published, which the producer's instance follows like a log: it ends the answer as soon as it has read that.
   * Where Redis loses the request afterwards, the answer goes on: its end is an event. Rejects with `RT_CHAT_ID_INVALID`, `RT_ANSWER_ID_INVALID` or as `publish` does.
   */
  stopBotMessage (chatId: string, id: string): Promise<void> {
    return reportFailure(() => this.#stopBotMessage(chatId, id), this.#log, { chatId })
  }

  async #stopBotMessage (chatId: string, id: string): Promise<void> {
    getChatChannel(chatId)
    checkAnswerId(id)
    if (this.#answers.has(chatId, id)) await this.#answers.stop(chatId, id)
    else await this.#stops.publish({ type: 'stop', chatId, id })
  }

  /**
   * Begins a bot message once this instance cannot miss a request to stop it. Only the first one waits for that, and not for long: where Redis does
   * not answer, beginning fails by itself.
   */
  #whileStoppable<T> (begin: () => Promise<T>): Promise<T> {
    this.#stops.watch(this.#onStop)
    const started = this.#stops.whenStarted()
    return started === undefined ? begin() : within(started, timing.healthTimeout).catch(() => {}).then(begin)
  }

  /** Ends the answers that this instance produces, as interrupted. `app.close()` does it. */
  interruptBotMessages (): void {
    this.#answers.close()
  }

  /**
   * Publishes an event of any type of `ChatEventMap` to everyone who has the chat open, on every instance.
   *
   * Rejects with `RT_CHAT_ID_INVALID`, `RT_EVENT_TYPE_INVALID`, or a code of `PubSubProvider.publish`. Whoever ignores the promise
   * gets a line in the log when it rejects, never an `unhandledRejection`.
   */
  publish (chatId: string, event: ChatEventInput, options?: PublishOptions): Promise<PublishReceipt> {
    return this.#publish(chatId, typeOf(event), () => payload(chatId, event), options)
  }

  /** A wrong chat is told before a wrong event. */
  #publish (chatId: string, type: unknown, event: () => ChatEvent, options: PublishOptions | undefined): Promise<PublishReceipt> {
    return reportFailure(() => this.#pubsub.publish(getChatChannel(chatId), event(), options), this.#log, { chatId, type })
  }

  /**
   * Tells everyone who has the chat open, on every instance, that a user types, or has stopped. Call it as often as you like: what says nothing
   * new goes out once in two seconds. Clients show it for `expiresInMs`, so that a user who is cut off does not type for ever. Resolves with
   * whether it went out. Rejects with `RT_CHAT_ID_INVALID`, `RT_USER_ID_INVALID`, or as `publish` does.
   */
  emitTyping (chatId: string, user: string, options?: TypingOptions): Promise<boolean> {
    return reportFailure(() => this.#emitTyping(chatId, user, options), this.#log, { chatId, type: 'typing' })
  }

  async #emitTyping (chatId: string, user: string, options: TypingOptions | undefined): Promise<boolean> {
    const channel = getChatChannel(chatId)
    checkUserId(user)
    const { typing = true } = checkOptions(options, 'typing')
    // It may come as it is from a client, to whom each object would be news.
    const types = Boolean(typing)
    if (!this.#typing.admits(chatId, user, types)) return false
    await this.#pubsub.publish(channel, { type: 'typing', user, expiresInMs: types ? timing.typingExpiry : 0, chatId }, own({ ephemeral: true }))
    return true
  }

  /**
   * Who is in a chat at this moment, over all instances that have the option `presence`: ids of users, sorted. Rejects with `RT_CHAT_ID_INVALID`,
   * `RT_STATE_UNAVAILABLE` or `RT_LOG_UNAVAILABLE`.
   */
  presence (chatId: string): Promise<string[]> {
    return readPresence(this.#state, chatId)
  }

  /** Tells nothing more of who is here, and leaves it to the leases. `app.close()` does it. @internal */
  leavePresence (): void {
    this.#presence?.close()
  }

  /**
   * Calls `handler` with each event of a chat, whichever instance published it, until the returned undo or `offChatEvent`.
   * A handler counts once per chat, however often it is added. One that throws or rejects is logged.
   * It runs in the AsyncLocalStorage context in which it was added first.
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
    const json = toJson(payload(chatId, event))
    const room = this.#rooms.find(chatId)
    room?.receive({ from: this.#feed.instanceId, timestamp: Date.now(), event: event.type, json }, false)
    return room?.isEmpty === false
  }

  /**
   * Ends the streams that a user has open in a chat, on every instance that was given `authorize`; who comes back is asked for its access
   * again, so take that away first. Resolves once the other instances are told. Rejects as `publish` does; what is open here has ended then, too.
   */
  revoke (chatId: string, userId: string): Promise<void> {
    return reportFailure(() => this.#tellRevoked(chatId, userId), this.#log, { chatId })
  }

  async #tellRevoked (chatId: string, userId: string): Promise<void> {
    getChatChannel(chatId)
    checkUserId(userId)
    this.#presence?.remove(chatId, userId)
    await this.#revocations.publish({ type: 'revoke', chatId, userId })
  }

  /** Follows the revocations of all instances from now on. @internal */
  watchRevocations ({ revoked, synced }: RevocationListener): RevocationWatch {
    const stop = this.#revocations.watch({
      message: ({ chatId, userId }) => {
        revoked(chatId, userId)
        this.#presence?.remove(chatId, userId)
      },
      synced
    })
    const revocations = this.#revocations
    return { get inSync () { return revocations.inSync }, get continuity () { return revocations.continuity }, stop }
  }

  /** Forgets all handlers and ends all chat streams of this instance. `app.close()` does it. */
  cleanupChatSubscriptions (): void {
    this.#rooms.close()
    if (this.#answers.size === 0) this.#stops.close()
  }

  /** How many chats are listened to on this instance, and for how many of them events of other instances arrive now. */
  stats (): { localChats: number, remoteSubscriptions: number, pubsubProvider: string } {
    const { rooms, live } = this.#rooms.stats()
    return { localChats: rooms, remoteSubscriptions: live, pubsubProvider: this.#pubsub.name }
  }

  /**
   * Enters a chat. Returns what makes an entrance for a stream. Throws `RT_CHAT_ID_INVALID` or `RT_CLOSED`.
   * @internal
   */
  enter (chatId: string, { lastEventId, rewinds = [] }: StreamRequest = {}): (stream: Connection) => Entrance[] {
    const after = lastEventId === undefined ? undefined : parseCursor(lastEventId) ?? 'invalid' as const
    const arrival = { after, rewind: rewinds[0] }
    const room = this.#rooms.enter(chatId)
    return (stream) => [{ stream, join: () => this.#join(room, stream, arrival), endAfter: (ms) => stream.endAfter(ms) }]
  }

  /**
   * Enters those of several chats that were granted, or none of them where one throws. Returns what makes an entrance to each for a stream, and
   * writes which chats are left out. @internal
   */
  enterAll (chats: readonly ChatAccess[], request: StreamRequest = {}): (stream: Connection) => Entrance[] {
    const { lastEventId = '', rewinds = [] } = request
    const places = lastEventId === '' ? [] : parseVector(lastEventId, chats.length)
    const granted = [...chats.entries()].filter(([, { refused }]) => refused === undefined)
    const rooms = this.#rooms.enterAll(granted.map(([, { chatId }]) => chatId))
    return (stream) => {
      stream.write(Buffer.concat(chats.map(({ chatId, refused: code }) => code === undefined ? NOTHING : refused(chatId, code))))
      // A chat that is left out has a part of the id, too: its client finds its position where it was.
      const seats = new Seats(stream, chats.map(({ userId }, index) => ({ after: places[index], userId })))
      return granted.map(([index], n) => {
        const seat = seats.all[index] as Stream
        const arrival = { after: places[index], rewind: rewinds[index] }
        return { stream: seat, join: () => this.#join(rooms[n] as Room, seat, arrival), endAfter: (ms: number) => stream.endAfter(ms) }
      })
    }
  }

  #join (room: Room, stream: Stream, arrival: Arrival): void {
    // It may have waited at the door for longer than the room was kept.
    if (this.#rooms.find(room.chatId) !== room) {
      stream.end()
      return
    }
    this.#presence?.add(room.chatId, stream)
    room.join(stream, arrival)
  }
}

const NOTHING = Buffer.alloc(0)

/** What an event is as handlers and browsers get it. Throws `RT_EVENT_TYPE_INVALID` or `RT_PAYLOAD_INVALID`. */
function payload (chatId: string, event: ChatEventInput): ChatEvent {
  const made = copyOf(chatId, event)
  // Of the copy: a getter may give something else the next time.
  const { type, message, action } = made as { type: unknown, message?: unknown, action?: unknown }
  checkEventType(type)
  // These two have a field that JSON would leave out unnoticed.
  if (type === 'message') mustBeObject('message', message)
  if (type === 'bot_action') mustBeObject('action', action)
  return made
}

function copyOf (chatId: string, event: ChatEventInput): ChatEvent {
  try {
    // A spread takes many times as long, but only that leaves `__proto__` a field like any other.
    return Object.hasOwn(Object(event), '__proto__') ? { ...event, chatId } : Object.assign({}, event, { chatId })
  } catch {
    throw notJson('one whose getter or Proxy throws')
  }
}

function mustBeObject<T> (field: string, value: T): T {
  if (typeof value === 'object' && value !== null) return value
  throw new RealtimeError('RT_PAYLOAD_INVALID', `\`${field}\` must be an object, got ${kindOf(value)}. Publish one that JSON can carry`)
}
