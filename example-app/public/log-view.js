// @ts-check
import { BotMessageRows } from './bot-message-rows.js'
import { dayOf, sameDay } from './clock.js'
import { find, make, onClick } from './dom.js'
import { avatarOf, messageRow } from './message-row.js'
import { unsentRow } from './unsent-row.js'

/**
 * @typedef {import('./room-history.js').Message} Message
 * @typedef {import('./outbox.js').Unsent} Unsent
 *
 * @typedef {object} LogActions
 * @property {(key: string) => void} retry
 * @property {(key: string) => void} discard
 * @property {(botMessageId: string) => void} stop
 * @property {() => void} earlier Load earlier messages.
 * @property {(message: Message) => boolean} isMine
 * @property {(text: string) => void} say
 */

/** Messages of one author within this time form a group. */
const GROUP_MS = 5 * 60_000

/** A reader who scrolls down to within this many pixels of the end follows new messages. */
const NEAR_END_PX = 80

/** Earlier messages are loaded when the reader scrolls up to within this many pixels of the first one. */
const NEAR_START_PX = 300

/** The messages of the open room, the bot messages in progress, the bot that thinks, and the messages not sent yet. */
export class LogView {
  #log = find('#log', 'div')
  #messages = find('#messages', 'ol')
  #outbox = make('ol', 'messages outbox')
  #thinking = make('div', 'message bot thinking', avatarOf('', true), dots())
  #botMessages
  #empty = find('#empty', 'div')
  #toNewest = find('#to-newest', 'button')
  #actions
  /** @type {Message | undefined} */
  #last
  #hasEarlier = false
  #atEnd = true
  #scrollTop = 0
  #shownUnsent = '[]'

  /** @param {LogActions} actions */
  constructor (actions) {
    const { retry, discard, stop, say } = this.#actions = actions
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

  /** Shows the messages of a room. @param {string} name @param {import('./room-history.js').RoomHistory} history */
  show (name, history) {
    this.#log.ariaLabel = `Messages in ${name}`
    find('[data-part="room"]', 'strong', this.#empty).textContent = name
    this.#showAll(history)
    this.scrollToEnd()
  }

  /**
   * Earlier messages were loaded. Those in view stay where they are.
   *
   * @param {import('./room-history.js').RoomHistory} history
   */
  showEarlier (history) {
    const { scrollHeight, scrollTop } = this.#log
    this.#showAll(history)
    this.#log.scrollTop = this.#scrollTop = scrollTop + this.#log.scrollHeight - scrollHeight
  }

  /** @param {Message} message */
  add (message) {
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)
    const grown = this.#botMessages.take(message.id) !== undefined
    this.#append(message)
    // What shows a bot message in progress moves into the log, with its content.
    if (focused !== document.activeElement) focused?.focus({ preventScroll: true })
    this.#showEmpty()
    if (!grown) this.#messages.lastElementChild?.classList.add('new')
    if (this.#actions.isMine(message)) this.scrollToEnd()
    else if (!this.#follow()) this.#toNewest.hidden = false
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

  /** @param {import('./room-history.js').RoomHistory} history */
  #showAll ({ messages, before }) {
    this.#hasEarlier = before !== null
    // Screen readers should not read the history of a room as new messages.
    this.#log.ariaBusy = 'true'
    this.#messages.replaceChildren()
    this.#last = undefined
    for (const message of messages) this.#append(message)
    this.#showEmpty()
    this.#log.ariaBusy = 'false'
  }

  /** @param {Message} message */
  #append (message) {
    const at = Date.parse(message.sentAt)
    const last = this.#last
    const lastAt = last === undefined ? -1 : Date.parse(last.sentAt)
    if (!sameDay(lastAt, at)) this.#messages.append(make('li', 'day', make('span', '', dayOf(at))))
    const continued = last?.author === message.author && last.role === message.role && sameDay(lastAt, at) &&
      at - lastAt < GROUP_MS
    const shown = this.#botMessages.take(message.id)
    const mine = this.#actions.isMine(message)
    this.#messages.append(messageRow({ ...message, shown, at, mine, bot: message.role === 'bot', continued }))
    this.#last = message
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
    else if (this.#hasEarlier && scrollTop < NEAR_START_PX) this.#actions.earlier()
  }
}

function dots () {
  const bubble = make('div', 'bubble', make('span', 'visually-hidden', 'Robo is thinking…'))
  for (let dot = 0; dot < 3; dot++) bubble.append(make('span', 'dot'))
  return make('div', 'message-body', bubble)
}
