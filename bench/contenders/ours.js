// @ts-check
import Fastify from 'fastify'
import realtimePlugin from '../../dist/index.js'
import { listen } from './listen.js'

/**
 * The plugin, as an app registers it.
 * @param {{ redisUrl?: string, history?: false }} options
 */
export default async function start (options) {
  const app = Fastify()
  await app.register(realtimePlugin, options)
  app.post('/:chat', async (/** @type {any} */ { params, body }) => await app.chatEvents.emitChatMessage(params.chat, body.message))
  return {
    port: await listen(app),
    path: '/api/chats/:chat/events',
    // Follows the headers once nothing can be missed.
    ready: 'event: ready',
    publish (/** @type {string} */ chatId, /** @type {{ message: object }} */ { message }) {
      app.chatEvents.emitChatMessage(chatId, message)
    }
  }
}
