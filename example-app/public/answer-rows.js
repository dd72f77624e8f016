// @ts-check
import { find, make, onClick } from './dom.js'
import { messageRow } from './message-row.js'

/**
 * The answers that are being streamed. Screen readers are not told of each word: they read the answer when it has ended and stands in the log.
 */
export class AnswerRows {
  list = make('ol', 'messages answers')
  /** @type {Map<string, { row: HTMLLIElement, text: Text, stop: HTMLButtonElement }>} */
  #rows = new Map()

  /** @param {(id: string) => void} stop */
  constructor (stop) {
    this.list.setAttribute('aria-live', 'off')
    this.list.setAttribute('aria-label', 'Answers that are being written')
    onClick(this.list, 'stop', (id) => { if (this.#rows.get(id)?.stop.ariaDisabled !== 'true') stop(id) })
  }

  get empty () {
    return this.#rows.size === 0
  }

  /** @param {Iterable<import('./room.js').Answer>} answers @returns {boolean} whether the row that had the focus is gone */
  show (answers) {
    const gone = new Set(this.#rows.keys())
    for (const answer of answers) {
      gone.delete(answer.id)
      const { text, stop } = this.#rows.get(answer.id) ?? this.#add(answer)
      if (text.data !== answer.text) text.data = answer.text
      // Not `disabled`, which would throw the keyboard back to the top of the page.
      stop.ariaDisabled = String(answer.stopping)
      stop.textContent = answer.stopping ? 'Stopping…' : 'Stop'
    }
    const hadFocus = [...gone].some((id) => this.#rows.get(id)?.row.contains(document.activeElement))
    for (const id of gone) {
      this.#rows.get(id)?.row.remove()
      this.#rows.delete(id)
    }
    return hadFocus
  }

  /** @param {import('./room.js').Answer} answer */
  #add ({ id, at }) {
    const row = messageRow({ text: '', author: 'Robo', at, mine: false, bot: true, continued: false })
    row.classList.add('streaming')
    row.ariaBusy = 'true'
    const text = document.createTextNode('')
    find('.bubble', 'p', row).append(text)
    const stop = make('button', 'stop', 'Stop')
    stop.type = 'button'
    stop.dataset.stop = id
    find('.message-body', 'div', row).append(stop)
    this.list.append(row)
    const added = { row, text, stop }
    this.#rows.set(id, added)
    return added
  }
}
