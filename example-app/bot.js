// @ts-check
import { setTimeout as delay } from 'node:timers/promises'
import { answerTo } from './answers.js'
import { newMessage } from './messages.js'

const NAME = 'Robo'

/** Answers what people write. The instance that took a message has its bot answer, so there is one answer, whichever it is. */
export class Bot {
  #chatEvents
  #pauseMs
  #log
  #closing = new AbortController()
  /** @type {Set<Promise<void>>} */
  #answering = new Set()

  /**
   * @param {import('fastify').FastifyInstance['chatEvents']} chatEvents
   * @param {number} pauseMs
   * @param {import('fastify').FastifyBaseLogger} log
   */
  constructor (chatEvents, pauseMs, log) {
    this.#chatEvents = chatEvents
    this.#pauseMs = pauseMs
    this.#log = log
  }

  /** Answers after a pause. Nobody waits for it. @param {string} chatId @param {import('./messages.js').Message} message */
  answer (chatId, message) {
    const answering = this.#answer(chatId, message)
      .catch((error) => this.#log.warn({ err: error, chatId }, 'The bot could not answer'))
      .finally(() => this.#answering.delete(answering))
    this.#answering.add(answering)
  }

  /** Gives the answers that are still due at once. Resolves when the last one is out. */
  async finish () {
    this.#closing.abort()
    await Promise.all(this.#answering)
  }

  /** @param {string} chatId @param {import('./messages.js').Message} message */
  async #answer (chatId, { id: inReplyTo, text, author }) {
    try {
      await this.#chatEvents.emitBotAction(chatId, { actionType: 'thinking', inReplyTo })
      await delay(this.#pauseMs, undefined, { signal: this.#closing.signal }).catch(() => {})
      await this.#chatEvents.emitChatMessage(chatId, newMessage({ text: answerTo(text, author), author: NAME, role: 'bot' }))
    } finally {
      await this.#chatEvents.emitBotAction(chatId, { actionType: 'idle', inReplyTo })
    }
  }
}
