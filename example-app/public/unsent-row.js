// @ts-check
import { find, make } from './dom.js'
import { messageRow } from './message-row.js'

/** A message that is not known to be sent. @param {import('./outbox.js').Unsent} unsent */
export function unsentRow ({ key, text, author, at, state, reason }) {
  const row = messageRow({ text, author, at, mine: true, bot: false, continued: false })
  row.classList.add(state === 'sending' ? 'sending' : 'unsent')
  const body = find('.message-body', 'div', row)
  if (state === 'sending') {
    body.append(make('p', 'outcome', 'Sending…'))
  } else {
    const label = make('strong', '', state === 'unconfirmed' ? 'Not confirmed. ' : 'Not sent. ')
    body.append(make('p', 'outcome', label, reason), make('p', 'unsent-actions', retryButton(key), discardButton(key)))
  }
  return row
}

/** @param {string} key */
function retryButton (key) {
  const button = make('button', 'retry', 'Retry')
  button.type = 'button'
  button.dataset.retry = key
  return button
}

/** @param {string} key */
function discardButton (key) {
  const button = make('button', 'discard', 'Delete')
  button.type = 'button'
  button.dataset.discard = key
  return button
}
