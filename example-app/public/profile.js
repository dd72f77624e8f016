// @ts-check
import { paintAvatar } from './avatar.js'
import { find } from './dom.js'
import { jsonStorage } from './storage.js'

const storage = jsonStorage('localStorage')
const KEY = 'name'
const MAX_LENGTH = 40

const ADJECTIVES = ['Bright', 'Calm', 'Curious', 'Merry', 'Quick', 'Sunny', 'Witty']
const ANIMALS = ['Badger', 'Finch', 'Heron', 'Lynx', 'Otter', 'Panda', 'Wren']

/** The name of the user. The page asks for it once, and the browser stores it. */
export class Profile {
  #button = find('#profile', 'button')
  #dialog = find('#name-dialog', 'dialog')
  #input = find('#name', 'input')
  #submit = find('button', 'button', this.#dialog)
  #name = String(storage.get(KEY) ?? '').slice(0, MAX_LENGTH)
  #done

  /** @param {() => void} done called each time the dialog was closed */
  constructor (done) {
    this.#done = done
    this.#button.addEventListener('click', () => this.ask())
    this.#input.addEventListener('input', () => this.#preview())
    this.#dialog.addEventListener('close', () => this.#closed())
    this.#paint()
  }

  get name () {
    return this.#name
  }

  ask () {
    this.#submit.textContent = this.#name === '' ? 'Start chatting' : 'Save'
    this.#input.value = this.#name || suggestion()
    this.#dialog.returnValue = 'cancelled'
    this.#preview()
    this.#dialog.showModal()
    this.#input.select()
  }

  #closed () {
    // Escape keeps the name. If there is none yet, the suggestion is used.
    const accepted = this.#dialog.returnValue !== 'cancelled' || this.#name === ''
    if (accepted) this.#name = this.#input.value.trim() || this.#name || suggestion()
    storage.set(KEY, this.#name)
    this.#paint()
    this.#done()
  }

  #preview () {
    this.#input.setCustomValidity(this.#input.value.trim() === '' ? 'Type a name' : '')
    paintAvatar(find('[data-part="avatar"]', 'span', this.#dialog), this.#input.value)
  }

  #paint () {
    find('[data-part="name"]', 'span', this.#button).textContent = this.#name || 'You'
    paintAvatar(find('[data-part="avatar"]', 'span', this.#button), this.#name || '?')
  }
}

function suggestion () {
  return `${pick(ADJECTIVES)} ${pick(ANIMALS)}`
}

/** @param {string[]} words */
function pick (words) {
  return words[Math.floor(Math.random() * words.length)]
}
