// @ts-check
import { botActionSchema, messageSchema, stopSchema, typingSchema } from './chat-schemas.js'
import { newMessage } from './message.js'

/**
 * @typedef {{ chatId: string }} Params
 * @typedef {{ id?: string, text: string, author: string }} MessageBody
 */

/**
 * The routes that write to a chat. A publish that fails is answered with the status and the code of the error: 503 if
 * Redis is unreachable.
 *
 * @param {import('fastify').FastifyInstance} app
 * @param {import('./bot.js').Bot} bot
 */
export function chatRoutes (app, bot) {
  app.post('/api/chats/:chatId/messages', { schema: messageSchema }, async (request, reply) => {
    const { chatId } = /** @type {Params} */ (request.params)
    const body = /** @type {MessageBody} */ (request.body)
    const message = newMessage({ ...body, role: 'user' })
    // A client that got no response sends the message again. With the same key it is published once.
    const idempotencyKey = `message:${message.id}`
    const { duplicate } = await app.chatEvents.emitChatMessage(chatId, message, { idempotencyKey })
    if (!duplicate) bot.answer(chatId, message)
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
