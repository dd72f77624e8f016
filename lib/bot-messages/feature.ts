import type { BotAnswer, BotMessageEnd } from '../bot-answer.ts'
import { BotAnswers, type BotMessageSource, type StartBotMessageOptions, type StreamBotMessageOptions } from '../bot-answers.ts'
import { checkAnswerId } from '../bot-message.ts'
import { defaults, timing } from '../options.ts'
import { getChatChannel } from '../pubsub/channel.ts'
import { reportFailure } from '../report-failure.ts'
import { AnswersView } from '../rooms/answers-view.ts'
import type { ChatFeature, FeatureContext } from '../rooms/chat-feature.ts'
import { within } from '../within.ts'

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
   * sees what there is of it, as events `bot_message`. Rejects with `RT_CHAT_ID_INVALID`, `RT_ANSWER_ID_INVALID`,
   * `RT_ANSWER_EXISTS`, `RT_STATE_UNAVAILABLE`, or a code of `PubSubProvider.publish`.
   */
  startBotMessage (chatId: string, options?: StartBotMessageOptions): Promise<BotAnswer>
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
   * `RT_ANSWER_ID_INVALID` or as `publish` does.
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
  const answers = new BotAnswers({ store: state, windowMs, leaseMs, maxPayloadBytes, log })
  const stops = context.control<StopRequest>('stopped')
  const onStop = { message: ({ chatId, id }: StopRequest): Promise<void> => answers.stop(chatId, id) }

  /** Waits until no request to stop can be missed: for the first message only, and not for long while Redis is away. */
  function whileStoppable<T> (begin: () => Promise<T>): Promise<T> {
    stops.watch(onStop)
    const started = stops.whenStarted()
    return started === undefined ? begin() : within(started, timing.healthTimeout).catch(() => {}).then(begin)
  }

  async function stop (chatId: string, id: string): Promise<void> {
    getChatChannel(chatId)
    checkAnswerId(id)
    if (answers.has(chatId, id)) await answers.stop(chatId, id)
    else await stops.publish({ type: 'stop', chatId, id })
  }

  const begin = <T>(chatId: string, message: () => Promise<T>): Promise<T> =>
    reportFailure(() => whileStoppable(message), log, { chatId, type: 'bot_message' })

  return {
    methods: {
      startBotMessage: (chatId, given) => begin(chatId, () => answers.start(chatId, given)),
      streamBotMessage: (chatId, source, given) => begin(chatId, () => answers.stream(chatId, source, given)),
      stopBotMessage: (chatId, id) => reportFailure(() => stop(chatId, id), log, { chatId }),
      interruptBotMessages: () => answers.close()
    },
    projection: (room) => new AnswersView(room, (...args) => answers.interrupt(...args)),
    onCleanup: () => { if (answers.size === 0) stops.close() },
    close: () => answers.close()
  }
}
