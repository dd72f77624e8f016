import type { Message } from './messages.js'

/** What this app's events carry, on the server and in the page alike. */
declare module 'fastify-realtime' {
  interface ChatMessage extends Message {}
  interface BotAction { actionType: string, inReplyTo?: string, detail?: string }
  interface BotMessageExtra { sentAt: string }
}
