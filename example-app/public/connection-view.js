// @ts-check
import { find } from './dom.js'

const LABELS = {
  connecting: 'Connecting…', live: 'Live', reconnecting: 'Reconnecting…', offline: 'Offline', refused: 'Refused'
}
const NOTICE_MS = 6_000

/** Shows the state of the connection, the instance that serves it, and what a reconnect brought. */
export class ConnectionView {
  #connection = find('#connection', 'p')
  #label = find('[data-part="label"]', 'span', this.#connection)
  #instance = find('#instance', 'span')
  #notice = find('#notice', 'p')
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer

  get instanceId () {
    return this.#instance.textContent ?? ''
  }

  /** @param {import('./connection.js').ConnectionState} state */
  showState (state) {
    this.#connection.dataset.state = state
    this.#label.textContent = LABELS[state]
  }

  /** @param {string} instanceId */
  showInstance (instanceId) {
    this.#instance.textContent = instanceId
    this.#instance.title = `This stream is served by the instance ${instanceId}`
    this.#instance.hidden = instanceId === ''
  }

  /** @param {import('./connection.js').Resumption} resumption */
  showResumption ({ caughtUp, loss }) {
    if (loss === 'none') {
      this.notify(`Resumed on ${this.instanceId}: nothing missed, ${messagesOf(caughtUp)}`, 'good')
    } else {
      const messages = loss === 'certain' ? 'messages are missing' : 'messages may be missing'
      this.notify(`Reconnected to ${this.instanceId}: ${messages}`, 'warning')
    }
  }

  /** @param {string} text @param {'good' | 'warning'} kind */
  notify (text, kind) {
    clearTimeout(this.#timer)
    this.#notice.textContent = text
    this.#notice.dataset.kind = kind
    this.#timer = setTimeout(() => { this.#notice.textContent = '' }, NOTICE_MS)
  }

  /** Removes the notice that nothing was missed. It is no longer true after a reset. */
  withdrawResumption () {
    if (this.#notice.dataset.kind === 'good') this.#notice.textContent = ''
  }
}

/** @param {number} caughtUp */
function messagesOf (caughtUp) {
  if (caughtUp === 0) return 'no new messages'
  return caughtUp === 1 ? '1 message caught up' : `${caughtUp} messages caught up`
}
