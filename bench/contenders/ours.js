// @ts-check
import { setTimeout as delay } from 'node:timers/promises'
import Fastify from 'fastify'
import { streamUIMessage } from '../../dist/ai/index.js'
import realtimePlugin from '../../dist/index.js'
import { answer, releaseAnswers } from '../answer.js'
import { fill, publishBeside } from '../beside.js'
import { flood } from '../flood.js'
import { oneByOne } from '../one-by-one.js'
import { listen } from './listen.js'

/**
 * The plugin, as an app registers it: with `authorized`, it lets in users who have a session.
 * @param {{ redisUrl?: string, history?: false, authorized?: boolean }} options
 */
export default async function start ({ authorized = false, ...options }) {
  const app = Fastify()
  await app.register(realtimePlugin, { ...options, ...authorized && { authorize } })
  const publish = (/** @type {string} */ chatId, /** @type {{ message: object }} */ { message }) =>
    app.chatEvents.emitChatMessage(chatId, message)
  app.post('/:chat', async (/** @type {any} */ { params, body }) => await publish(params.chat, body))
  app.post('/answers/:id', async (/** @type {any} */ { params: { id }, query }, /** @type {any} */ reply) => {
    streamUIMessage(app.chatEvents, id, answer(id, query), { id }).catch(exit)
    await reply.sse.uiMessage(id, { id })
  })
  app.get('/answers/:id', async (/** @type {any} */ { params: { id } }, /** @type {any} */ reply) => {
    await reply.sse.uiMessage(id, { id })
  })
  let active = 0
  let undelivered = 0
  let done = () => {}
  return {
    port: await listen(app),
    path: '/api/chats/:chat/events',
    // Comes after the headers, once the client cannot miss an event.
    ready: 'event: ready',
    publish,
    functions: {
      releaseAnswers,

      flood: (/** @type {number} */ count, /** @type {number} */ chats, /** @type {number} */ inFlight) =>
        flood(publish, count, (index) => `chat${index % chats}`, inFlight),

      oneByOne: (/** @type {number} */ count) => oneByOne(publish, count),

      fill: (/** @type {[number, number, number]} */ ...shape) => fill(publish, ...shape),

      beside: (/** @type {number} */ seconds) => publishBeside(() => publish('beside', { message: {} }), seconds),

      /** Opens chats, each with a handler, and waits until all of them follow their logs. Then closes them. */
      async openChats (/** @type {string} */ prefix, /** @type {number} */ count) {
        const close = Array.from({ length: count }, (_, index) =>
          app.chatEvents.onChatEvent(`${prefix}${index}`, () => {}))
        while (app.chatEvents.stats().remoteSubscriptions < count) await delay(100)
        for (const each of close) each()
      },

      /** Adds a handler to each of `chats` chats, and publishes once to each of them. */
      async activate (/** @type {number} */ chats) {
        while (active < chats) app.chatEvents.onChatEvent(`chat${active++}`, () => { if (--undelivered === 0) done() })
        await flood(publish, chats, (index) => `chat${index}`, 256)
      },

      /** Publishes to random chats, and waits until the handlers have all events. */
      async scatter (/** @type {number} */ count) {
        const delivered = new Promise((resolve) => { done = () => resolve(undefined) })
        undelivered = count
        await flood(publish, count, () => `chat${Math.floor(Math.random() * active)}`, 256)
        await delivered
      }
    }
  }
}

/** @param {import('fastify').FastifyRequest} request */
async function authorize ({ headers: { cookie = '' } }) {
  const session = /session=(\w+)/.exec(cookie)?.[1]
  return session !== undefined && { userId: session }
}

/** @param {unknown} error */
function exit (error) {
  console.error(error)
  process.exit(1)
}
