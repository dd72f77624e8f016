// @ts-check
import { make } from './dom.js'
import { MarkdownText } from './markdown.js'
import { ReasoningView } from './reasoning-view.js'
import { ToolView } from './tool-view.js'

/**
 * @typedef {import('./ui-message-parts.js').Part} Part
 *
 * @typedef {object} PartView
 * @property {Part['type']} type
 * @property {HTMLElement} element
 * @property {(part: any, growing: boolean) => void} show Gets parts of its own type only.
 */

/** The parts of a bot message in their order: its reasoning, its tool calls and its text. */
export class PartsView {
  element = make('div', 'parts')
  /** @type {PartView[]} */
  #views = []

  /** @param {readonly Part[]} parts @param {{ growing?: boolean }} [options] whether more will come */
  show (parts, { growing = false } = {}) {
    parts.forEach((part, index) => this.#viewAt(index, part).show(part, growing))
    for (const { element } of this.#views.splice(parts.length)) element.remove()
  }

  /** @param {number} index @param {Part} part */
  #viewAt (index, { type }) {
    const before = this.#views[index]
    if (before?.type === type) return before
    const view = this.#views[index] = viewOf(type)
    if (before === undefined) this.element.append(view.element)
    else before.element.replaceWith(view.element)
    return view
  }
}

/** @param {Part['type']} type @returns {PartView} */
function viewOf (type) {
  if (type === 'text') return new TextView()
  return type === 'reasoning' ? new ReasoningView() : new ToolView()
}

class TextView {
  type = /** @type {const} */ ('text')
  element = make('div', 'bubble')
  #text = new MarkdownText(this.element)

  constructor () {
    this.element.dir = 'auto'
  }

  /** @param {import('./ui-message-parts.js').TextPart} part @param {boolean} growing */
  show ({ text, done }, growing) {
    this.#text.show(text, { growing: growing && !done })
  }
}
