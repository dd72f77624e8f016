// @ts-check
import { find } from './dom.js'

const LABELS = { connecting: 'Connecting…', live: 'Live', reconnecting: 'Reconnecting…', offline: 'Offline', refused: 'Refused' }
const NOTICE_MS = 6_000

/** The connection as people see it: how it is, who serves it, and how the page came back. */
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
    this.#instance.title = `This stream comes from the instance ${instanceId}`
    this.#instance.hidden = instanceId === ''
  }

  /** @param {import('./connection.js').Return} how */
  showReturn ({ caughtUp, certain }) {
    const what = caughtUp === 0 ? 'nobody wrote meanwhile' : `${caughtUp} ${caughtUp === 1 ? 'message' : 'messages'} caught up`
    const text = certain ? `Resumed on ${this.instanceId}: nothing missed, ${what}` : `Back on ${this.instanceId}, but something may be missing`
    this.say(text, certain ? 'good' : 'doubtful')
  }

  /** @param {string} text @param {'good' | 'doubtful'} kind */
  say (text, kind) {
    clearTimeout(this.#timer)
    this.#notice.textContent = text
    this.#notice.dataset.kind = kind
    this.#timer = setTimeout(() => { this.#notice.textContent = '' }, NOTICE_MS)
  }
}
