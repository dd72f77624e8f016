// @ts-check
import Fastify from 'fastify'
import realtimePlugin from 'fastify-realtime'
import { Registry } from 'prom-client'
import { Bot } from './bot.js'
import { instanceRoutes } from './instance.js'
import { messageRoutes } from './messages.js'
import { pageRoutes } from './page.js'
import { authorize } from './people.js'
import { rooms } from './rooms.js'
import { statusRoutes } from './status.js'

/**
 * @typedef {object} AppOptions
 * @property {string} [redisUrl] The Redis that all instances share. Without one, everything stays in this process.
 * @property {string} [instanceId] The name of this instance, unlike that of any other.
 * @property {number} [botPauseMs] How long the bot seems to think.
 * @property {number} [botWordMs] How long it takes for each word of a long answer.
 * @property {boolean} [restarts] Whether something starts this process again when it has ended, so that the page may stop it.
 * @property {import('fastify').FastifyServerOptions['logger']} [logger]
 */

/** @param {AppOptions} [options] */
export async function buildApp ({ redisUrl, instanceId, botPauseMs = 900, botWordMs = 70, restarts = false, logger = false } = {}) {
  // Fastify would silently drop fields that a schema does not know; here they are answered with 400.
  const app = Fastify({ logger, ajv: { customOptions: { removeAdditional: false } } })

  const metrics = new Registry()
  await app.register(realtimePlugin, { redisUrl, instanceId, authorize, presence: true, metrics })

  const bot = new Bot(app.chatEvents, { pauseMs: botPauseMs, wordMs: botWordMs, log: app.log })
  // The other instances wait for the answers too, so none is dropped: closing only skips the pause.
  app.addHook('preClose', () => bot.finish())

  instanceRoutes(app, restarts)
  messageRoutes(app, bot)
  statusRoutes(app, metrics)
  app.get('/api/rooms', async () => ({ rooms }))
  await pageRoutes(app)
  return app
}
