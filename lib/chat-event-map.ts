/**
 * A chat message, as the app shapes it. Declare its fields by merging and they are checked everywhere:
 *
 *     declare module 'fastify-realtime' {
 *       interface ChatMessage { text: string, role: 'user' | 'bot' }
 *     }
 */

export interface ChatMessage {}

/** What a bot does, as the app shapes it. Declare its fields by merging, as with `ChatMessage`. */

export interface BotAction {}

/**
 * The types of chat events and the fields that each has beside `type` and `chatId`. An app adds its own by merging:
 *
 *     declare module 'fastify-realtime' {
 *       interface ChatEventMap { typing: { user: string } }
 *     }
 */
export interface ChatEventMap {
  message: { message: ChatMessage & object }
  bot_action: { action: BotAction & object }
}

export type ChatEventType = keyof ChatEventMap & string

/** An event as handlers and browsers get it: of any type, or of the given ones. */
export type ChatEvent<Type extends ChatEventType = ChatEventType> = {
  [T in Type]: { type: T, chatId: string } & ChatEventMap[T]
}[Type]

/** An event as it is published: the chat's id is put in. */
export type ChatEventInput<Type extends ChatEventType = ChatEventType> = {
  [T in Type]: { type: T } & ChatEventMap[T]
}[Type]

/** Where an event comes from. */
export interface ChatEventInfo {
  /** Its place in the chat's log. Absent for ephemeral events, and where there is no log. */
  id?: string | undefined
  /** When it was published, in milliseconds since 1970, by the publisher's clock. */
  timestamp: number
  /** The `instanceId` of the publisher. */
  from: string
  /** The W3C `traceparent` that it was published with. */
  traceparent?: string | undefined
}

export type ChatEventHandler = (event: ChatEvent, info: ChatEventInfo) => unknown
