/**
 * A chat message, with fields declared by the app. Add them by declaration merging, and they are checked everywhere:
 *
 *     declare module 'fastify-realtime' {
 *       interface ChatMessage { text: string, role: 'user' | 'bot' }
 *     }
 */

export interface ChatMessage {}

/** An action of a bot, with fields declared by the app, as for `ChatMessage`. */

export interface BotAction {}

/** Extra data of the last event of a bot message, with fields declared by the app, as for `ChatMessage`. */

export interface BotMessageExtra {}

/**
 * Data that describes a bot message from its first piece on, such as the bot and the model, with fields declared by the
 * app, as for `ChatMessage`.
 */

export interface BotMessageMeta {}

/** A chunk of a bot message whose format is `chunks`: any JSON object. */
export type BotMessageChunk = Record<string, unknown>

/** What a bot message consists of: a text, or chunks. */
export type BotMessageFormat = 'text' | 'chunks'

/** All of a bot message but its content. */
export interface BotMessageHead {
  /** The id of the bot message, unique within the chat. */
  id: string
  /** `interrupted` means that the producer has crashed or lost its connection. */
  status: 'streaming' | 'finished' | 'failed' | 'stopped' | 'interrupted'
  /** The data that the app passed to `startBotMessage`. */
  meta?: BotMessageMeta & object
  /** The data that the app passed to `finish`. */
  extra?: BotMessageExtra & object
  /** The message for the reader that the app passed to `fail`. */
  error?: string
}

/** The whole content: of a text, or the chunks in their order. */
export type BotMessageBody = { text: string, chunks?: undefined } | { chunks: BotMessageChunk[], text?: undefined }

/** A whole bot message, as `getBotMessage` returns it. With the status `streaming`, the content so far. */
export type BotMessage = BotMessageHead & BotMessageBody

/**
 * A piece of a bot message, or all of it. Apply each to the content that you have:
 *
 *     text = text.slice(0, at) + event.text
 *     chunks = [...chunks.slice(0, at), ...event.chunks]
 *
 * If your content is shorter than `at`, fetch the whole bot message instead, by
 * `GET {prefix}/chats/:chatId/bot-messages/:id`. Pieces have no event id. The end of a bot message is an event in the
 * log. It repeats the whole content if that fits into `maxPayloadBytes` and 256 KiB; otherwise `at` is the length, and
 * nothing is repeated. No piece takes more than 256 KiB of JSON, except one with a single larger chunk.
 */
export type BotMessagePiece = BotMessageHead & {
  /** Where the piece begins: a number of UTF-16 code units of a text, or of chunks. */
  at: number
} & BotMessageBody

/** A typing indicator, published by `emitTyping`. It is not stored in the log. */
export interface Typing {
  /** The user who is typing. */
  user: string
  /** Milliseconds to show the indicator, unless another event of this user follows. 0 if the user stopped typing. */
  expiresInMs: number
}

/**
 * The users in a chat, with the option `presence`: sorted user ids. A stream first gets all `users`, which replace any
 * previous list, and then the users who have `joined` or `left`.
 */
export interface Presence {
  users?: string[]
  joined?: string[]
  left?: string[]
}

/**
 * The types of chat events, and the fields of each in addition to `type` and `chatId`. An app adds types by declaration
 * merging:
 *
 *     declare module 'fastify-realtime' {
 *       interface ChatEventMap { reaction: { user: string, emoji: string } }
 *     }
 */
export interface ChatEventMap {
  /** A chat message, published by `emitChatMessage`. */
  message: { message: ChatMessage & object }
  /** An action of a bot, published by `emitBotAction`. */
  bot_action: { action: BotAction & object }
  /** A piece, or the end, of a bot message created by `startBotMessage`. */
  bot_message: BotMessagePiece
  /** A typing indicator, published by `emitTyping`. */
  typing: Typing
  /** The users in a chat, with the option `presence`. */
  presence: Presence
}

/** The name of an event type. */
export type ChatEventType = keyof ChatEventMap & string

/** An event as handlers and browsers receive it, of any type or of the given types. */
export type ChatEvent<Type extends ChatEventType = ChatEventType> = {
  [T in Type]: { type: T, chatId: string } & ChatEventMap[T]
}[Type]

/** Event types that an app cannot publish: streams or browsers use them, or only this package publishes them. */
export type ReservedEventType = 'ready' | 'reset' | 'refused' | 'error' | 'open' | 'bot_message' | 'presence' | 'typing'

/** The name of an event type that an app can publish. */
export type AppEventType = Exclude<ChatEventType, ReservedEventType>

/** An event as an app publishes it. The chat id is added on publish. */
export type ChatEventInput<Type extends AppEventType = AppEventType> = {
  [T in Type]: { type: T } & ChatEventMap[T]
}[Type]

/** Metadata of an event. */
export interface ChatEventInfo {
  /** The event id, which is its position in the chat's log. Absent for ephemeral events and if there is no log. */
  id?: string | undefined
  /** The time of the publish in milliseconds since 1970, by the publisher's clock. */
  timestamp: number
  /** The `instanceId` of the publisher. */
  from: string
  /** The W3C `traceparent` that the event was published with. */
  traceparent?: string | undefined
}

/** Called with each event. Its return value is ignored, except that a rejection of a returned promise is logged. */
export type ChatEventHandler = (event: ChatEvent, info: ChatEventInfo) => unknown
