// @ts-check
import MarkdownIt from './markdown-it.js'
import { closeOpenMarks } from './open-marks.js'

// Raw HTML in a message stays text. Images would report each reader to a server that the message names. Underlined
// headings would turn a paragraph into a heading for the moment in which the list below it begins.
const markdown = new MarkdownIt({ html: false }).disable(['image', 'lheading'])
markdown.validateLink = isSafe
markdown.renderer.rules.link_open = openLink

/** Shows Markdown, also while its text grows: only the blocks that changed are replaced. */
export class MarkdownText {
  #element
  /** The HTML of each block that is shown. @type {string[]} */
  #shown = []

  /** @param {HTMLElement} element */
  constructor (element) {
    this.#element = element
    element.classList.add('markdown')
  }

  /** @param {string} text @param {{ growing?: boolean }} [options] whether more of the text will come */
  show (text, { growing = false } = {}) {
    const blocks = blocksOf(growing ? closeOpenMarks(text) : text)
    blocks.forEach((html, index) => { if (html !== this.#shown[index]) this.#replace(index, html) })
    while (this.#element.children.length > blocks.length) this.#element.lastElementChild?.remove()
    this.#shown = blocks
  }

  /** @param {number} index @param {string} html */
  #replace (index, html) {
    const template = document.createElement('template')
    template.innerHTML = html
    const before = this.#element.children[index]
    if (before === undefined) this.#element.append(template.content)
    else before.replaceWith(template.content)
  }
}

/** Scripts such as `javascript:` and relative paths stay text. @param {string} url */
function isSafe (url) {
  return /^(https?:|mailto:)/i.test(url)
}

/** @type {import('./markdown-it.js').Render} */
function openLink (tokens, index, options, _env, renderer) {
  tokens[index]?.attrSet('target', '_blank')
  tokens[index]?.attrSet('rel', 'noopener noreferrer nofollow')
  return renderer.renderToken(tokens, index, options)
}

/** The HTML of each top-level block. Each is one element. @param {string} text */
function blocksOf (text) {
  const env = {}
  /** @type {import('./markdown-it.js').Token[][]} */
  const blocks = []
  for (const token of markdown.parse(text, env)) {
    if (token.level === 0 && token.nesting !== -1) blocks.push([])
    blocks.at(-1)?.push(token)
  }
  const html = blocks.map((tokens) => markdown.renderer.render(tokens, markdown.options, env).trim())
  return html.filter((block) => block !== '')
}
