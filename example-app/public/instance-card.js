// @ts-check
import { make } from './dom.js'
import { WINDOW_MS } from './instance-history.js'
import { words } from './instance-status.js'
import { measures } from './measures.js'
import { Sparkline } from './sparkline.js'

/** @typedef {import('./instance-history.js').Report} Report */

/** By their shape, too: not everybody tells the colours apart. @type {Record<import('./instance-status.js').Status, string>} */
const signs = { ok: '✓', degraded: '!', down: '✕', gone: '–', unknown: '?' }

/** What is told in passing. @type {readonly { name: string, text: (report: Report) => string }[]} */
const facts = [
  { name: 'Provider', text: ({ provider }) => provider },
  { name: 'Connections', text: ({ connections }) => connected(Object.values(connections)) },
  { name: 'Up for', text: ({ uptime }) => duration(uptime) },
  { name: 'Streams opened', text: total('realtime_streams_opened_total') },
  { name: 'Told to reload', text: total('realtime_resets_total') },
  { name: 'Catch-ups', text: total('realtime_resyncs_total') },
  { name: 'Publishes failed', text: total('pubsub_publish_failures_total') },
  { name: 'Slow clients cut', text: total('realtime_slow_clients_total') }
]

/** What the page shows of one instance. */
export class InstanceCard {
  element = make('article', 'card')
  #serving = make('span', 'card-serving')
  #sign = make('span', 'status-sign')
  #word = make('span')
  #status = make('p', 'status', this.#sign, this.#word)
  #reason = make('p', 'card-reason')
  #tiles = measures.map((of) => new Tile(of))
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
    setText(this.#word, words[status])
    setText(this.#reason, reason)
    for (const tile of this.#tiles) tile.render(history, { silent: status === 'gone' || status === 'unknown', now })
    const { last } = history
    if (last !== undefined) for (const { text, value } of this.#facts) setText(value, text(last.report))
  }
}

/** One number and its chart. */
class Tile {
  element
  #of
  #value = make('span', 'tile-value')
  #unit = make('span', 'tile-unit')
  #peak = make('span', 'tile-peak')
  #sparkline = new Sparkline()

  /** @param {typeof measures[number]} of */
  constructor (of) {
    this.#of = of
    const value = make('dd', '', make('span', 'tile-now', this.#value, this.#unit), this.#peak, this.#sparkline.element)
    this.element = make('div', 'tile', make('dt', '', of.name), value)
    this.element.title = of.about
  }

  /** @param {import('./instance-history.js').InstanceHistory} history @param {{ silent: boolean, now: number }} context whether nobody knows what it is now */
  render (history, { silent, now }) {
    const { measure, unit, atLeast } = this.#of
    const points = history.points(measure)
    const values = points.flatMap(({ value }) => value ?? [])
    const peak = Math.max(0, ...values)
    const value = silent ? undefined : values.at(-1)
    setText(this.#value, number(value))
    setText(this.#unit, value === undefined ? '' : unit)
    setText(this.#peak, values.length === 0 ? '' : `peak ${number(peak)}`)
    this.#sparkline.draw(points, { from: now - WINDOW_MS, to: now, max: Math.max(peak, atLeast) })
  }
}

/** A text that is set anew is a change to whoever watches. @param {Element} element @param {string} text */
function setText (element, text) {
  if (element.textContent !== text) element.textContent = text
}

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const exact = new Intl.NumberFormat('en', { maximumFractionDigits: 1 })

/** @param {number | undefined} value */
function number (value) {
  return value === undefined ? '–' : (value < 10 ? exact : whole).format(value)
}

/** Without Redis there are none. @param {readonly boolean[]} connections */
function connected (connections) {
  return connections.length === 0 ? 'none needed' : `${connections.filter(Boolean).length} of ${connections.length} up`
}

/** @param {string} name @returns {(report: Report) => string} */
function total (name) {
  return ({ metrics }) => whole.format(metrics[name] ?? 0)
}

/** @param {number} seconds */
function duration (seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`
  return `${Math.floor(seconds / 3_600)} h ${Math.floor(seconds % 3_600 / 60)} min`
}
