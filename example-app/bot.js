// @ts-check
import { setTimeout as delay } from 'node:timers/promises'
import { answerTo } from './answers.js'
import { newMessage } from './messages.js'
import { storyFor } from './stories.js'

const NAME = 'Robo'

/**
 * @typedef {object} BotOptions
 * @property {number} pauseMs How long it seems to think.
 * @property {number} wordMs How long it takes for each word of a long answer.
 * @property {import('fastify').FastifyBaseLogger} log
 */

/** Answers what people write. The instance that took a message has its bot answer, so there is one answer, whichever it is. */
export class Bot {
  #chatEvents
  #options
  #closing = new AbortController()
  /** @type {Set<Promise<void>>} */
  #answering = new Set()

  /** @param {import('fastify').FastifyInstance['chatEvents']} chatEvents @param {BotOptions} options */
  constructor (chatEvents, options) {
    this.#chatEvents = chatEvents
    this.#options = options
  }

  /** Answers after a pause. Nobody waits for it. @param {string} chatId @param {import('./messages.js').Message} message */
  answer (chatId, message) {
    const answering = this.#answer(chatId, message)
      .catch((error) => this.#options.log.warn({ err: error, chatId }, 'The bot could not answer'))
      .finally(() => this.#answering.delete(answering))
    this.#answering.add(answering)
  }

  /**
   * Gives the short answers that are still due at once. Resolves when the last one is out. A long one that is being told is interrupted when the
   * app closes: its readers see that, with what there is of it.
   */
  async finish () {
    this.#closing.abort()
    await Promise.all(this.#answering)
  }

  /** @param {string} chatId @param {import('./messages.js').Message} message */
  async #answer (chatId, { id: inReplyTo, text, author }) {
    try {
      await this.#chatEvents.emitBotAction(chatId, { actionType: 'thinking', inReplyTo })
      await delay(this.#options.pauseMs, undefined, { signal: this.#closing.signal }).catch(() => {})
      const story = storyFor(text)
      if (story === undefined) await this.#chatEvents.emitChatMessage(chatId, newMessage({ text: answerTo(text, author), author: NAME, role: 'bot' }))
      else this.#tell(chatId, story)
    } finally {
      await this.#chatEvents.emitBotAction(chatId, { actionType: 'idle', inReplyTo })
    }
  }

  /** Not awaited: it takes its time, and a failure is in the log. @param {string} chatId @param {import('./stories.js').Story} story */
  #tell (chatId, story) {
    this.#chatEvents.streamBotMessage(chatId, (signal) => story(this.#options.wordMs, signal), {
      extra: () => ({ sentAt: new Date().toISOString() }),
      describeError: () => 'The source of this answer broke off. Ask again.'
    })
  }
}
