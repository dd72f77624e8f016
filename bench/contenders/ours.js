// @ts-check
import Fastify from 'fastify'
import realtimePlugin from '../../dist/index.js'
import { fill, publishBeside } from '../beside.js'
import { flood } from '../flood.js'
import { oneByOne } from '../one-by-one.js'
import { listen } from './listen.js'

/**
 * The plugin, as an app registers it.
 * @param {{ redisUrl?: string, history?: false }} options
 */
export default async function start (options) {
  const app = Fastify()
  await app.register(realtimePlugin, options)
  app.post('/:chat', async (/** @type {any} */ { params, body }) => await app.chatEvents.emitChatMessage(params.chat, body.message))
  const publish = (/** @type {string} */ chatId, /** @type {{ message: object }} */ { message }) => app.chatEvents.emitChatMessage(chatId, message)
  let active = 0
  let unheard = 0
  let done = () => {}
  return {
    port: await listen(app),
    path: '/api/chats/:chat/events',
    // Follows the headers once nothing can be missed.
    ready: 'event: ready',
    publish,
    functions: {
      flood: (/** @type {number} */ count, /** @type {number} */ chats, /** @type {number} */ inFlight) =>
        flood(publish, count, (index) => `chat${index % chats}`, inFlight),

      oneByOne: (/** @type {number} */ count) => oneByOne(publish, count),

      fill: (/** @type {[number, number, number]} */ ...shape) => fill(publish, ...shape),

      beside: (/** @type {number} */ seconds) => publishBeside(() => publish('beside', { message: {} }), seconds),

      /** Listens to so many chats, and publishes once to each of them. */
      async activate (/** @type {number} */ chats) {
        while (active < chats) app.chatEvents.onChatEvent(`chat${active++}`, () => { if (--unheard === 0) done() })
        await flood(publish, chats, (index) => `chat${index}`, 256)
      },

      /** Publishes to chats here and there, and waits until the listeners have heard all of it. */
      async scatter (/** @type {number} */ count) {
        const heard = new Promise((resolve) => { done = () => resolve(undefined) })
        unheard = count
        await flood(publish, count, () => `chat${Math.floor(Math.random() * active)}`, 256)
        await heard
      }
    }
  }
}
