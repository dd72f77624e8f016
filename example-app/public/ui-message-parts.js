// @ts-check

/**
 * @typedef {object} TextPart Markdown.
 * @property {'text'} type
 * @property {string} text
 * @property {boolean} [done] Whether no more text will come, if that is known.
 *
 * @typedef {object} ReasoningPart What the model thought before it answered.
 * @property {'reasoning'} type
 * @property {string} text
 * @property {boolean} done
 * @property {number} [durationMs]
 *
 * @typedef {object} ToolPart A tool call.
 * @property {'tool'} type
 * @property {string} name
 * @property {'input' | 'running' | 'done' | 'failed'} state `input` while the model still writes the input.
 * @property {string} inputText The input so far, as JSON.
 * @property {unknown} [input]
 * @property {unknown} [output]
 * @property {string} [error]
 *
 * @typedef {TextPart | ReasoningPart | ToolPart} Part
 *
 * @typedef {import('fastify-realtime').BotMessageChunk} Chunk
 */

/**
 * The parts of a UI message of the AI SDK, folded from its chunks one by one. Chunks that this page does not show are
 * skipped: there are sources, files and data, and a later version of the SDK may add others.
 */
export class UIMessageParts {
  /** @type {Part[]} */
  parts = []
  /** When the message was complete, in ISO 8601. @type {string | undefined} */
  sentAt
  /** The parts by the ids in the chunks. The ids of text and reasoning begin again in each step. */
  #byId = /** @type {Map<string, Part>} */ (new Map())

  /** @param {Chunk} chunk */
  add (chunk) {
    const { type } = chunk
    const id = String(chunk.toolCallId ?? chunk.id)
    if (type === 'text-start') this.#open(id, { type: 'text', text: '' })
    else if (type === 'reasoning-start') this.#open(id, { type: 'reasoning', text: '', done: false })
    else if (type === 'text-delta' || type === 'reasoning-delta') this.#append(id, String(chunk.delta))
    else if (type === 'text-end' || type === 'reasoning-end') this.#end(id, chunk)
    else if (typeof type === 'string' && type.startsWith('tool-')) this.#updateTool(id, chunk)
    else if (type === 'finish') {
      this.sentAt = /** @type {{ sentAt?: string } | undefined} */ (chunk.messageMetadata)?.sentAt
    }
  }

  /** @param {string} id @param {Part} part */
  #open (id, part) {
    this.parts.push(part)
    this.#byId.set(id, part)
  }

  /** @param {string} id @param {string} delta */
  #append (id, delta) {
    const part = this.#byId.get(id)
    if (part?.type === 'text' || part?.type === 'reasoning') part.text += delta
  }

  /** @param {string} id @param {Chunk} chunk */
  #end (id, { providerMetadata }) {
    const { robo } = /** @type {{ robo?: { thoughtForMs?: number } }} */ (providerMetadata ?? {})
    const part = this.#byId.get(id)
    if (part?.type === 'text') part.done = true
    if (part?.type === 'reasoning') Object.assign(part, { done: true, durationMs: robo?.thoughtForMs })
  }

  /** @param {string} id @param {Chunk} chunk */
  #updateTool (id, { type, toolName, inputTextDelta, input, output, errorText }) {
    // A tool call need not be streamed: then its first chunk has the whole input.
    if (!this.#byId.has(id)) this.#open(id, { type: 'tool', name: String(toolName), state: 'input', inputText: '' })
    const part = this.#byId.get(id)
    if (part?.type !== 'tool') return
    if (type === 'tool-input-delta') part.inputText += String(inputTextDelta)
    else if (type === 'tool-input-available') Object.assign(part, { state: 'running', input })
    else if (type === 'tool-output-available') Object.assign(part, { state: 'done', output })
    else if (type === 'tool-output-error' || type === 'tool-input-error') {
      Object.assign(part, { state: 'failed', error: String(errorText) })
    }
  }
}
