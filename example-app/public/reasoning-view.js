// @ts-check
import { make, setText } from './dom.js'
import { duration } from './format.js'
import { MarkdownText } from './markdown.js'

/** What the model thinks: open while it thinks, then closed, unless the reader has chosen otherwise. */
export class ReasoningView {
  type = /** @type {const} */ ('reasoning')
  element = make('details', 'reasoning')
  #summary = make('summary', 'part-summary')
  #body = make('div', 'reasoning-text')
  #text = new MarkdownText(this.#body)
  #chosen = false

  constructor () {
    this.#body.dir = 'auto'
    this.element.append(this.#summary, this.#body)
    this.#summary.addEventListener('click', () => { this.#chosen = true })
  }

  /** @param {import('./ui-message-parts.js').ReasoningPart} part @param {boolean} growing */
  show (part, growing) {
    const thinking = growing && !part.done
    this.element.classList.toggle('active', thinking)
    if (!this.#chosen) this.element.open = thinking
    setText(this.#summary, thinking ? 'Thinking…' : labelOf(part))
    this.#text.show(part.text, { growing: thinking })
  }
}

/** @param {import('./ui-message-parts.js').ReasoningPart} part */
function labelOf ({ done, durationMs }) {
  if (!done) return 'Did not think to the end'
  if (durationMs === undefined) return 'Thought'
  return durationMs < 1_000 ? 'Thought for a moment' : `Thought for ${duration(durationMs / 1_000)}`
}
