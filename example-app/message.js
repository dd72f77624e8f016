// @ts-check
import { randomUUID } from 'node:crypto'

/**
 * @typedef {object} Message A message of a user or of the bot. The bot writes Markdown, users write plain text.
 * @property {string} id
 * @property {string} text
 * @property {string} author
 * @property {'user' | 'bot'} role
 * @property {string} sentAt ISO 8601.
 * @property {readonly import('./public/ui-message-parts.js').Part[]} [parts] The content of a bot message, if it has
 * more than a text.
 * @property {'stopped' | 'interrupted' | 'failed'} [outcome] How a bot message ended that is not finished.
 * @property {string} [error] The server's description of a failure.
 */

/** An id that no user can choose: the ids of their messages have no colon. */
export function newBotMessageId () {
  return `bot:${randomUUID()}`
}

/** @param {Omit<Message, 'id' | 'sentAt'> & { id?: string }} message @returns {Message} */
export function newMessage ({ id = randomUUID(), ...message }) {
  return { id, ...message, sentAt: new Date().toISOString() }
}
