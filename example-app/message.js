// @ts-check
import { randomUUID } from 'node:crypto'

/**
 * @typedef {object} Message A message of a user or of the bot. The bot writes Markdown, users write plain text.
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
