// @ts-check
import { find, make } from './dom.js'

/** Shows who else types: by name as long as those are few. @param {readonly string[]} names @param {string} self */
export function showTyping (names, self) {
  const others = names.filter((name) => name !== self)
  const line = find('#typing', 'p')
  line.replaceChildren(...others.length === 0 ? [] : [make('span', 'typing-text', `${listOf(others)} typing…`)])
}

/** @param {readonly string[]} names */
function listOf (names) {
  const [first, second] = names
  if (names.length === 1) return `${first} is`
  return names.length === 2 ? `${first} and ${second} are` : `${first}, ${second} and ${names.length - 2} more are`
}
