// @ts-check
import { randomUUID } from 'node:crypto'

/**
 * @typedef {object} Message What people and the bot say in a chat.
 * @property {string} id
 * @property {string} text
 * @property {string} author
 * @property {'user' | 'bot'} role
 * @property {string} sentAt ISO 8601.
 */

/** @param {Omit<Message, 'id' | 'sentAt'> & { id?: string }} message @returns {Message} */
export function newMessage ({ id = randomUUID(), ...message }) {
  return { id, ...message, sentAt: new Date().toISOString() }
}

const params = {
  type: 'object',
  properties: { chatId: { type: 'string', minLength: 1, maxLength: 100 } }
}

const messageBody = {
  type: 'object',
  required: ['text', 'author'],
  additionalProperties: false,
  properties: {
    id: { type: 'string', pattern: '^[\\w.-]{8,64}$' },
    // `\S`: something that can be seen.
    text: { type: 'string', minLength: 1, maxLength: 2000, pattern: '\\S' },
    author: { type: 'string', minLength: 1, maxLength: 40, pattern: '\\S' }
  }
}

const botActionBody = {
  type: 'object',
  required: ['actionType'],
  additionalProperties: false,
  properties: {
    actionType: { type: 'string', minLength: 1, maxLength: 40 },
    inReplyTo: { type: 'string', minLength: 1, maxLength: 100 },
    detail: { type: 'string', maxLength: 200 }
  }
}

const typingBody = {
  type: 'object',
  required: ['user', 'typing'],
  additionalProperties: false,
  properties: {
    user: { type: 'string', minLength: 1, maxLength: 40, pattern: '\\S' },
    typing: { type: 'boolean' }
  }
}

const answerParams = {
  type: 'object',
  properties: { ...params.properties, answerId: { type: 'string', minLength: 1, maxLength: 100 } }
}

/** @typedef {{ chatId: string }} Params */

/**
 * What can be posted to a chat. A publish that fails is answered with the error's own status and code: 503 while Redis is away.
 *
 * @param {import('fastify').FastifyInstance} app
 * @param {import('./bot.js').Bot} bot
 */
export function messageRoutes (app, bot) {
  app.post('/api/chats/:chatId/messages', { schema: { params, body: messageBody } }, async (request, reply) => {
    const { chatId } = /** @type {Params} */ (request.params)
    const { id, text, author } = /** @type {Pick<Message, 'text' | 'author'> & { id?: string }} */ (request.body)
    const message = newMessage({ id, text, author, role: 'user' })
    // Who does not know whether it was sent may send it again: with the same id it is published once.
    const { duplicate } = await app.chatEvents.emitChatMessage(chatId, message, { idempotencyKey: `message:${message.id}` })
    if (!duplicate) bot.answer(chatId, message)
    return reply.code(202).send({ id: message.id })
  })

  app.post('/api/chats/:chatId/bot-actions', { schema: { params, body: botActionBody } }, async (request, reply) => {
    const { chatId } = /** @type {Params} */ (request.params)
    const action = /** @type {import('fastify-realtime').BotAction} */ (request.body)
    await app.chatEvents.emitBotAction(chatId, action)
    return reply.code(202).send({ actionType: action.actionType })
  })

  app.post('/api/chats/:chatId/typing', { schema: { params, body: typingBody } }, async (request, reply) => {
    const { chatId } = /** @type {Params} */ (request.params)
    const { user, typing } = /** @type {{ user: string, typing: boolean }} */ (request.body)
    await app.chatEvents.emitTyping(chatId, user, { typing })
    return reply.code(202).send({ typing })
  })

  // Whichever instance is asked: it tells the one that makes the answer.
  app.post('/api/chats/:chatId/answers/:answerId/stop', { schema: { params: answerParams } }, async (request, reply) => {
    const { chatId, answerId } = /** @type {Params & { answerId: string }} */ (request.params)
    await app.chatEvents.stopBotMessage(chatId, answerId)
    return reply.code(202).send({ id: answerId })
  })
}
