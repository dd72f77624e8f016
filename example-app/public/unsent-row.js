// @ts-check
import { find, make } from './dom.js'
import { messageRow } from './message-row.js'

/** A message that no event has brought yet. @param {import('./outbox.js').Unsent} unsent */
export function unsentRow ({ key, text, author, at, state, reason }) {
  const row = messageRow({ text, author, at, mine: true, bot: false, continued: false })
  row.classList.add(state === 'failed' ? 'unsent' : state)
  const body = find('.message-body', 'div', row)
  if (state === 'failed') {
    const outcome = make('p', 'outcome', make('strong', '', 'Not confirmed. '), reason)
    body.append(outcome, make('p', 'unsent-actions', retryButton(key), discardButton(key)))
  } else {
    const text = state === 'sending' ? 'Sending…' : 'Stored. Delivered as soon as the server reaches Redis.'
    body.append(make('p', 'outcome', text))
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
