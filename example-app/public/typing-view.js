// @ts-check
import { find, make } from './dom.js'

/** Shows the other users who type, the first two by name. @param {readonly string[]} names @param {string} self */
export function showTyping (names, self) {
  const others = names.filter((name) => name !== self)
  const text = others.length === 0 ? [] : [make('span', 'typing-text', `${listOf(others)} typing…`)]
  find('#typing', 'p').replaceChildren(...text)
}

/** @param {readonly string[]} names */
function listOf (names) {
  const [first, second] = names
  if (names.length === 1) return `${first} is`
  return names.length === 2 ? `${first} and ${second} are` : `${first}, ${second} and ${names.length - 2} more are`
}
