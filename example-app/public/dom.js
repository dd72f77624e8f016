// @ts-check

/**
 * The element that the page's HTML promises.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {string} selector
 * @param {Tag} tag
 * @param {ParentNode} [within]
 */
export function find (selector, tag, within = document) {
  const element = within.querySelector(selector)
  if (element?.localName !== tag) throw new Error(`The page has no ${tag} for ${selector}`)
  return /** @type {HTMLElementTagNameMap[Tag]} */ (element)
}

/**
 * Makes an element. Text is only ever set as text, so that nothing people write can become markup.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} [className]
 * @param {(Node | string)[]} content
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make (tag, className, ...content) {
  const element = document.createElement(tag)
  if (className) element.className = className
  element.append(...content)
  return element
}

/**
 * Calls `handler` with the value of a data attribute of the button that was clicked, if it has it.
 *
 * @param {Element} within
 * @param {string} name the attribute, without `data-`
 * @param {(value: string) => void} handler
 */
export function onClick (within, name, handler) {
  within.addEventListener('click', ({ target }) => {
    const value = /** @type {Element} */ (target).closest('button')?.dataset[name]
    if (value !== undefined) handler(value)
  })
}
