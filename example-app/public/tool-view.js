// @ts-check
import { make, setText } from './dom.js'

/** @typedef {import('./ui-message-parts.js').ToolPart} ToolPart */

const LABELS = { input: 'Calling…', running: 'Running…', done: 'Done', failed: 'Failed', cut: 'No result' }

/** A result of this many characters fills many screens. The rest is left out. */
const MAX_RESULT = 20_000

/** A tool call: open until there is a result, and if it has failed, unless the reader has chosen otherwise. */
export class ToolView {
  type = /** @type {const} */ ('tool')
  element = make('details', 'tool-call')
  #name = make('span', 'tool-name')
  #brief = make('span', 'tool-brief')
  #state = make('span', 'tool-state')
  #input = make('pre')
  #resultLabel = make('p', 'part-label', 'Result')
  #result = make('pre', 'tool-result')
  #chosen = false

  constructor () {
    const summary = make('summary', 'part-summary', this.#name, this.#brief, this.#state)
    summary.addEventListener('click', () => { this.#chosen = true })
    const inputLabel = make('p', 'part-label', 'Input')
    this.element.append(summary, make('div', 'tool-body', inputLabel, this.#input, this.#resultLabel, this.#result))
  }

  /** @param {ToolPart} part @param {boolean} growing */
  show (part, growing) {
    const waiting = part.state === 'input' || part.state === 'running'
    const state = waiting && !growing ? 'cut' : part.state
    this.element.dataset.state = state
    this.element.classList.toggle('active', waiting && growing)
    if (!this.#chosen) this.element.open = waiting || state === 'failed'
    setText(this.#name, part.name)
    setText(this.#brief, briefOf(part.input))
    setText(this.#state, LABELS[state])
    setText(this.#input, part.input === undefined ? part.inputText : json(part.input))
    this.#showResult(part)
  }

  /** @param {ToolPart} part */
  #showResult ({ state, output, error = '' }) {
    const hidden = state === 'input' || state === 'running'
    this.#resultLabel.hidden = this.#result.hidden = hidden
    if (hidden || this.#result.textContent !== '') return
    const text = state === 'failed' ? error : json(output)
    this.#result.textContent = text.length > MAX_RESULT ? `${text.slice(0, MAX_RESULT)}…` : text
  }
}

/** The values of an input, on one line. @param {unknown} input */
function briefOf (input) {
  return Object.values(Object(input)).map((value) => typeof value === 'string' ? `“${value}”` : json(value)).join(', ')
}

/** @param {unknown} value */
function json (value) {
  return JSON.stringify(value, null, 2) ?? 'none'
}
