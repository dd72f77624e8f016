export {
  createRealtimeClient, type ClientState, type RealtimeClient, type RealtimeClientOptions
} from './client.ts'
export type { ChatOptions, EventInfo, EventOf, RealtimeChat, Reset } from './chat.ts'
export type { Load, LoadContext, LoadResult } from './state-loader.ts'
export type { ListenOptions } from './listen.ts'
export type { Refusal } from './refusal.ts'
export type { BotAction, ChatEvent, ChatEventMap, ChatEventType, ChatMessage } from '../event-types.ts'
