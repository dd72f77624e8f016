// @ts-check
import { BotMessageRows } from './bot-message-rows.js'
import { dayOf, sameDay } from './clock.js'
import { find, make, onClick } from './dom.js'
import { gapRow } from './gap-row.js'
import { avatarOf, messageRow } from './message-row.js'
import { unsentRow } from './unsent-row.js'

/**
 * @typedef {import('./room-history.js').Entry} Entry
 * @typedef {import('./outbox.js').Unsent} Unsent
 *
 * @typedef {object} LogActions
 * @property {(key: string) => void} retry
 * @property {(key: string) => void} discard
 * @property {(botMessageId: string) => void} stop
 * @property {(text: string) => void} say
 */

/** Messages of one author within this time form a group. */
const GROUP_MS = 5 * 60_000

/** A reader who scrolls down to within this many pixels of the end follows new messages. */
const NEAR_END_PX = 80

/** The messages of the open room, the bot messages in progress, the bot that thinks, and the messages not sent yet. */
export class LogView {
  #log = find('#log', 'div')
  #messages = find('#messages', 'ol')
  #outbox = make('ol', 'messages outbox')
  #thinking = make('div', 'message bot thinking', avatarOf('', true), dots())
  #botMessages
  #empty = find('#empty', 'div')
  #toNewest = find('#to-newest', 'button')
  /** @type {Entry | undefined} */
  #last
  #atEnd = true
  #scrollTop = 0
  #shownUnsent = '[]'

  /** @param {LogActions} actions */
  constructor ({ retry, discard, stop, say }) {
    this.#botMessages = new BotMessageRows(stop)
    this.#outbox.setAttribute('aria-label', 'Not sent yet')
    this.#thinking.hidden = true
    this.#messages.after(this.#botMessages.list, this.#outbox, this.#thinking)
    onClick(this.#outbox, 'retry', retry)
    onClick(this.#outbox, 'discard', discard)
    onClick(this.#empty, 'say', say)
    this.#log.addEventListener('scroll', () => this.#scrolled(), { passive: true })
    this.#toNewest.addEventListener('click', () => this.scrollToEnd())
    // The log shrinks when the keyboard of a phone opens and when the composer grows, and blocks of a long message get
    // their real height when they come into view. The end stays visible.
    const resized = new window.ResizeObserver(() => this.#follow())
    for (const element of [this.#log, this.#messages, this.#botMessages.list]) resized.observe(element)
  }

  /** Shows another room. @param {string} name @param {readonly Entry[]} entries */
  show (name, entries) {
    this.#log.ariaLabel = `Messages in ${name}`
    find('[data-part="room"]', 'strong', this.#empty).textContent = name
    // Screen readers should not read the history of a room as new messages.
    this.#log.ariaBusy = 'true'
    this.#messages.replaceChildren()
    this.#last = undefined
    for (const entry of entries) this.#append(entry)
    this.#showEmpty()
    this.#log.ariaBusy = 'false'
    this.scrollToEnd()
  }

  /** @param {Entry} entry */
  add (entry) {
    // Two gaps in a row are one gap that has changed.
    if (entry.kind === 'gap' && entry === this.#last) this.#messages.lastElementChild?.remove()
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)
    const grown = entry.kind === 'message' && this.#botMessages.take(entry.message.id) !== undefined
    this.#append(entry)
    // What shows a bot message in progress moves into the log, with its content.
    if (focused !== document.activeElement) focused?.focus({ preventScroll: true })
    this.#showEmpty()
    if (!grown) this.#messages.lastElementChild?.classList.add('new')
    if (entry.kind === 'message' && entry.mine) this.scrollToEnd()
    else if (!this.#follow() && entry.kind === 'message') this.#toNewest.hidden = false
  }

  /** @param {readonly Unsent[]} unsent */
  showUnsent (unsent) {
    const shown = JSON.stringify(unsent)
    // Called for each message. An unchanged row is not replaced: it may have the focus, or be read by a screen reader.
    if (shown === this.#shownUnsent) return
    this.#shownUnsent = shown
    const grew = unsent.length > this.#outbox.childElementCount
    const hadFocus = this.#outbox.contains(document.activeElement)
    this.#outbox.replaceChildren(...unsent.map(unsentRow))
    this.#changed(grew)
    // The button that was pressed is removed. Without this, the keyboard focus would move to the top of the page.
    if (hadFocus) (this.#outbox.querySelector('button') ?? this.#log).focus()
  }

  /** @param {boolean} thinking */
  showThinking (thinking) {
    if (this.#thinking.hidden !== thinking) return
    this.#thinking.hidden = !thinking
    this.#changed()
  }

  /** @param {Iterable<import('./room.js').BotMessage>} botMessages */
  showBotMessages (botMessages) {
    if (this.#botMessages.show(botMessages)) this.#log.focus()
    this.#changed()
    if (!this.#atEnd && !this.#botMessages.empty) this.#toNewest.hidden = false
  }

  scrollToEnd () {
    this.#atEnd = true
    this.#toNewest.hidden = true
    this.#log.scrollTop = this.#log.scrollHeight
    this.#scrollTop = this.#log.scrollTop
  }

  #changed (scroll = false) {
    this.#showEmpty()
    if (scroll) this.scrollToEnd()
    else this.#follow()
  }

  /** @param {Entry} entry */
  #append (entry) {
    if (entry.kind === 'gap') this.#messages.append(gapRow(entry))
    else this.#appendMessage(entry)
    this.#last = entry
  }

  /** @param {import('./room-history.js').MessageEntry} entry */
  #appendMessage ({ message, mine }) {
    const at = Date.parse(message.sentAt)
    const last = this.#last
    const lastAt = last === undefined ? -1 : last.kind === 'gap' ? last.to : Date.parse(last.message.sentAt)
    if (!sameDay(lastAt, at)) this.#messages.append(make('li', 'day', make('span', '', dayOf(at))))
    const continued = last?.kind === 'message' && last.mine === mine && last.message.author === message.author &&
      last.message.role === message.role && sameDay(lastAt, at) && at - lastAt < GROUP_MS
    const shown = this.#botMessages.take(message.id)
    this.#messages.append(messageRow({ ...message, shown, at, mine, bot: message.role === 'bot', continued }))
  }

  #showEmpty () {
    const rows = this.#outbox.childElementCount + (this.#thinking.hidden ? 0 : 1) + (this.#botMessages.empty ? 0 : 1)
    this.#empty.hidden = this.#last !== undefined || rows > 0
  }

  /** Keeps the end in view, unless the reader has scrolled up, also just now. @returns {boolean} whether it does */
  #follow () {
    this.#scrolled()
    if (this.#atEnd) this.scrollToEnd()
    return this.#atEnd
  }

  /** If the log grows, its end moves away. If it shrinks, the end comes into view. Only a reader scrolls up. */
  #scrolled () {
    const { scrollTop, scrollHeight, clientHeight } = this.#log
    const below = scrollHeight - scrollTop - clientHeight
    const up = scrollTop < this.#scrollTop
    if (below <= 2) this.#atEnd = true
    else if (up) this.#atEnd = false
    else if (below < NEAR_END_PX) this.#atEnd = true
    this.#scrollTop = scrollTop
    if (this.#atEnd) this.#toNewest.hidden = true
  }
}

function dots () {
  const bubble = make('div', 'bubble', make('span', 'visually-hidden', 'Robo is thinking…'))
  for (let dot = 0; dot < 3; dot++) bubble.append(make('span', 'dot'))
  return make('div', 'message-body', bubble)
}
