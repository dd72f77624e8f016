// @ts-check
import { find } from './dom.js'
import { jsonStorage } from './storage.js'

const storage = jsonStorage('sessionStorage')
const KEY = 'drafts'

/** The number of characters left is shown below this. */
const SHOW_BELOW = 200

/** The text field. It keeps a draft for each room. */
export class Composer {
  #form = find('#composer', 'form')
  #text = find('#text', 'textarea')
  #button = find('button', 'button', this.#form)
  #left = find('[data-part="left"]', 'span', this.#form)
  #roomId = ''
  /** @type {Record<string, string>} */
  #drafts = /** @type {Record<string, string>} */ (storage.get(KEY) ?? {})
  #send
  #typing

  /** @param {{ send: (text: string) => void, typing: (typing: boolean) => void }} actions */
  constructor ({ send, typing }) {
    this.#send = send
    this.#typing = typing
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault()
      this.#submit()
    })
    this.#text.addEventListener('input', () => {
      this.#changed()
      this.#typing(this.#text.value !== '')
    })
    this.#text.addEventListener('keydown', (event) => {
      // While an input method composes characters, such as Japanese ones, Enter selects one.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
      event.preventDefault()
      this.#submit()
    })
  }

  /** @param {string} roomId @param {string} roomName */
  open (roomId, roomName) {
    this.#roomId = roomId
    this.#text.placeholder = `Write to ${roomName}`
    this.#text.value = this.#drafts[roomId] ?? ''
    this.#changed()
  }

  focus () {
    this.#text.focus()
  }

  #submit () {
    const text = this.#text.value.trim()
    if (text === '' || this.#roomId === '') return
    this.#text.value = ''
    this.#changed()
    this.#typing(false)
    this.#send(text)
  }

  #changed () {
    const { value, maxLength } = this.#text
    this.#button.disabled = value.trim() === '' || this.#roomId === ''
    const left = maxLength - value.length
    this.#left.textContent = left < SHOW_BELOW ? `${left} characters left` : ''
    // The field grows with the text, up to a limit in the style sheet.
    this.#text.style.height = 'auto'
    this.#text.style.height = `${this.#text.scrollHeight}px`
    this.#drafts[this.#roomId] = value
    storage.set(KEY, this.#drafts)
  }
}
