// @ts-check
import Fastify from 'fastify'
import realtimePlugin from 'fastify-realtime'
import { createOutbox } from 'fastify-realtime/outbox'
import { Registry } from 'prom-client'
import { BotMessageEnds } from './bot-message-ends.js'
import { Bot } from './bot.js'
import { chatRoutes } from './chat-routes.js'
import { Messages } from './database/messages.js'
import { openDatabase } from './database/open.js'
import { answerError } from './errors.js'
import { instanceRoutes } from './instance.js'
import { pageRoutes } from './page.js'
import { rooms } from './rooms.js'
import { statusRoutes } from './status.js'
import { authorize } from './user.js'

/** How long the outbox waits for an instance that has crashed, before another one publishes the rows. */
const LEASE_MS = 2_000

/**
 * @typedef {object} AppOptions
 * @property {import('./database/open.js').DatabaseOptions} database Where the messages are stored.
 * @property {string} [redisUrl] The Redis that all instances share. Without it, the chat is limited to this process.
 * @property {string} [instanceId] The name of this instance. No two instances may have the same name.
 * @property {number} [botPauseMs] How long the bot waits before it answers.
 * @property {number} [botWordMs] How long the bot waits after each word of a long answer.
 * @property {boolean} [restarts] Whether this process is restarted when it exits. The page may then stop it.
 * @property {import('fastify').FastifyServerOptions['logger']} [logger]
 */

/** @param {AppOptions} options */
export async function buildApp (options) {
  const { redisUrl, instanceId, botPauseMs = 900, botWordMs = 70, restarts = false, logger = false } = options
  // By default, Fastify silently drops fields that are not in the schema. This app answers 400 instead.
  const app = Fastify({ logger, ajv: { customOptions: { removeAdditional: false } } })

  const { query, listen, transaction, close } = await openDatabase(options.database)
  const outbox = createOutbox({ dialect: 'postgres', query, listen, leaseMs: LEASE_MS })
  const messages = new Messages({ query, transaction }, outbox)
  const ends = new BotMessageEnds(app, messages)
  // These hooks run in reverse: the plugin closes first, and ends the bot messages in progress.
  app.addHook('onClose', async () => {
    await ends.finish()
    await close()
  })
  await messages.migrate()

  const metrics = new Registry()
  await app.register(realtimePlugin, {
    redisUrl,
    instanceId,
    authorize,
    outbox,
    presence: true,
    metrics,
    // An instance that is stopped on the page stops at once: `bot.finish` interrupts its long answers.
    botMessageDrainMs: 0
  })

  app.setErrorHandler(answerError)

  for (const { id } of rooms) ends.follow(id)
  const bot = new Bot(app.chatEvents, messages, { pauseMs: botPauseMs, wordMs: botWordMs, log: app.log })
  // Clients of the other instances wait for the answers too. So closing skips the pause, not the answer.
  app.addHook('preClose', () => bot.finish())

  instanceRoutes(app, restarts)
  chatRoutes(app, { bot, ends, messages })
  statusRoutes(app, metrics)
  app.get('/api/rooms', async () => ({ rooms }))
  await pageRoutes(app)
  return app
}
