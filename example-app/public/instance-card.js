// @ts-check
import { make, setText } from './dom.js'
import { facts } from './facts.js'
import { labels } from './instance-status.js'
import { MeasureTile } from './measure-tile.js'
import { measures } from './measures.js'

/** The shape distinguishes them without colours. @type {Record<import('./instance-status.js').Status, string>} */
const signs = { ok: '✓', degraded: '!', down: '✕', stopped: '–', unknown: '?' }

/** Shows one instance. */
export class InstanceCard {
  element = make('article', 'card')
  #serving = make('span', 'card-serving')
  #sign = make('span', 'status-sign')
  #label = make('span')
  #status = make('p', 'status', this.#sign, this.#label)
  #reason = make('p', 'card-reason')
  #tiles = measures.map((measure) => new MeasureTile(measure))
  #facts = facts.map(({ name, text }) => ({ name, text, value: make('dd') }))

  /** @param {string} instanceId */
  constructor (instanceId) {
    const heading = make('h2', 'card-name', instanceId)
    this.element.setAttribute('aria-label', instanceId)
    this.#sign.setAttribute('aria-hidden', 'true')
    this.element.append(
      make('header', 'card-head', make('div', 'card-title', heading, this.#serving), this.#status),
      this.#reason,
      make('dl', 'tiles', ...this.#tiles.map(({ element }) => element)),
      make('dl', 'facts', ...this.#facts.map(({ name, value }) => make('div', 'fact', make('dt', '', name), value)))
    )
  }

  /**
   * @param {import('./instance-history.js').InstanceHistory} history
   * @param {ReturnType<typeof import('./instance-status.js').statusOf>} state
   * @param {{ serving: boolean, now: number }} context whether this instance serves the page
   */
  render (history, { status, reason }, { serving, now }) {
    this.element.dataset.status = status
    setText(this.#serving, serving ? 'serves this page' : '')
    setText(this.#sign, signs[status])
    setText(this.#label, labels[status])
    setText(this.#reason, reason)
    const current = status !== 'stopped' && status !== 'unknown'
    for (const tile of this.#tiles) tile.render(history, { current, now })
    const { last } = history
    if (last !== undefined) for (const { text, value } of this.#facts) setText(value, text(last.report))
  }
}
