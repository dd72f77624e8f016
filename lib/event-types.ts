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

/** What the last event of a bot's answer carries beside its text, as the app shapes it. Declare its fields by merging, as with `ChatMessage`. */

export interface BotMessageExtra {}

/**
 * A piece of a bot's answer, or all of it. There is one rule: `text = text.slice(0, at) + event.text`. Pieces have no id; the end of an
 * answer is an event of the log with the whole text.
 */
export interface BotMessage {
  /** Which answer of the chat it is. */
  id: string
  /** `interrupted`: its producer is gone. */
  status: 'streaming' | 'finished' | 'failed' | 'stopped' | 'interrupted'
  /** Where the piece belongs, in characters as JavaScript counts them; 0 for a text that replaces all before. */
  at: number
  text: string
  /** What the app gave `finish`. */
  extra?: BotMessageExtra & object
  /** What the app gave `fail` to tell the reader. */
  error?: string
}

/** A sign that somebody types: `emitTyping`. It is not kept. */
export interface Typing {
  /** Who it is. */
  user: string
  /** For how many milliseconds from now on it shall be shown, unless another one of this user comes; 0 where he has stopped. */
  expiresInMs: number
}

/**
 * Who is in a chat, with the option `presence`: ids of users, sorted. A stream is told first of all `users`, which replace whoever was told
 * before, then of who has `joined` and who has `left`.
 */
export interface Presence {
  users?: string[]
  joined?: string[]
  left?: string[]
}

/**
 * The types of chat events and the fields that each has beside `type` and `chatId`. An app adds its own by merging:
 *
 *     declare module 'fastify-realtime' {
 *       interface ChatEventMap { reaction: { user: string, emoji: string } }
 *     }
 */
export interface ChatEventMap {
  /** A message in a chat: `emitChatMessage`. */
  message: { message: ChatMessage & object }
  /** What a bot does: `emitBotAction`. */
  bot_action: { action: BotAction & object }
  /** A piece, or the end, of a bot message: `startBotMessage`. */
  bot_message: BotMessage
  /** Somebody types: `emitTyping`. */
  typing: Typing
  /** Who is in a chat, with the option `presence`. */
  presence: Presence
}

/** The name of a type of event. */
export type ChatEventType = keyof ChatEventMap & string

/** An event as handlers and browsers get it: of any type, or of the given ones. */
export type ChatEvent<Type extends ChatEventType = ChatEventType> = {
  [T in Type]: { type: T, chatId: string } & ChatEventMap[T]
}[Type]

/** Types that an app can't publish: streams, or browsers, use them themselves, or only this package publishes them. */
export type ReservedEventType = 'ready' | 'reset' | 'refused' | 'error' | 'open' | 'bot_message' | 'presence' | 'typing'

/** The name of a type of event that an app can publish. */
export type AppEventType = Exclude<ChatEventType, ReservedEventType>

/** An event as an app publishes it: the chat's id is put in. */
export type ChatEventInput<Type extends AppEventType = AppEventType> = {
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

/** Is called with each event. What it returns is ignored, but for a promise that rejects, which is logged. */
export type ChatEventHandler = (event: ChatEvent, info: ChatEventInfo) => unknown
