// @ts-check
import Fastify from 'fastify'
import realtimePlugin from '../../dist/index.js'
import { flood } from '../flood.js'
import { listen } from './listen.js'
import { openMessages, secondsOf } from './messages.js'

/**
 * The plugin without an outbox: an event is published once its transaction has committed. An event is lost if the
 * process ends in between.
 * @param {{ redisUrl: string, databaseUrl: string }} options
 */
export default async function start ({ redisUrl, databaseUrl }) {
  const { commit, sendAll } = openMessages(databaseUrl)
  const app = Fastify()
  await app.register(realtimePlugin, { redisUrl })
  const port = await listen(app)
  const publish = (/** @type {string} */ chatId, /** @type {{ message: object }} */ { message }) =>
    app.chatEvents.emitChatMessage(chatId, message)
  const send = async (/** @type {string} */ chatId, /** @type {any} */ event) => {
    await commit(chatId, event)
    await publish(chatId, event)
  }
  return {
    port,
    path: '/api/chats/:chat/events',
    ready: 'event: ready',
    publish: send,
    functions: {
      run: (/** @type {number} */ count, /** @type {number} */ chats, /** @type {number} */ bytes) =>
        secondsOf(() => sendAll(send, count, chats, bytes)),

      /** Publishes what no transaction contains, as many at once as a relay reads rows. */
      drain: (/** @type {number} */ count, /** @type {number} */ chats, /** @type {number} */ bytes) =>
        flood(publish, count, (index) => `chat${index % chats}`, 256, bytes)
    }
  }
}
