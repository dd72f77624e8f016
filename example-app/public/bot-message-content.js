// @ts-check
import { UIMessageParts } from './ui-message-parts.js'

/**
 * @typedef {import('./ui-message-parts.js').Part} Part
 * @typedef {import('./fastify-realtime/client.js').ChatEventMap['bot_message']} BotMessageEvent
 */

/**
 * @typedef {import('../message.js').Message} Message
 *
 * @typedef {Pick<BotMessageEvent, 'id' | 'status' | 'extra' | 'error'>} End
 */

/** The content of a bot message, joined from its pieces: a text, or the chunks of a UI message of the AI SDK. */
export class BotMessageContent {
  #text = ''
  /** @type {import('fastify-realtime').BotMessageChunk[]} */
  #chunks = []
  #message = new UIMessageParts()

  /** @param {BotMessageEvent} piece */
  add ({ at, text, chunks }) {
    if (chunks === undefined) {
      this.#text = this.#text.slice(0, at) + text
    } else {
      // After a reconnect, a piece may begin before the end of what is known.
      if (at < this.#chunks.length) this.#restart(at)
      for (const chunk of chunks) this.#addChunk(chunk)
    }
  }

  /** The text, unless the content is that of a UI message. */
  get text () {
    return this.#chunks.length > 0 ? undefined : this.#text
  }

  /** @returns {readonly Part[]} */
  get parts () {
    return this.text === undefined ? this.#message.parts : [{ type: 'text', text: this.text }]
  }

  /** When the message was complete, in ISO 8601, if its chunks say so. */
  get sentAt () {
    return this.#message.sentAt
  }

  /** @param {import('fastify-realtime').BotMessageChunk} chunk */
  #addChunk (chunk) {
    this.#chunks.push(chunk)
    this.#message.add(chunk)
  }

  /** Folds the first chunks again. @param {number} length */
  #restart (length) {
    const kept = this.#chunks.slice(0, length)
    this.#chunks = []
    this.#message = new UIMessageParts()
    for (const chunk of kept) this.#addChunk(chunk)
  }
}

/**
 * The message that a bot message has become. Only a finished one has a time: the end of another one gets `now`.
 *
 * @param {End} end
 * @param {BotMessageContent} content
 * @param {string} now ISO 8601.
 * @returns {Message}
 */
export function endedMessage ({ id, status, extra, error }, { text, parts, sentAt: completedAt }, now) {
  const outcome = /** @type {Message['outcome']} */ (status === 'finished' ? undefined : status)
  const content = text === undefined ? { text: '', parts } : { text }
  const sentAt = extra?.sentAt ?? completedAt ?? now
  return { id, ...content, author: 'Robo', role: 'bot', sentAt, ...outcome && { outcome, error } }
}
