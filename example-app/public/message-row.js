// @ts-check
import { paintAvatar } from './avatar.js'
import { fullTimeOf, timeOf } from './clock.js'
import { make } from './dom.js'

/**
 * @typedef {object} Row
 * @property {string} text
 * @property {string} author
 * @property {number} at
 * @property {boolean} mine
 * @property {boolean} bot
 * @property {import('./room-history.js').Message['fate']} [fate]
 * @property {string} [error]
 * @property {boolean} continued Whether it goes on from the row above, by the same author a moment before.
 */

/** How an answer ended that was not finished, for people. */
const FATES = {
  stopped: 'Stopped. Somebody had read enough.',
  interrupted: 'Interrupted. The instance that wrote this is gone.',
  failed: 'Failed.'
}

/** One message as a list item. @param {Row} row */
export function messageRow ({ text, author, at, mine, bot, fate, error = '', continued }) {
  const item = make('li', 'message')
  item.classList.toggle('mine', mine)
  item.classList.toggle('bot', bot)
  item.classList.toggle('continued', continued)
  if (!mine) item.append(avatarOf(author, bot))
  const time = make('time', '', timeOf(at))
  time.dateTime = new Date(at).toISOString()
  const head = make('p', continued ? 'message-head visually-hidden' : 'message-head', make('span', 'author', mine ? 'You' : author))
  if (bot) head.append(make('span', 'tag', 'bot'))
  head.append(time)
  const bubble = make('p', 'bubble', text)
  bubble.dir = 'auto'
  bubble.title = fullTimeOf(at)
  const body = make('div', 'message-body', head, bubble)
  if (fate !== undefined) {
    item.classList.add('unfinished')
    item.dataset.fate = fate
    body.append(make('p', 'fate', `${FATES[fate]} ${error}`.trim()))
  }
  item.append(body)
  return item
}

/** @param {string} author @param {boolean} bot */
export function avatarOf (author, bot) {
  const avatar = make('span', bot ? 'avatar avatar-bot' : 'avatar')
  avatar.ariaHidden = 'true'
  // The bot's face is drawn by the style sheet.
  if (!bot) paintAvatar(avatar, author)
  return avatar
}
