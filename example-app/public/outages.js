// @ts-check
import { find } from './dom.js'

/** Long enough for somebody else to write something in the meantime. */
const DROP_MS = 5_000

/** The menu of outages that people can cause, to see that nothing comes of them. */
export class Outages {
  #menu = find('#outages', 'div')
  #stop = find('#stop-instance', 'button')

  /** @param {{ drop: (ms: number) => void, losePlace: () => void, instanceId: () => string, say: (text: string) => void }} actions */
  constructor ({ drop, losePlace, instanceId, say }) {
    this.#on('#drop', () => drop(DROP_MS))
    this.#on('#lose-place', losePlace)
    this.#on('#stop-instance', async () => say(await stop(instanceId())))
  }

  /** @param {string} selector @param {() => void} act */
  #on (selector, act) {
    find(selector, 'button', this.#menu).addEventListener('click', () => {
      this.#menu.hidePopover()
      act()
    })
  }

  /** An instance can be stopped only where something starts it again. */
  async offerStop () {
    const { restarts } = await fetch('/api/instance').then((response) => response.json()).catch(() => ({ restarts: false }))
    this.#stop.hidden = !restarts
    find('#no-restarts', 'p', this.#menu).hidden = restarts
  }
}

/** @param {string} instanceId @returns {Promise<string>} what came of it, for people */
async function stop (instanceId) {
  try {
    const response = await fetch('/api/instance/stop', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ instanceId }) })
    return response.ok ? `${instanceId} stops. This page goes on at whichever instance is there` : `${instanceId} can’t be stopped now: the server answered ${response.status}`
  } catch {
    return 'The server can’t be reached'
  }
}
