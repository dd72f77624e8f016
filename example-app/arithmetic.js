// @ts-check

/** Limits the depth of the recursion. */
const MAX_LENGTH = 200

/**
 * Evaluates `2 * (3 + 4)` and the like, with + - * / % ^ and parentheses. Parses the text: user input is never run as
 * code.
 *
 * @param {string} text
 * @returns {number | undefined} `undefined` if the text is not arithmetic
 */
export function calculate (text) {
  if (text.length > MAX_LENGTH || !/^[\d\s.()+\-*/%^]*$/.test(text)) return undefined
  if (!/\d\s*[)\s]*[+\-*/%^]/.test(text)) return undefined
  const tokens = text.match(/\d+(?:\.\d+)?|[^\s\d]/g) ?? []
  const expression = new Expression(tokens)
  const value = expression.sum()
  return expression.done ? value : undefined
}

/** A recursive descent parser, one method per level of precedence. A token out of place results in `NaN`. */
class Expression {
  #tokens
  #next = 0

  /** @param {string[]} tokens */
  constructor (tokens) {
    this.#tokens = tokens
  }

  get done () {
    return this.#next === this.#tokens.length
  }

  /** @returns {number} */
  sum () {
    let value = this.#product()
    for (let sign = this.#take('+', '-'); sign !== undefined; sign = this.#take('+', '-')) {
      value = sign === '+' ? value + this.#product() : value - this.#product()
    }
    return value
  }

  #product () {
    let value = this.#signed()
    for (let sign = this.#take('*', '/', '%'); sign !== undefined; sign = this.#take('*', '/', '%')) {
      const right = this.#signed()
      value = sign === '*' ? value * right : sign === '/' ? value / right : value % right
    }
    return value
  }

  /** @returns {number} */
  #signed () {
    if (this.#take('-')) return -this.#signed()
    if (this.#take('+')) return this.#signed()
    return this.#power()
  }

  /** @returns {number} */
  #power () {
    const base = this.#operand()
    return this.#take('^') ? base ** this.#signed() : base
  }

  #operand () {
    if (this.#take('(')) {
      const value = this.sum()
      return this.#take(')') ? value : NaN
    }
    const token = this.#tokens[this.#next++]
    return token !== undefined && /^\d/.test(token) ? Number(token) : NaN
  }

  /** @param {string[]} wanted */
  #take (...wanted) {
    const token = this.#tokens[this.#next]
    if (token === undefined || !wanted.includes(token)) return undefined
    this.#next++
    return token
  }
}
