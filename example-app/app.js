// @ts-check
import Fastify from 'fastify'
import fastifyStatic from '@fastify/static'
import realtimePlugin from 'fastify-realtime'
import { Registry } from 'prom-client'
import { Bot } from './bot.js'
import { liveRoutes } from './live.js'
import { messageRoutes } from './messages.js'
import { rooms } from './rooms.js'
import { statusRoutes } from './status.js'

/** Nothing comes from elsewhere and nothing is inline, so a forged message could not bring a script along. */
const CONTENT_SECURITY_POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"

/**
 * @typedef {object} AppOptions
 * @property {string} [redisUrl] The Redis that all instances share. Without one, everything stays in this process.
 * @property {string} [instanceId] The name of this instance, unlike that of any other.
 * @property {number} [botPauseMs] How long the bot seems to think.
 * @property {import('fastify').FastifyServerOptions['logger']} [logger]
 */

/** @param {AppOptions} [options] */
export async function buildApp ({ redisUrl, instanceId, botPauseMs = 900, logger = false } = {}) {
  // Fastify would silently drop fields that a schema does not know; here they are answered with 400.
  const app = Fastify({ logger, ajv: { customOptions: { removeAdditional: false } } })

  const metrics = new Registry()
  await app.register(realtimePlugin, { redisUrl, instanceId, metrics })

  const bot = new Bot(app.chatEvents, botPauseMs, app.log)
  // The other instances wait for the answers too, so none is dropped: closing only skips the pause.
  app.addHook('preClose', () => bot.finish())

  messageRoutes(app, bot)
  liveRoutes(app)
  statusRoutes(app, metrics)
  app.get('/api/rooms', async () => ({ rooms }))

  await app.register(fastifyStatic, {
    root: new URL('public', import.meta.url),
    setHeaders (response) {
      response.setHeader('content-security-policy', CONTENT_SECURITY_POLICY)
      response.setHeader('x-content-type-options', 'nosniff')
      response.setHeader('referrer-policy', 'no-referrer')
    }
  })
  return app
}
