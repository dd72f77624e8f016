// @ts-check
import Fastify from 'fastify'
import realtimePlugin from 'fastify-realtime'
import { Registry } from 'prom-client'
import { Bot } from './bot.js'
import { chatRoutes } from './chat-routes.js'
import { instanceRoutes } from './instance.js'
import { pageRoutes } from './page.js'
import { rooms } from './rooms.js'
import { statusRoutes } from './status.js'
import { authorize } from './user.js'

/**
 * @typedef {object} AppOptions
 * @property {string} [redisUrl] The Redis that all instances share. Without it, the chat is limited to this process.
 * @property {string} [instanceId] The name of this instance. No two instances may have the same name.
 * @property {number} [botPauseMs] How long the bot waits before it answers.
 * @property {number} [botWordMs] How long the bot waits after each word of a long answer.
 * @property {boolean} [restarts] Whether this process is restarted when it exits. The page may then stop it.
 * @property {import('fastify').FastifyServerOptions['logger']} [logger]
 */

/** @param {AppOptions} [options] */
export async function buildApp (options = {}) {
  const { redisUrl, instanceId, botPauseMs = 900, botWordMs = 70, restarts = false, logger = false } = options
  // By default, Fastify silently drops fields that are not in the schema. This app answers 400 instead.
  const app = Fastify({ logger, ajv: { customOptions: { removeAdditional: false } } })

  const metrics = new Registry()
  await app.register(realtimePlugin, { redisUrl, instanceId, authorize, presence: true, metrics })

  const bot = new Bot(app.chatEvents, { pauseMs: botPauseMs, wordMs: botWordMs, log: app.log })
  // Clients of the other instances wait for the answers too. So closing skips the pause, not the answer.
  app.addHook('preClose', () => bot.finish())

  instanceRoutes(app, restarts)
  chatRoutes(app, bot)
  statusRoutes(app, metrics)
  app.get('/api/rooms', async () => ({ rooms }))
  await pageRoutes(app)
  return app
}
