// @ts-check
import { find, make } from './dom.js'
import { avatarOf } from './message-row.js'

const FACES = 3

/** The users in the open room: some faces, their number, and a menu with all names. */
export class PeopleView {
  #button = find('#people', 'button')
  #faces = find('[data-part="faces"]', 'span', this.#button)
  #count = find('[data-part="count"]', 'span', this.#button)
  #list = find('#people-list', 'ul')
  #shown = ''

  /** @param {readonly string[]} people @param {string} self */
  show (people, self) {
    const names = [...people].sort((a, b) => Number(b === self) - Number(a === self) || a.localeCompare(b))
    const shown = JSON.stringify([names, self])
    if (shown === this.#shown) return
    this.#shown = shown
    this.#faces.replaceChildren(...names.slice(0, FACES).map((name) => avatarOf(name, false)))
    this.#count.textContent = String(names.length)
    this.#list.replaceChildren(...names.map((name) => personRow(name, name === self)))
  }
}

/** @param {string} name @param {boolean} self */
function personRow (name, self) {
  const tags = self ? [make('span', 'tag', 'you')] : []
  return make('li', 'person', avatarOf(name, false), make('span', 'person-name', name), ...tags)
}
