// @ts-check
import { botActionSchema, messageSchema, pageSchema, stopSchema, typingSchema } from './chat-schemas.js'
import { newMessage } from './message.js'
import { requireAccess } from './user.js'

/**
 * @typedef {{ chatId: string }} Params
 * @typedef {{ id?: string, text: string, author: string }} MessageBody
 *
 * @typedef {object} Services
 * @property {import('./bot.js').Bot} bot
 * @property {import('./bot-message-ends.js').BotMessageEnds} ends
 * @property {import('./database/messages.js').Messages} messages
 */

/**
 * The routes that read the messages of a chat and write to it. A message is accepted once it is stored, also while
 * Redis is unreachable. Anything else needs Redis, and is answered with the status and the code of the error: 503.
 *
 * @param {import('fastify').FastifyInstance} app
 * @param {Services} services
 */
export function chatRoutes (app, { bot, ends, messages }) {
  app.get('/api/chats/:chatId/messages', { schema: pageSchema, onRequest: requireAccess }, async (request, reply) => {
    const { chatId } = /** @type {Params} */ (request.params)
    const { before } = /** @type {{ before?: string }} */ (request.query)
    reply.header('cache-control', 'no-store')
    // Earlier messages are only in the rows: they can be read while Redis is unreachable.
    if (before !== undefined) return await messages.page(chatId, before)
    // The position is read before the rows: then each message is in the rows, in the later events, or in both.
    const { events, lastEventId } = await app.chatEvents.history(chatId)
    await ends.store(chatId, events.map(({ event }) => event))
    return { lastEventId, ...await messages.page(chatId) }
  })

  app.post('/api/chats/:chatId/messages', { schema: messageSchema }, async (request, reply) => {
    const { chatId } = /** @type {Params} */ (request.params)
    const body = /** @type {MessageBody} */ (request.body)
    const message = newMessage({ ...body, role: 'user' })
    // A client that got no response sends the message again. With the same id it is stored and published once.
    const isNew = await messages.publish(chatId, message, { actionType: 'thinking', inReplyTo: message.id })
    if (isNew) bot.answer(chatId, message)
    return reply.code(202).send({ id: message.id })
  })

  app.post('/api/chats/:chatId/bot-actions', { schema: botActionSchema }, async (request, reply) => {
    const { chatId } = /** @type {Params} */ (request.params)
    const action = /** @type {import('fastify-realtime').BotAction} */ (request.body)
    await app.chatEvents.emitBotAction(chatId, action)
    return reply.code(202).send({ actionType: action.actionType })
  })

  app.post('/api/chats/:chatId/typing', { schema: typingSchema }, async (request, reply) => {
    const { chatId } = /** @type {Params} */ (request.params)
    const { user, typing } = /** @type {{ user: string, typing: boolean }} */ (request.body)
    await app.chatEvents.emitTyping(chatId, user, { typing })
    return reply.code(202).send({ typing })
  })

  // Any instance can be asked. The instance that writes the bot message gets the request through Redis.
  app.post('/api/chats/:chatId/bot-messages/:botMessageId/stop', { schema: stopSchema }, async (request, reply) => {
    const { chatId, botMessageId } = /** @type {Params & { botMessageId: string }} */ (request.params)
    await app.chatEvents.stopBotMessage(chatId, botMessageId)
    return reply.code(202).send({ id: botMessageId })
  })
}
