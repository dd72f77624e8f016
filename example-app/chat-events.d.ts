import type { Message } from './message.js'

/** The content of this app's events, for the server and the page. */
declare module 'fastify-realtime' {
  interface ChatMessage extends Message {}
  interface BotAction { actionType: string, inReplyTo?: string, detail?: string }
  interface BotMessageExtra { sentAt: string }
}
