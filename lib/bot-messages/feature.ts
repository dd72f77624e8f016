import type { BotMessageWriter, BotMessageEnd } from './writer.ts'
import { BotMessageWriters, type BotMessageSource, type StartBotMessageOptions, type StreamBotMessageOptions } from './writers.ts'
import { checkBotMessageId } from './fields.ts'
import { getChatChannel } from '../pubsub/channel-name.ts'
import { reportFailure } from '../observability/log-failure.ts'
import { BotMessageProjection } from './projection.ts'
import type { ChatFeature, FeatureContext } from '../rooms/chat-feature.ts'
import { withTimeout } from '../core/with-timeout.ts'
import { defaults } from '../core/defaults.ts'
import { timing } from '../core/timing.ts'

/** Options of bot messages. */
export interface BotMessageOptions {
  /** Bytes of JSON that one event may take. @default 65_536 */
  maxPayloadBytes?: number | undefined
  /** Milliseconds over which appended text is gathered into one piece. @default 50 */
  botMessageWindowMs?: number | undefined
  /** Milliseconds after which a bot message counts as interrupted whose producer shows no sign of life. @default 5_000 */
  botMessageLeaseMs?: number | undefined
}

/** What bot messages add to `ChatEvents`. */
export interface BotMessageMethods {
  /**
   * Begins a bot message that is streamed piece by piece. Everyone who has the chat open, or opens it, on any instance,
   * sees what there is of it, as events `bot_message`. Rejects with `RT_CHAT_ID_INVALID`, `RT_BOT_MESSAGE_ID_INVALID`,
   * `RT_BOT_MESSAGE_EXISTS`, `RT_STATE_UNAVAILABLE`, or a code of `PubSubProvider.publish`.
   */
  startBotMessage (chatId: string, options?: StartBotMessageOptions): Promise<BotMessageWriter>
  /**
   * Streams what an async iterable yields, such as the tokens of a model, as one bot message, and finishes it. Resolves
   * with its id and how it ended. Rejects as `startBotMessage` does, and with what the iterable throws; then the
   * message has ended as failed.
   */
  streamBotMessage (
    chatId: string, source: BotMessageSource, options?: StreamBotMessageOptions
  ): Promise<BotMessageEnd & { id: string }>
  /**
   * Ends a bot message with the text that there is and aborts the signal of its producer, on whichever instance that
   * is. A message that has ended, or never existed, is not an error. Resolves once the request is published; the
   * producer's instance follows the requests like a log, and ends the message as soon as it has read this one. If
   * Redis loses the request afterwards, the message goes on. Rejects with `RT_CHAT_ID_INVALID`,
   * `RT_BOT_MESSAGE_ID_INVALID` or as `publish` does.
   */
  stopBotMessage (chatId: string, id: string): Promise<void>
  /** Ends the bot messages that this instance produces, as interrupted. `app.close()` does it. */
  interruptBotMessages (): void
}

/** A bot message that shall end. */
interface StopRequest { type: 'stop', chatId: string, id: string }

/** Bot messages: texts that grow in the state of a chat and end as events of its log. */
export function botMessages (context: FeatureContext<BotMessageOptions>): ChatFeature<BotMessageMethods> {
  const { state, log, options } = context
  const {
    maxPayloadBytes = defaults.maxPayloadBytes,
    botMessageWindowMs: windowMs = defaults.botMessageWindowMs,
    botMessageLeaseMs: leaseMs = defaults.botMessageLeaseMs
  } = options
  const writers = new BotMessageWriters({ store: state, windowMs, leaseMs, maxPayloadBytes, log })
  const stops = context.control<StopRequest>('stopped')
  const onStop = { message: ({ chatId, id }: StopRequest): Promise<void> => writers.stop(chatId, id) }

  /** Waits until no request to stop can be missed: for the first message only, and not for long while Redis is away. */
  function whileStoppable<T> (begin: () => Promise<T>): Promise<T> {
    stops.watch(onStop)
    const started = stops.whenStarted()
    return started === undefined ? begin() : withTimeout(started, timing.healthTimeout).catch(() => {}).then(begin)
  }

  async function stop (chatId: string, id: string): Promise<void> {
    getChatChannel(chatId)
    checkBotMessageId(id)
    if (writers.has(chatId, id)) await writers.stop(chatId, id)
    else await stops.publish({ type: 'stop', chatId, id })
  }

  const begin = <T>(chatId: string, message: () => Promise<T>): Promise<T> =>
    reportFailure(() => whileStoppable(message), log, { chatId, type: 'bot_message' })

  return {
    methods: {
      startBotMessage: (chatId, given) => begin(chatId, () => writers.start(chatId, given)),
      streamBotMessage: (chatId, source, given) => begin(chatId, () => writers.stream(chatId, source, given)),
      stopBotMessage: (chatId, id) => reportFailure(() => stop(chatId, id), log, { chatId }),
      interruptBotMessages: () => writers.close()
    },
    projection: (room) => new BotMessageProjection(room, (...args) => writers.interrupt(...args)),
    onCleanup: () => { if (writers.size === 0) stops.close() },
    close: () => writers.close()
  }
}
