// @ts-check
import { BotMessageContent, endedMessage } from './public/bot-message-content.js'

/**
 * @typedef {Extract<import('fastify-realtime').ChatEvent, { type: 'bot_message' }>} End
 */

/** Stores the bot messages that were streamed, when they have ended. */
export class BotMessageEnds {
  #app
  #messages
  /** @type {Set<Promise<void>>} */
  #storing = new Set()

  /**
   * @param {import('fastify').FastifyInstance} app
   * @param {import('./database/messages.js').Messages} messages
   */
  constructor (app, messages) {
    this.#app = app
    this.#messages = messages
  }

  /** Every instance stores them, since the instance that wrote one may have crashed. @param {string} chatId */
  follow (chatId) {
    this.#app.chatEvents.onChatEvent(chatId, (event) => {
      const storing = this.store(chatId, [event]).finally(() => this.#storing.delete(storing))
      this.#storing.add(storing)
      return storing
    })
  }

  /**
   * Stores those that have ended in these events of a chat.
   *
   * @param {string} chatId
   * @param {import('fastify-realtime').ChatEvent[]} events
   */
  async store (chatId, events) {
    const ends = events.flatMap((event) => event.type === 'bot_message' && event.status !== 'streaming' ? [event] : [])
    if (ends.length === 0) return
    const stored = await this.#messages.stored(chatId, ends.map(({ id }) => id))
    for (const end of ends) if (!stored.has(end.id)) await this.#add(chatId, end)
  }

  /** Resolves when all of them are stored. */
  async finish () {
    await Promise.all(this.#storing)
  }

  /** @param {string} chatId @param {End} end */
  async #add (chatId, end) {
    // The end of a long bot message does not repeat its content.
    const whole = end.at === 0 ? end : await this.#app.chatEvents.getBotMessage(chatId, end.id)
    if (whole === undefined) return
    const content = new BotMessageContent()
    content.add({ ...whole, at: 0 })
    await this.#messages.store(chatId, endedMessage(end, content, new Date().toISOString()))
  }
}
