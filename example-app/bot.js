// @ts-check
import { setTimeout as delay } from 'node:timers/promises'
import { streamUIMessage } from 'fastify-realtime/ai'
import { longAnswerTo } from './long-answers.js'
import { newMessage } from './message.js'
import { modelAnswerTo } from './model-answers.js'
import { shortAnswerTo } from './short-answers.js'

const NAME = 'Robo'

/** What readers see of an error, whose own text may not be for them. */
const describeError = () => 'The language model stopped responding. Ask again.'

/**
 * @typedef {object} BotOptions
 * @property {number} pauseMs How long it waits before it answers.
 * @property {number} wordMs How long it waits after each word of a long answer.
 * @property {import('fastify').FastifyBaseLogger} log
 */

/** Answers messages. The bot of the instance that accepted a message answers it, so each message gets one answer. */
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

  /** Answers after a pause. Returns at once. @param {string} chatId @param {import('./message.js').Message} message */
  answer (chatId, message) {
    const answering = this.#answer(chatId, message)
      .catch((error) => this.#options.log.warn({ err: error, chatId }, 'The bot could not answer'))
      .finally(() => this.#answering.delete(answering))
    this.#answering.add(answering)
  }

  /**
   * Gives the pending short answers at once, and resolves when the last one is published. Long answers that are being
   * streamed end as interrupted when the app closes; their readers keep the text so far.
   */
  async finish () {
    this.#closing.abort()
    await Promise.all(this.#answering)
  }

  /** @param {string} chatId @param {import('./message.js').Message} message */
  async #answer (chatId, { id: inReplyTo, text, author }) {
    try {
      await this.#chatEvents.emitBotAction(chatId, { actionType: 'thinking', inReplyTo })
      await delay(this.#options.pauseMs, undefined, { signal: this.#closing.signal }).catch(() => {})
      const modelAnswer = modelAnswerTo(text)
      if (modelAnswer !== undefined) return this.#streamUIMessage(chatId, modelAnswer)
      const longAnswer = longAnswerTo(text)
      if (longAnswer !== undefined) return this.#stream(chatId, longAnswer)
      const answer = newMessage({ text: shortAnswerTo(text, author), author: NAME, role: 'bot' })
      await this.#chatEvents.emitChatMessage(chatId, answer)
    } finally {
      await this.#chatEvents.emitBotAction(chatId, { actionType: 'idle', inReplyTo })
    }
  }

  /**
   * Does not wait for the end. The plugin logs a failure.
   *
   * @param {string} chatId
   * @param {import('./long-answers.js').LongAnswer} longAnswer
   */
  #stream (chatId, longAnswer) {
    this.#chatEvents.streamBotMessage(chatId, (signal) => longAnswer(this.#options.wordMs, signal), {
      extra: () => ({ sentAt: new Date().toISOString() }),
      describeError
    })
  }

  /**
   * Does not wait for the end. With a real model, the source is
   * `(abortSignal) => streamText({ model, messages, tools, abortSignal }).toUIMessageStream()`.
   *
   * @param {string} chatId
   * @param {import('./model-answers.js').ModelAnswer} modelAnswer
   */
  #streamUIMessage (chatId, modelAnswer) {
    const source = (/** @type {AbortSignal} */ signal) => modelAnswer(this.#options.wordMs, signal)
    streamUIMessage(this.#chatEvents, chatId, source, { describeError })
      .catch((error) => this.#options.log.warn({ err: error, chatId }, 'An answer of the model has failed'))
  }
}
