// @ts-check
import { setTimeout as delay } from 'node:timers/promises'
import { streamUIMessage } from 'fastify-realtime/ai'
import { longAnswerTo } from './long-answers.js'
import { newBotMessageId, newMessage } from './message.js'
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
  #messages
  #options
  #closing = new AbortController()
  /** The answers that are not complete. @type {Set<Promise<unknown>>} */
  #answering = new Set()

  /**
   * @param {import('fastify').FastifyInstance['chatEvents']} chatEvents
   * @param {import('./database/messages.js').Messages} messages
   * @param {BotOptions} options
   */
  constructor (chatEvents, messages, options) {
    this.#chatEvents = chatEvents
    this.#messages = messages
    this.#options = options
  }

  /**
   * Answers after a pause, in which it is shown as thinking. Returns at once.
   *
   * @param {string} chatId
   * @param {import('./message.js').Message} message
   */
  answer (chatId, message) {
    this.#await(chatId, this.#answer(chatId, message))
  }

  /**
   * Gives the pending short answers at once, ends the long ones as interrupted, and resolves when all are complete. The
   * chats are still followed then, so the end of a long answer is stored, with the text so far.
   */
  async finish () {
    this.#closing.abort()
    this.#chatEvents.interruptBotMessages()
    while (this.#answering.size > 0) await Promise.all(this.#answering)
  }

  /** @param {string} chatId @param {Promise<unknown>} complete */
  #await (chatId, complete) {
    const answering = complete
      .catch((error) => this.#options.log.warn({ err: error, chatId }, 'An answer of the bot has failed'))
      .finally(() => this.#answering.delete(answering))
    this.#answering.add(answering)
  }

  /** @param {string} chatId @param {import('./message.js').Message} message */
  async #answer (chatId, { id: inReplyTo, text, author }) {
    await delay(this.#options.pauseMs, undefined, { signal: this.#closing.signal }).catch(() => {})
    const idle = { actionType: 'idle', inReplyTo }
    const modelAnswer = modelAnswerTo(text)
    const longAnswer = longAnswerTo(text)
    if (modelAnswer !== undefined) this.#await(chatId, this.#streamUIMessage(chatId, modelAnswer))
    else if (longAnswer !== undefined) this.#await(chatId, this.#stream(chatId, longAnswer))
    else {
      const content = { text: shortAnswerTo(text, author), author: NAME, role: /** @type {const} */ ('bot') }
      const answer = newMessage({ id: newBotMessageId(), ...content })
      await this.#messages.publish(chatId, answer, idle)
      return
    }
    await this.#messages.publishAction(chatId, idle)
  }

  /** @param {string} chatId @param {import('./long-answers.js').LongAnswer} longAnswer */
  #stream (chatId, longAnswer) {
    return this.#chatEvents.streamBotMessage(chatId, (signal) => longAnswer(this.#options.wordMs, signal), {
      id: newBotMessageId(),
      extra: () => ({ sentAt: new Date().toISOString() }),
      describeError
    })
  }

  /**
   * With a real model, the source is
   * `(abortSignal) => streamText({ model, messages, tools, abortSignal }).toUIMessageStream()`.
   *
   * @param {string} chatId
   * @param {import('./model-answers.js').ModelAnswer} modelAnswer
   */
  #streamUIMessage (chatId, modelAnswer) {
    const source = (/** @type {AbortSignal} */ signal) => modelAnswer(this.#options.wordMs, signal)
    return streamUIMessage(this.#chatEvents, chatId, source, { id: newBotMessageId(), describeError })
  }
}
