// @ts-check
import { find } from './dom.js'

/** Long enough to write something in another window. */
const DROP_MS = 5_000

/**
 * @typedef {object} Outages
 * @property {(ms: number) => void} drop
 * @property {() => void} losePosition
 * @property {() => string} instanceId
 * @property {(text: string) => void} warn
 */

/** The menu of outages that a user can cause. */
export class OutageMenu {
  #menu = find('#outages', 'div')
  #stop = find('#stop-instance', 'button')

  /** @param {Outages} outages */
  constructor ({ drop, losePosition, instanceId, warn }) {
    this.#on('#drop', () => drop(DROP_MS))
    this.#on('#lose-position', losePosition)
    this.#on('#stop-instance', async () => warn(await stop(instanceId())))
  }

  /** @param {string} selector @param {() => void} act */
  #on (selector, act) {
    find(selector, 'button', this.#menu).addEventListener('click', () => {
      this.#menu.hidePopover()
      act()
    })
  }

  /** Offers to stop the instance if it is restarted then. */
  async offerStop () {
    const { restarts } = await fetch('/api/instance').then((response) => response.json(), () => ({ restarts: false }))
    this.#stop.hidden = !restarts
    find('#no-restarts', 'p', this.#menu).hidden = restarts
  }
}

/** @param {string} instanceId @returns {Promise<string>} the result, for users */
async function stop (instanceId) {
  const headers = { 'content-type': 'application/json' }
  try {
    const body = JSON.stringify({ instanceId })
    const { ok, status } = await fetch('/api/instance/stop', { method: 'POST', headers, body })
    if (!ok) return `${instanceId} could not be stopped: the server answered ${status}`
    return `${instanceId} is stopping. This page reconnects to another instance`
  } catch {
    return 'The server is unreachable'
  }
}
