// @ts-check
import { setTimeout as delay } from 'node:timers/promises'
import { isTemporary } from './errors.js'
import { BotMessageContent, endedMessage } from './public/bot-message-content.js'

/** After a failure, it waits for so long at first, and at most. */
const RETRY_MS = 500
const MOST_RETRY_MS = 30_000

/**
 * @typedef {import('fastify-realtime').ChatEvent} ChatEvent
 * @typedef {Extract<ChatEvent, { type: 'bot_message' }>} End
 */

/** Stores the bot messages that were streamed, when they have ended. */
export class BotMessageEnds {
  #app
  #messages
  /** @type {Set<Promise<void>>} */
  #storing = new Set()
  #closing = new AbortController()

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
      const storing = this.#storeInTheEnd(chatId, event).finally(() => this.#storing.delete(storing))
      this.#storing.add(storing)
      return storing
    })
  }

  /**
   * Stores those that have ended in these events of a chat.
   *
   * @param {string} chatId
   * @param {ChatEvent[]} events
   */
  async store (chatId, events) {
    const ends = events.flatMap((event) => event.type === 'bot_message' && event.status !== 'streaming' ? [event] : [])
    if (ends.length === 0) return
    const stored = await this.#messages.stored(chatId, ends.map(({ id }) => id))
    for (const end of ends) {
      if (stored.has(end.id)) continue
      await this.#add(chatId, end).catch((error) => {
        if (isTemporary(error)) throw error
        // It must not keep others from being stored or loaded.
        this.#app.log.error({ err: error, chatId, id: end.id }, 'A bot message cannot be stored, so it is left out')
      })
    }
  }

  /** Tries those a last time that could not be stored yet. Resolves when all of them are stored, or have failed. */
  async finish () {
    this.#closing.abort()
    await Promise.allSettled(this.#storing)
  }

  /** Tries again for as long as the database or Redis is down. @param {string} chatId @param {ChatEvent} event */
  async #storeInTheEnd (chatId, event) {
    const { signal } = this.#closing
    for (let retryMs = RETRY_MS; ; retryMs = Math.min(2 * retryMs, MOST_RETRY_MS)) {
      try {
        return await this.store(chatId, [event])
      } catch (error) {
        // The plugin logs it.
        if (signal.aborted || !isTemporary(error)) throw error
        this.#app.log.warn({ err: error, chatId }, 'A bot message could not be stored yet')
        await delay(retryMs, undefined, { signal }).catch(() => {})
      }
    }
  }

  /** @param {string} chatId @param {End} end */
  async #add (chatId, end) {
    // The end of a long bot message does not repeat its content.
    const whole = end.at === 0 ? end : await this.#app.chatEvents.getBotMessage(chatId, end.id)
    if (whole === undefined) return
    const content = new BotMessageContent()
    content.add({ ...whole, at: 0 })
    await this.#messages.publishStreamed(chatId, endedMessage(end, content, new Date().toISOString()))
  }
}
