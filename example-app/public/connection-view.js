// @ts-check
import { find } from './dom.js'
import { RESET_REASONS } from './reset-reasons.js'

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
  showResumption ({ caughtUp, reset }) {
    const caughtUpText = messagesOf(caughtUp)
    if (reset !== undefined) this.showReload(reset, caughtUpText)
    else this.notify(`Resumed on ${this.instanceId}: nothing missed, ${caughtUpText}`, 'good')
  }

  /** @param {string} reset why @param {string} [result] */
  showReload (reset, result = 'nothing is missing') {
    const reason = RESET_REASONS[reset] ?? `Reason: ${reset}.`
    this.notify(`Reloaded from the database: ${result}. ${reason}`, 'good')
  }

  /** @param {string} text @param {'good' | 'warning'} kind */
  notify (text, kind) {
    clearTimeout(this.#timer)
    this.#notice.textContent = text
    this.#notice.dataset.kind = kind
    this.#timer = setTimeout(() => { this.#notice.textContent = '' }, NOTICE_MS)
  }
}

/** @param {number} caughtUp */
function messagesOf (caughtUp) {
  if (caughtUp === 0) return 'no new messages'
  return caughtUp === 1 ? '1 message caught up' : `${caughtUp} messages caught up`
}
