// @ts-check
import { setTimeout as delay } from 'node:timers/promises'

/**
 * @typedef {import('fastify-realtime/ai').UIChunk} UIChunk
 * @typedef {AsyncGenerator<UIChunk>} Chunks
 *
 * @typedef {object} Tool
 * @property {string} name
 * @property {object} input
 * @property {() => unknown} run Its result is the output. It may throw.
 */

/** How long a tool runs, in words. */
const TOOL_WORDS = 14

/** How many words a text has that is streamed at full speed, for each word of another text. */
const FAST_WORDS = 300

/** Plays a language model: yields the chunks of the AI SDK in the order and sizes in which a model streams them. */
export class ModelChunks {
  #wordMs
  #signal
  #parts = 0

  /** @param {number} wordMs how long to wait after each word @param {AbortSignal} signal ends it by an exception */
  constructor (wordMs, signal) {
    this.#wordMs = wordMs
    this.#signal = signal
  }

  /** One step: what the model streams between two results of tools. @param {...Chunks} parts @returns {Chunks} */
  async * step (...parts) {
    yield { type: 'start-step' }
    for (const part of parts) yield * part
    yield { type: 'finish-step' }
  }

  /** @param {string} text @returns {Chunks} */
  async * reasoning (text) {
    const id = this.#nextId()
    const startedAt = performance.now()
    yield { type: 'reasoning-start', id }
    for (const delta of wordsOf(text)) {
      yield { type: 'reasoning-delta', id, delta }
      await this.#wait(1)
    }
    const thoughtForMs = Math.round(performance.now() - startedAt)
    yield { type: 'reasoning-end', id, providerMetadata: { robo: { thoughtForMs } } }
  }

  /** @param {string} text @param {{ fast?: boolean }} [options] @returns {Chunks} */
  async * text (text, { fast = false } = {}) {
    const id = this.#nextId()
    let words = 0
    yield { type: 'text-start', id }
    for (const delta of fast ? text.match(/[^]{1,64}/gu) ?? [] : wordsOf(text)) {
      yield { type: 'text-delta', id, delta }
      words += fast ? 10 / FAST_WORDS : 1
      if (words >= 1) await this.#wait(words)
      words %= 1
    }
    yield { type: 'text-end', id }
  }

  /** A tool call with its result. @param {Tool} tool @returns {Chunks} */
  async * tool ({ name: toolName, input, run }) {
    const toolCallId = `call-${this.#nextId()}`
    yield { type: 'tool-input-start', toolCallId, toolName }
    for (const inputTextDelta of JSON.stringify(input).match(/.{1,8}/gsu) ?? []) {
      yield { type: 'tool-input-delta', toolCallId, inputTextDelta }
      await this.#wait(1)
    }
    yield { type: 'tool-input-available', toolCallId, toolName, input }
    await this.#wait(TOOL_WORDS)
    yield outcomeOf(toolCallId, run)
  }

  /** @param {number} words */
  async #wait (words) {
    await delay(this.#wordMs * words, undefined, { signal: this.#signal })
  }

  #nextId () {
    return String(this.#parts++)
  }
}

/** @param {string} toolCallId @param {() => unknown} run @returns {UIChunk} */
function outcomeOf (toolCallId, run) {
  try {
    return { type: 'tool-output-available', toolCallId, output: run() }
  } catch (error) {
    return { type: 'tool-output-error', toolCallId, errorText: error instanceof Error ? error.message : String(error) }
  }
}

/** @param {string} text */
function wordsOf (text) {
  return text.split(/(?<=\s)(?=\S)/)
}
