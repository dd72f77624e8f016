// @ts-check
import { find, make, onClick } from './dom.js'
import { messageRow } from './message-row.js'
import { PartsView } from './parts-view.js'

/** @typedef {import('./room.js').BotMessage} BotMessage */

/**
 * The bot messages that are being streamed or stored. Screen readers do not read each word of them, only the finished
 * message in the log.
 */
export class BotMessageRows {
  list = make('ol', 'messages bot-messages')
  /** @type {Map<string, BotMessageRow>} */
  #rows = new Map()

  /** @param {(id: string) => void} stop */
  constructor (stop) {
    this.list.setAttribute('aria-live', 'off')
    this.list.setAttribute('aria-label', 'Answers in progress')
    onClick(this.list, 'stop', (id) => { if (this.#rows.get(id)?.canStop === true) stop(id) })
  }

  get empty () {
    return this.#rows.size === 0
  }

  /** Where a bot message is shown. Its row in the log shows it from now on. @param {string} id */
  take (id) {
    return this.#rows.get(id)?.parts
  }

  /** @param {Iterable<BotMessage>} botMessages @returns {boolean} whether the row with the focus was removed */
  show (botMessages) {
    const ended = new Set(this.#rows.keys())
    for (const botMessage of botMessages) {
      ended.delete(botMessage.id)
      this.#row(botMessage).show(botMessage)
    }
    return [...ended].filter((id) => this.#remove(id)).length > 0
  }

  /** @param {BotMessage} botMessage */
  #row (botMessage) {
    const row = this.#rows.get(botMessage.id) ?? new BotMessageRow(botMessage)
    if (!this.#rows.has(botMessage.id)) this.list.append(row.element)
    this.#rows.set(botMessage.id, row)
    return row
  }

  /** @param {string} id @returns {boolean} whether it had the focus */
  #remove (id) {
    const element = this.#rows.get(id)?.element
    const hadFocus = element?.contains(document.activeElement) === true
    element?.remove()
    this.#rows.delete(id)
    return hadFocus
  }
}

class BotMessageRow {
  element
  parts = new PartsView()
  canStop = true
  #stop = make('button', 'stop', 'Stop')

  /** @param {BotMessage} botMessage */
  constructor ({ id, at }) {
    const shown = this.parts
    this.element = messageRow({ text: '', shown, author: 'Robo', at, mine: false, bot: true, continued: false })
    this.element.classList.add('streaming')
    this.element.ariaBusy = 'true'
    this.#stop.type = 'button'
    this.#stop.dataset.stop = id
    find('.message-body', 'div', this.element).append(this.#stop)
  }

  /** @param {BotMessage} botMessage */
  show ({ content, stopping, ended }) {
    const growing = ended === undefined
    this.parts.show(content.parts, { growing })
    this.canStop = growing && !stopping
    // Not `disabled`, which would move the keyboard focus to the top of the page.
    this.#stop.ariaDisabled = String(!this.canStop)
    if (growing) this.#stop.textContent = stopping ? 'Stopping…' : 'Stop'
    else this.#stop.textContent = 'Saving…'
  }
}
