// @ts-check

/**
 * Finds an element of the page. Throws if it is not there.
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
 * Makes an element. Strings become text nodes, never markup.
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
 * Calls `handler` when a button with a data attribute is clicked, with the value of the attribute.
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

/** Sets a text, if it has changed: screen readers read each change. @param {Element} element @param {string} text */
export function setText (element, text) {
  if (element.textContent !== text) element.textContent = text
}
