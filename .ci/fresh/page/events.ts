/** The events of the app. The page and the server import them. */
import type {} from 'fastify-realtime/client'

declare module 'fastify-realtime/client' {
  interface ChatMessage { text: string, author: string }
  interface ChatEventMap { poll: { votes: Record<string, number> } }
}
