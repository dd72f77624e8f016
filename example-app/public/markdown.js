// @ts-check
import { groupLines, updateGroups } from './code-block.js'
import MarkdownIt from './markdown-it.js'
import { closeOpenMarks } from './open-marks.js'

// Raw HTML in a message stays text. Images would report each reader to a server that the message names. Underlined
// headings would turn a paragraph into a heading for the moment in which the list below it begins.
const markdown = new MarkdownIt({ html: false }).disable(['image', 'lheading'])
markdown.validateLink = isSafe
markdown.renderer.rules.link_open = openLink
markdown.renderer.rules.th_open = markdown.renderer.rules.td_open = openCell

/** A message with more blocks than this takes the whole width: see `answer.css`. */
const MANY_BLOCKS = 24

/**
 * Shows Markdown, also while its text grows. A block is finished once another one begins after a blank line. From then
 * on it is neither parsed nor rendered again, so a piece costs the same at the end of a long text as at the beginning.
 */
export class MarkdownText {
  #element
  /** The text of the finished blocks. */
  #finished = ''
  /** The number of elements of the finished blocks. */
  #finishedCount = 0
  /** The HTML of each block after them that is shown. @type {string[]} */
  #shown = []
  /** Whether the text has definitions of links, which may be used in a finished block. */
  #hasDefinitions = false
  #last = { text: '', growing: false }

  /** @param {HTMLElement} element */
  constructor (element) {
    this.#element = element
    element.classList.add('markdown')
  }

  /** @param {string} text @param {{ growing?: boolean }} [options] whether more of the text will come */
  show (text, { growing = false } = {}) {
    if (text === this.#last.text && growing === this.#last.growing) return
    this.#last = { text, growing }
    this.#element.classList.toggle('growing', growing)
    this.#update(text.replaceAll(/\r\n?/g, '\n'), growing)
  }

  /** @param {string} text @param {boolean} growing */
  #update (text, growing) {
    if (!text.startsWith(this.#finished) || (this.#hasDefinitions && !growing)) this.#restart()
    const rest = text.slice(this.#finished.length)
    const { blocks, lastLine, hasDefinitions } = parse(growing ? closeOpenMarks(rest) : rest)
    this.#hasDefinitions ||= hasDefinitions
    this.#render(blocks)
    const end = growing ? offsetOf(rest, lastLine) : 0
    if (end > 0 && rest.slice(0, end).endsWith('\n\n')) this.#finish(rest.slice(0, end))
  }

  /** @param {string[]} blocks */
  #render (blocks) {
    const { children, classList } = this.#element
    for (const [index, html] of blocks.entries()) {
      if (html !== this.#shown[index]) this.#replace(this.#finishedCount + index, html)
    }
    while (children.length > this.#finishedCount + blocks.length) this.#element.lastElementChild?.remove()
    classList.toggle('long', children.length > MANY_BLOCKS)
    this.#shown = blocks
  }

  /** All blocks that are shown are finished, except the last one. @param {string} text */
  #finish (text) {
    this.#finished += text
    this.#finishedCount += this.#shown.length - 1
    this.#shown = this.#shown.slice(-1)
  }

  #restart () {
    this.#finished = ''
    this.#finishedCount = 0
    this.#shown = []
  }

  /** @param {number} index @param {string} html */
  #replace (index, html) {
    const template = document.createElement('template')
    template.innerHTML = html
    const before = this.#element.children[index]
    if (before === undefined) this.#element.append(template.content)
    else if (!updateGroups(before, template.content.firstElementChild)) before.replaceWith(template.content)
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

/** The page allows no inline styles, so the alignment becomes a class. @type {import('./markdown-it.js').Render} */
function openCell (tokens, index, options, _env, renderer) {
  const token = tokens[index]
  const alignment = /\w+$/.exec(token?.attrGet('style') ?? '')?.[0]
  if (token !== undefined) token.attrs = alignment === undefined ? null : [['class', alignment]]
  return renderer.renderToken(tokens, index, options)
}

/**
 * The HTML of each top-level block, which is one element each, and the line in which the last one begins.
 *
 * @param {string} text
 */
function parse (text) {
  /** @type {{ references?: object }} */
  const env = {}
  /** @type {import('./markdown-it.js').Token[][]} */
  const blocks = []
  for (const token of markdown.parse(text, env)) {
    if (token.level === 0 && token.nesting !== -1) blocks.push([])
    blocks.at(-1)?.push(token)
  }
  return {
    blocks: blocks.map((tokens) => groupLines(markdown.renderer.render(tokens, markdown.options, env).trim())),
    lastLine: blocks.at(-1)?.[0]?.map?.[0] ?? 0,
    hasDefinitions: Object.keys(env.references ?? {}).length > 0
  }
}

/** Where a line of a text begins. @param {string} text @param {number} line */
function offsetOf (text, line) {
  let offset = 0
  for (; line > 0; line--) offset = text.indexOf('\n', offset) + 1
  return offset
}
