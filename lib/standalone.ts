import { pino } from 'pino'
import type { BotAction, ChatMessage } from './chat-event-map.ts'
import type { ChatEvents } from './chat-events.ts'
import type { Logger } from './logger.ts'
import { resolveOptions, type ResolvedOptions } from './options.ts'
import type { PubSubProvider, PublishOptions, PublishReceipt } from './pubsub/provider.ts'
import { Realtime } from './realtime.ts'
import { reportFailure } from './report-failure.ts'

/**
 * What the helpers of this process use: that of the first app that registered the plugin, else one of their own, made when it is
 * first needed and found by `REDIS_URL`.
 */
let current: Realtime | undefined
let logger: Logger | undefined

const log = (): Logger => (logger ??= pino({ name: 'fastify-realtime', level: process.env.LOG_LEVEL ?? 'info' }))

const realtime = (): Realtime => (current ??= new Realtime(resolveOptions({}), log()))

/**
 * What an app with these options shall use: what the helpers use already, so that handlers that were added before the app came
 * hear it; or else a new one, which the helpers use from then on.
 */
export function adoptRealtime (options: ResolvedOptions, appLog: Logger): Realtime {
  if (current?.suits(options)) return current
  const made = new Realtime(options, appLog)
  if (current === undefined) current = made
  else appLog.warn('emitChatMessage and the other helpers of this process use another app or REDIS_URL: they don\'t reach this app in this process')
  return made
}

/** Closes what an app used; helpers that are called later start anew. */
export async function releaseRealtime (used: Realtime): Promise<void> {
  if (current === used) current = undefined
  await used.close()
}

/** The provider of this process. Throws `RT_REDIS_URL_INVALID` if `REDIS_URL` is wrong. */
export function getPubSub (): PubSubProvider {
  return realtime().pubsub
}

/** The chat events of this process. Throws `RT_REDIS_URL_INVALID` if `REDIS_URL` is wrong. */
export function getChatEvents (): ChatEvents {
  return realtime().chatEvents
}

/** Ends the subscriptions and connections of this process, if anything was used at all. */
export async function closePubSub (): Promise<void> {
  if (current !== undefined) await releaseRealtime(current)
}

/** The provider of this process, made when it is first used. */
export const pubsub: PubSubProvider = {
  get name () { return getPubSub().name },
  publish: (channel, data, options) => reporting(() => getPubSub().publish(channel, data, options), { channel }),
  subscribe: (pattern, handler) => getPubSub().subscribe(pattern, handler),
  subscribeExact: (channel, handler) => getPubSub().subscribeExact(channel, handler),
  isHealthy: async () => await getPubSub().isHealthy(),
  close: closePubSub
}

/** The emitter of this process: `emit` stays on this instance, `emitChatMessage` does not. */
export const chatEvents: Pick<ChatEvents, 'on' | 'off' | 'emit'> = {
  on: (chatId, handler) => getChatEvents().on(chatId, handler),
  off: (chatId, handler) => getChatEvents().off(chatId, handler),
  emit: (chatId, event) => getChatEvents().emit(chatId, event)
}

/** `ChatEvents.emitChatMessage` of this process. */
export function emitChatMessage (chatId: string, message: ChatMessage & object, options?: PublishOptions): Promise<PublishReceipt> {
  return reporting(() => getChatEvents().emitChatMessage(chatId, message, options), { chatId })
}

/** `ChatEvents.emitBotAction` of this process. */
export function emitBotAction (chatId: string, action: BotAction & object, options?: PublishOptions): Promise<PublishReceipt> {
  return reporting(() => getChatEvents().emitBotAction(chatId, action, options), { chatId })
}

/** `ChatEvents.onChatEvent` of this process. */
export const onChatEvent: ChatEvents['onChatEvent'] = (chatId, handler) => getChatEvents().onChatEvent(chatId, handler)

/** `ChatEvents.offChatEvent` of this process. */
export const offChatEvent: ChatEvents['offChatEvent'] = (chatId, handler) => getChatEvents().offChatEvent(chatId, handler)

/** `ChatEvents.cleanupChatSubscriptions` of this process. */
export function cleanupChatSubscriptions (): void {
  current?.chatEvents.cleanupChatSubscriptions()
}

/** A wrong `REDIS_URL` shows when publishing first needs it: that must reject, and be logged, like any other failure. */
function reporting (publish: () => Promise<PublishReceipt>, context: object): Promise<PublishReceipt> {
  return reportFailure((async () => await publish())(), log(), context)
}
