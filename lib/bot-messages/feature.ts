import type { BotMessageWriter, BotMessageEnd } from './writer.ts'
import {
  BotMessageWriters,
  type BotMessageSource, type BotMessageWriting, type StartBotMessageOptions, type StreamBotMessageOptions
} from './writers.ts'
import { checkBotMessageId } from './fields.ts'
import { getChatChannel } from '../pubsub/names.ts'
import { reportFailure } from '../observability/log-failure.ts'
import { botMessageOptions } from './options.ts'
import { BotMessageFollower } from './follower.ts'
import { Drain } from './drain.ts'
import type { StateStore } from '../pubsub/state-store.ts'
import { BotMessageReader, type OpenedBotMessage } from './reader.ts'
import type { BotMessage } from '../event-types.ts'
import { RealtimeError } from '../errors.ts'
import { BotMessageProjection } from './projection.ts'
import type { ValuesFrom } from '../core/options.ts'
import type { ChatFeature, FeatureContext, FeatureDefinition } from '../rooms/chat-feature.ts'
import { withTimeout } from '../core/with-timeout.ts'
import { timing } from '../core/timing.ts'

/** The methods that bot messages add to `ChatEvents`. */
export interface BotMessageMethods {
  /**
   * Starts a bot message that is streamed piece by piece. All clients that have the chat open or open it later, on any
   * instance, get the content so far as `bot_message` events. Rejects with `RT_CHAT_ID_INVALID`,
   * `RT_BOT_MESSAGE_ID_INVALID`, `RT_BOT_MESSAGE_EXISTS`, `RT_STATE_UNAVAILABLE`, or a code of
   * `PubSubProvider.publish`.
   */
  startBotMessage (chatId: string, options?: StartBotMessageOptions): Promise<BotMessageWriter>
  /**
   * Streams the strings of an async iterable or a `ReadableStream`, such as `result.textStream` of the AI SDK, as one
   * bot message, and finishes it. With `format: 'chunks'`, the source yields objects.
   * Resolves with the id and the final status. Rejects as `startBotMessage` does. If the source throws, the bot message
   * ends as failed and the promise rejects with that error.
   */
  streamBotMessage (
    chatId: string, source: BotMessageSource, options?: StreamBotMessageOptions
  ): Promise<BotMessageEnd & { id: string }>
  /** Starts a bot message and writes it. Settles as `streamBotMessage` does. @internal */
  writeBotMessage (
    chatId: string, options: StartBotMessageOptions, writing: BotMessageWriting
  ): Promise<BotMessageEnd & { id: string }>
  /**
   * Ends a bot message with its content so far and aborts the signal of its producer, on any instance. Without an id,
   * ends the one in progress that was started last. It is not an error if the bot message has ended or never existed.
   * Resolves once the request is published. The producer's instance follows the log of these requests and ends the bot
   * message as soon as it has read this one. If Redis loses the request before that, the bot message goes on. Rejects
   * with `RT_CHAT_ID_INVALID`, `RT_BOT_MESSAGE_ID_INVALID` or as `publish` does; without an id also with
   * `RT_STATE_UNAVAILABLE` or `RT_LOG_UNAVAILABLE`.
   */
  stopBotMessage (chatId: string, id?: string): Promise<void>
  /**
   * Reads a bot message: in progress, or ended as long as the history reaches back to it. Call it in a handler of the
   * end to store a long one, whose final event does not repeat its content. Resolves with `undefined` if there is none.
   * Rejects with `RT_CHAT_ID_INVALID`, `RT_BOT_MESSAGE_ID_INVALID`, `RT_STATE_UNAVAILABLE` or `RT_LOG_UNAVAILABLE`.
   */
  getBotMessage (chatId: string, id: string): Promise<BotMessage | undefined>
  /** Opens a bot message to read it in pages. Settles as `getBotMessage` does. @internal */
  openBotMessage (chatId: string, id: string, from: number): Promise<OpenedBotMessage | undefined>
  /**
   * The id of the bot message in progress with this protocol that was started last. Rejects with `RT_CHAT_ID_INVALID`,
   * `RT_STATE_UNAVAILABLE` or `RT_LOG_UNAVAILABLE`. @internal
   */
  activeBotMessage (chatId: string, protocol: string): Promise<string | undefined>
  /**
   * Whether a bot message can be followed: it has chunks of this protocol, or has ended and has chunks. Settles as
   * `activeBotMessage` does. @internal
   */
  hasBotMessage (chatId: string, id: string, protocol: string): Promise<boolean>
  /**
   * Follows a bot message. The caller must close the follower. Throws `RT_CHAT_ID_INVALID` or `RT_CLOSED`. @internal
   */
  followBotMessage (chatId: string, id: string): BotMessageFollower
  /** Ends all bot messages that this instance produces as interrupted. `app.close()` calls it. */
  interruptBotMessages (): void
}

/** A request to end a bot message. */
interface StopRequest { type: 'stop', chatId: string, id: string }

/** Bot messages: the content grows in the state of a chat; the finished bot message becomes an event of its log. */
export const botMessages: FeatureDefinition<BotMessageMethods, typeof botMessageOptions> = {
  options: botMessageOptions, create
}

function create (context: FeatureContext<ValuesFrom<typeof botMessageOptions>>): ChatFeature<BotMessageMethods> {
  const { state, log, maxPayloadBytes, options } = context
  const { botMessageWindowMs: windowMs, botMessageLeaseMs: leaseMs, maxBotMessageBytes: maxBytes } = options
  const writers = new BotMessageWriters({ store: state, windowMs, leaseMs, maxBytes, maxPayloadBytes, log })
  const reader = state && new BotMessageReader(state)
  const drain = new Drain({ writers, syncChat: (chatId) => context.syncChat(chatId) })
  const stops = context.control<StopRequest>('stopped')
  /** The last wait of `whileStoppable`. Bot messages that began to wait until now are being opened once it is over. */
  let lastWait: Promise<void> | undefined
  const onStop = { message: ({ chatId, id }: StopRequest): Promise<void> => writers.stop(chatId, id) }

  /**
   * Waits until no stop request can be missed. Only the first bot message waits, and only for a limited time while
   * Redis is unavailable.
   */
  function whileStoppable<T> (begin: () => Promise<T>): Promise<T> {
    stops.watch(onStop)
    const started = stops.whenStarted()
    if (started === undefined) return begin()
    const waiting = lastWait = withTimeout(started, timing.healthTimeout).catch(() => {})
    return waiting.then(begin)
  }

  function mustRead (): BotMessageReader {
    if (reader === undefined) throw new RealtimeError('RT_STATE_UNAVAILABLE')
    return reader
  }

  /** As `activeBotMessage`, for all bot messages if no protocol is given. */
  async function newest (chatId: string, protocol?: string): Promise<string | undefined> {
    await lastWait
    await writers.whenOpen(chatId)
    return await mustRead().newest(chatId, protocol)
  }

  async function stop (chatId: string, given: string | undefined): Promise<void> {
    getChatChannel(chatId)
    const id = given === undefined ? await newest(chatId) : checkBotMessageId(given)
    if (id === undefined) return
    if (writers.has(chatId, id)) await writers.stop(chatId, id)
    else await stops.publish({ type: 'stop', chatId, id })
  }

  const begin = <T>(chatId: string, message: () => Promise<T>): Promise<T> =>
    reportFailure(() => whileStoppable(message), log, { chatId, type: 'bot_message' })

  return {
    methods: {
      startBotMessage: (chatId, given) => begin(chatId, () => writers.start(chatId, given)),
      streamBotMessage: (chatId, source, given) => begin(chatId, () => writers.stream(chatId, source, given)),
      writeBotMessage: (chatId, given, writing) => begin(chatId, () => writers.write(chatId, given, writing)),
      stopBotMessage: (chatId, id) => reportFailure(() => stop(chatId, id), log, { chatId }),
      getBotMessage: async (chatId, id) => await mustRead().read(chatId, checkBotMessageId(id)),
      openBotMessage: async (chatId, id, from) => await mustRead().open(chatId, id, from),
      activeBotMessage: newest,
      hasBotMessage: async (chatId, id, protocol) => {
        checkBotMessageId(id)
        await lastWait
        await writers.whenOpen(chatId, id)
        // Only what is known of it, not its content.
        const page = await mustRead().page(chatId, id, Number.MAX_SAFE_INTEGER)
        return page?.format === 'chunks' && (page.head.status !== 'streaming' || page.protocol === protocol)
      },
      followBotMessage: (chatId, id) => {
        const follower = new BotMessageFollower(chatId, id, {
          store: state as StateStore, // `hasBotMessage` would have thrown without one.
          reader: mustRead(),
          onChatEvent: context.onChatEvent
        })
        if (writers.has(chatId, id)) drain.add(follower)
        return follower
      },
      interruptBotMessages: () => writers.close()
    },
    projection: {
      eventName: 'bot_message',
      create: (room) => new BotMessageProjection(room, (...args) => writers.interrupt(...args))
    },
    drain: (ms = options.botMessageDrainMs) => drain.run(ms),
    onCleanup: () => { if (writers.size === 0) stops.close() },
    close: () => writers.close()
  }
}
