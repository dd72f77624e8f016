import { pino } from 'pino'
import { outsideRequests } from './core/async-context.ts'
import type { BotMessageWriter, BotMessageEnd } from './bot-messages/writer.ts'
import type { BotMessageSource, StartBotMessageOptions, StreamBotMessageOptions } from './bot-messages/writers.ts'
import type { BotAction, ChatMessage } from './event-types.ts'
import type { ChatEvents } from './chat/chat-events.ts'
import type { Logger } from './core/logger.ts'
import { resolveOptions, type RealtimeOptions, type ResolvedOptions } from './options.ts'
import { botMessageOptions } from './bot-messages/options.ts'
import { checkOptions, pick, resolve } from './core/options.ts'
import type { TypingOptions } from './presence/feature.ts'
import type { PubSubProvider, PublishOptions, PublishReceipt } from './pubsub/provider.ts'
import { publishWith } from './pubsub/publisher.ts'
import { RealtimeRuntime } from './runtime.ts'
import { reportRejection } from './observability/log-failure.ts'

/**
 * The runtime that the helpers of this process use: that of the first app that registered the plugin, otherwise one of
 * their own, which is created on first use and configured by `REDIS_URL`.
 */
let current: RealtimeRuntime | undefined
/** `true` if the helpers created `current` and no app has taken it over. */
let held = false
let logger: Logger | undefined

const log = (): Logger => (logger ??= pino({ name: 'fastify-realtime', level: logLevel() }))

/** Returns a valid log level. An unknown one would make pino throw during a publish. */
function logLevel (): string {
  const level = process.env.LOG_LEVEL ?? ''
  return level in pino.levels.values || level === 'silent' ? level : 'info'
}

/** Creates a runtime outside of any request, since its connections and timers serve all later callers, too. */
function open (options: ResolvedOptions, logger: Logger): RealtimeRuntime {
  return outsideRequests(() => new RealtimeRuntime(options, logger).acquire())
}

function realtime (): RealtimeRuntime {
  if (current === undefined) {
    current = open(resolveOptions({}), log())
    held = true
  }
  return current
}

/**
 * Returns the runtime for an app with these options. If compatible, it is the runtime that the helpers already use, so
 * that handlers added before the app was registered receive its events. Otherwise it is a new one, which the helpers
 * use from then on unless they already have one.
 */
export function adoptRealtime (options: ResolvedOptions, appLog: Logger): RealtimeRuntime {
  if (current?.isCompatible(options)) {
    // The app takes over a runtime that the helpers created, and closes it: otherwise it would keep the process alive.
    if (held) held = false
    else current.acquire()
    return current
  }
  const made = open(options, appLog)
  if (current === undefined) {
    current = made
  } else {
    appLog.warn('emitChatMessage and the other helpers of this process use another app or REDIS_URL: ' +
      'they don\'t reach this app in this process')
  }
  return made
}

/** Releases the runtime of an app. The last release closes it, and helpers called later create a new one. */
export async function releaseRealtime (used: RealtimeRuntime): Promise<void> {
  const last = used.refCount === 1
  if (last && current === used) current = undefined
  await used.release()
}

/** The provider of this process. Throws `RT_REDIS_URL_INVALID` if `REDIS_URL` is wrong. */
export function getPubSub (): PubSubProvider {
  return realtime().pubsub
}

/** The chat events of this process. Throws `RT_REDIS_URL_INVALID` if `REDIS_URL` is wrong. */
export function getChatEvents (): ChatEvents {
  return realtime().chatEvents
}

/** Options of `closePubSub`. */
export type ClosePubSubOptions = Pick<RealtimeOptions, 'botMessageDrainMs'>

const closeOptions = pick(botMessageOptions, 'botMessageDrainMs')

/**
 * Closes the subscriptions and connections that the helpers created, as soon as their bot messages have ended, at the
 * latest after `botMessageDrainMs`. The runtime of an app closes with the app. Rejects with `RT_OPTION_INVALID`.
 *
 * It can be the listener of a signal, as in `process.once('SIGTERM', closePubSub)`. The name of the signal that it then
 * gets is ignored.
 */
export async function closePubSub (options?: ClosePubSubOptions | NodeJS.Signals): Promise<void> {
  const given = typeof options === 'string' && options.startsWith('SIG') ? undefined : options as ClosePubSubOptions
  const { botMessageDrainMs } = resolve(closeOptions, checkOptions(given, 'botMessageDrainMs'), 'options.')
  const used = current
  if (used === undefined || !held) return
  await used.chatEvents.drain(botMessageDrainMs)
  // Meanwhile another call may have closed it, or an app has taken it over.
  if (current !== used || !held) return
  held = false
  await releaseRealtime(used)
}

/** The provider of this process, created on first use. */
export const pubsub: PubSubProvider = {
  get name () { return getPubSub().name },
  publish: (channel, data, options) =>
    reporting(() => publishWith(getPubSub(), () => [channel, data, options], log(), { channel }), { channel }),
  subscribe: (pattern, handler) => getPubSub().subscribe(pattern, handler),
  subscribeExact: (channel, handler) => getPubSub().subscribeExact(channel, handler),
  isHealthy: async () => await getPubSub().isHealthy(),
  close: () => closePubSub()
}

/** The event emitter of this process. `emit` reaches only this instance, whereas `emitChatMessage` reaches all. */
export const chatEvents: Pick<ChatEvents, 'on' | 'off' | 'emit'> = {
  on: (chatId, handler) => getChatEvents().on(chatId, handler),
  off: (chatId, handler) => offChatEvent(chatId, handler),
  emit: (chatId, event) => getChatEvents().emit(chatId, event)
}

/** `ChatEvents.emitChatMessage` of this process. */
export function emitChatMessage (
  chatId: string,
  message: ChatMessage & object,
  options?: PublishOptions
): Promise<PublishReceipt> {
  return reporting(() => getChatEvents().emitChatMessage(chatId, message, options), { chatId })
}

/** `ChatEvents.emitBotAction` of this process. */
export function emitBotAction (
  chatId: string,
  action: BotAction & object,
  options?: PublishOptions
): Promise<PublishReceipt> {
  return reporting(() => getChatEvents().emitBotAction(chatId, action, options), { chatId })
}

/** `ChatEvents.startBotMessage` of this process. */
export function startBotMessage (chatId: string, options?: StartBotMessageOptions): Promise<BotMessageWriter> {
  return reporting(() => getChatEvents().startBotMessage(chatId, options), { chatId })
}

/** `ChatEvents.streamBotMessage` of this process. */
export function streamBotMessage (
  chatId: string,
  source: BotMessageSource,
  options?: StreamBotMessageOptions
): Promise<BotMessageEnd & { id: string }> {
  return reporting(() => getChatEvents().streamBotMessage(chatId, source, options), { chatId })
}

/** `ChatEvents.stopBotMessage` of this process. */
export function stopBotMessage (chatId: string, id: string): Promise<void> {
  return reporting(() => getChatEvents().stopBotMessage(chatId, id), { chatId })
}

/** `ChatEvents.emitTyping` of this process. */
export function emitTyping (chatId: string, user: string, options?: TypingOptions): Promise<boolean> {
  return reporting(() => getChatEvents().emitTyping(chatId, user, options), { chatId })
}

/** `ChatEvents.onChatEvent` of this process. */
export const onChatEvent: ChatEvents['onChatEvent'] = (chatId, handler) => getChatEvents().onChatEvent(chatId, handler)

/** `ChatEvents.offChatEvent` of this process. */
export const offChatEvent: ChatEvents['offChatEvent'] = (chatId, handler) =>
  current?.chatEvents.offChatEvent(chatId, handler)

/** `ChatEvents.cleanupChatSubscriptions` of this process. */
export function cleanupChatSubscriptions (): void {
  current?.chatEvents.cleanupChatSubscriptions()
}

/**
 * Calls a method that reports its failures. An invalid `REDIS_URL` throws on first use; like any other failure, that
 * must become a logged rejection.
 */
function reporting<T> (publish: () => Promise<T>, context: object): Promise<T> {
  try {
    return publish()
  } catch (error) {
    return reportRejection(error, log(), context)
  }
}
