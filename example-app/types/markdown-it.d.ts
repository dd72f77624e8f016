/** The part of `markdown-it` that the page uses, which `page.js` serves under this name. */
export interface Token {
  level: number
  nesting: -1 | 0 | 1
  /** The first line of its source, and the line after it. */
  map: [number, number] | null
  attrs: [name: string, value: string][] | null
  attrGet (name: string): string | null
  attrSet (name: string, value: string): void
}

export type Render = (tokens: Token[], index: number, options: object, env: object, renderer: Renderer) => string

export interface Renderer {
  rules: Record<string, Render>
  render (tokens: Token[], options: object, env: object): string
  renderToken (tokens: Token[], index: number, options: object): string
}

export default class MarkdownIt {
  constructor (options: { html: boolean })
  options: object
  renderer: Renderer
  disable (rules: string[]): this
  validateLink (url: string): boolean
  parse (text: string, env: object): Token[]
}
