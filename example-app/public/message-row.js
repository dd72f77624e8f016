// @ts-check
import { paintAvatar } from './avatar.js'
import { fullTimeOf, timeOf } from './clock.js'
import { make } from './dom.js'
import { PartsView } from './parts-view.js'

/**
 * @typedef {object} Row
 * @property {string} text Markdown if the bot wrote it, otherwise plain text.
 * @property {readonly import('./ui-message-parts.js').Part[]} [parts] The content of the bot, if it is not only text.
 * @property {PartsView} [shown] Where the content of the bot is shown already.
 * @property {string} author
 * @property {number} at
 * @property {boolean} mine
 * @property {boolean} bot
 * @property {import('./room-history.js').Message['outcome']} [outcome]
 * @property {string} [error]
 * @property {boolean} continued Whether the row above is by the same author, a moment before.
 */

/** How a bot message ended that is not finished. */
const OUTCOMES = {
  stopped: 'Stopped by a reader.',
  interrupted: 'Interrupted. The instance that was writing this has stopped.',
  failed: 'Failed.'
}

/** A message as a list item. @param {Row} row */
export function messageRow (row) {
  const { author, mine, bot, continued, outcome, error = '' } = row
  const item = make('li', 'message')
  item.classList.toggle('mine', mine)
  item.classList.toggle('bot', bot)
  item.classList.toggle('continued', continued)
  if (!mine) item.append(avatarOf(author, bot))
  const body = make('div', 'message-body', head(row), content(row))
  if (outcome !== undefined) {
    item.classList.add('unfinished')
    item.dataset.outcome = outcome
    body.append(make('p', 'outcome', `${OUTCOMES[outcome]} ${error}`.trim()))
  }
  item.append(body)
  return item
}

/** @param {Row} row */
function head ({ author, at, mine, bot, continued }) {
  const time = make('time', '', timeOf(at))
  time.dateTime = new Date(at).toISOString()
  const tags = bot ? [make('span', 'tag', 'bot')] : []
  const className = continued ? 'message-head visually-hidden' : 'message-head'
  return make('p', className, make('span', 'author', mine ? 'You' : author), ...tags, time)
}

/** @param {Row} row */
function content ({ text, parts = [{ type: 'text', text }], at, bot, shown = new PartsView() }) {
  const element = bot ? shown.element : make('div', 'bubble', text)
  if (bot) shown.show(parts)
  else element.dir = 'auto'
  element.title = fullTimeOf(at)
  return element
}

/** @param {string} author @param {boolean} bot */
export function avatarOf (author, bot) {
  const avatar = make('span', bot ? 'avatar avatar-bot' : 'avatar')
  avatar.ariaHidden = 'true'
  // The style sheet draws the face of the bot.
  if (!bot) paintAvatar(avatar, author)
  return avatar
}
