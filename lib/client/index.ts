export {
  createRealtimeClient, type ClientState, type RealtimeClient, type RealtimeClientOptions
} from './client.ts'
export type { ChatOptions, EventInfo, EventOf, RealtimeChat, Reset } from './chat.ts'
export type { Load, LoadContext, LoadResult } from './state-loader.ts'
export { foldBotMessage, foldPresence, foldTyping, type TypingUser } from './folds.ts'
export type { ListenOptions } from './listeners.ts'
export type { Refusal } from './refusal.ts'
export type { TransportName } from './transport.ts'
export type {
  BotAction, BotMessage, BotMessagePiece, ChatEvent, ChatEventMap, ChatEventType, ChatMessage, Presence, Typing
} from '../event-types.ts'
