import type { Message } from './message.js'

/** The content of this app's events, for the server and the page. */
declare module 'fastify-realtime' {
  interface ChatMessage extends Message {}
  interface BotAction { actionType: string, inReplyTo?: string, detail?: string }
  interface BotMessageExtra { sentAt: string }
  interface ChatEventMap {
    /** A bot message that has ended is stored. Its content is that of the events `bot_message`. */
    bot_message_stored: { id: string }
  }
}
