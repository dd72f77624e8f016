// @ts-check
import { AnswerRows } from './answer-rows.js'
import { dayOf, sameDay, timeOf } from './clock.js'
import { find, make, onClick } from './dom.js'
import { avatarOf, messageRow } from './message-row.js'

/**
 * @typedef {import('./room-history.js').Entry} Entry
 * @typedef {import('./outbox.js').Unsent} Unsent
 */

/** Messages of one author within this time stand together. */
const GROUP_MS = 5 * 60_000

/** Who reads further up than this many pixels is not scrolled away from it. */
const NEAR_END_PX = 80

/** Why messages may be missing, for people. */
const REASONS = /** @type {Record<string, string>} */ ({
  epoch: 'The server started anew, without what it had kept.',
  ahead: 'Redis has lost messages that it had taken.',
  diverged: 'Redis has lost messages that it had taken.',
  expired: 'This page was away for longer than the server keeps messages.',
  trimmed: 'More was written meanwhile than the server keeps.',
  invalid: 'This page could not say where it was.',
  failover: 'Another Redis has taken over.',
  'no-history': 'The server keeps nothing.'
})

/** The messages of the open room, the answers that are being written, the bot while it thinks, and what is not sent yet. */
export class LogView {
  #log = find('#log', 'div')
  #messages = find('#messages', 'ol')
  #outbox = make('ol', 'messages outbox')
  #thinking = make('div', 'message bot thinking', avatarOf('', true), dots())
  #answers
  #empty = find('#empty', 'div')
  #toNewest = find('#to-newest', 'button')
  /** @type {Entry | undefined} */
  #last
  #atEnd = true
  #shownUnsent = '[]'

  /** @param {{ retry: (key: string) => void, discard: (key: string) => void, stop: (answerId: string) => void, say: (text: string) => void }} actions */
  constructor ({ retry, discard, stop, say }) {
    this.#answers = new AnswerRows(stop)
    this.#outbox.setAttribute('aria-label', 'Not sent yet')
    this.#thinking.hidden = true
    this.#messages.after(this.#answers.list, this.#outbox, this.#thinking)
    onClick(this.#outbox, 'retry', retry)
    onClick(this.#outbox, 'discard', discard)
    onClick(this.#empty, 'say', say)
    this.#log.addEventListener('scroll', () => this.#scrolled(), { passive: true })
    this.#toNewest.addEventListener('click', () => this.scrollToEnd())
    // The keyboard of a phone makes the log smaller, and the composer grows: what was at the end stays there.
    new window.ResizeObserver(() => { if (this.#atEnd) this.scrollToEnd() }).observe(this.#log)
  }

  /** Shows another room. @param {string} name @param {readonly Entry[]} entries */
  show (name, entries) {
    this.#log.ariaLabel = `Messages in ${name}`
    find('[data-part="room"]', 'strong', this.#empty).textContent = name
    // The history of a room is no news to be read out.
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
    // Two gaps in a row are one, which has changed.
    if (entry.kind === 'gap' && entry === this.#last) this.#messages.lastElementChild?.remove()
    this.#append(entry)
    this.#showEmpty()
    this.#messages.lastElementChild?.classList.add('new')
    if (this.#atEnd || (entry.kind === 'message' && entry.mine)) this.scrollToEnd()
    else if (entry.kind === 'message') this.#toNewest.hidden = false
  }

  /** @param {readonly Unsent[]} unsent */
  showUnsent (unsent) {
    const shown = JSON.stringify(unsent)
    // Each message that comes in asks for it; what has the focus, or is being read out, should not be replaced for nothing.
    if (shown === this.#shownUnsent) return
    this.#shownUnsent = shown
    const grew = unsent.length > this.#outbox.childElementCount
    const hadFocus = this.#outbox.contains(document.activeElement)
    this.#outbox.replaceChildren(...unsent.map(unsentRow))
    this.#showEmpty()
    if (grew || this.#atEnd) this.scrollToEnd()
    // A button that was pressed is gone now; without this the keyboard would start over at the top of the page.
    if (hadFocus) (this.#outbox.querySelector('button') ?? this.#log).focus()
  }

  /** @param {boolean} thinks */
  showThinking (thinks) {
    if (this.#thinking.hidden !== thinks) return
    this.#thinking.hidden = !thinks
    this.#showEmpty()
    if (this.#atEnd) this.scrollToEnd()
  }

  /** @param {Iterable<import('./room.js').Answer>} answers */
  showAnswers (answers) {
    // A button that had the focus is gone with its answer.
    if (this.#answers.show(answers)) this.#log.focus()
    this.#showEmpty()
    if (this.#atEnd) this.scrollToEnd()
  }

  scrollToEnd () {
    this.#atEnd = true
    this.#toNewest.hidden = true
    this.#log.scrollTop = this.#log.scrollHeight
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
    this.#messages.append(messageRow({ ...message, at, mine, bot: message.role === 'bot', continued }))
  }

  #showEmpty () {
    this.#empty.hidden = this.#last !== undefined || this.#outbox.childElementCount > 0 || !this.#thinking.hidden || !this.#answers.empty
  }

  #scrolled () {
    this.#atEnd = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < NEAR_END_PX
    if (this.#atEnd) this.#toNewest.hidden = true
  }
}

/** @param {Unsent} unsent */
function unsentRow ({ key, text, author, at, state, reason }) {
  const row = messageRow({ text, author, at, mine: true, bot: false, continued: false })
  row.classList.add(state)
  const body = find('.message-body', 'div', row)
  if (state === 'sending') {
    body.append(make('p', 'fate', 'Sending…'))
    return row
  }
  const retry = make('button', 'retry', 'Retry')
  retry.type = 'button'
  retry.dataset.retry = key
  const discard = make('button', 'discard', 'Delete')
  discard.type = 'button'
  discard.dataset.discard = key
  body.append(make('p', 'fate', make('strong', '', 'Not sent. '), reason), make('p', 'fate-actions', retry, discard))
  return row
}

/** @param {import('./room-history.js').GapEntry} gap */
function gapRow ({ from, to, certain, reason }) {
  const when = timeOf(from) === timeOf(to) && sameDay(from, to) ? `around ${timeOf(from)}` : `between ${timeOf(from)} and ${timeOf(to)}`
  return make('li', 'gap', make('p', '', make('strong', '', `Messages sent ${when} ${certain ? 'are' : 'may be'} missing here`), make('span', '', REASONS[reason] ?? reason)))
}

function dots () {
  const bubble = make('p', 'bubble', make('span', 'visually-hidden', 'Robo is thinking…'))
  for (let dot = 0; dot < 3; dot++) bubble.append(make('span', 'dot'))
  return make('div', 'message-body', bubble)
}
