// @ts-check
import { make, setText } from './dom.js'
import { number } from './format.js'
import { WINDOW_MS } from './instance-history.js'
import { Sparkline } from './sparkline.js'

/** A number and its chart. */
export class MeasureTile {
  element
  #measure
  #value = make('span', 'tile-value')
  #unit = make('span', 'tile-unit')
  #peak = make('span', 'tile-peak')
  #sparkline = new Sparkline()

  /** @param {import('./measures.js').TileMeasure} measure */
  constructor (measure) {
    this.#measure = measure
    const value = make('dd', '', make('span', 'tile-now', this.#value, this.#unit), this.#peak, this.#sparkline.element)
    this.element = make('div', 'tile', make('dt', '', measure.name), value)
    this.element.title = measure.about
  }

  /**
   * @param {import('./instance-history.js').InstanceHistory} history
   * @param {{ current: boolean, now: number }} context whether the last value is the current one
   */
  render (history, { current, now }) {
    const { measure, unit, atLeast } = this.#measure
    const runs = history.runs(measure)
    const values = runs.flat().flatMap(({ value }) => value ?? [])
    const peak = Math.max(0, ...values)
    const value = current ? values.at(-1) : undefined
    setText(this.#value, number(value))
    setText(this.#unit, value === undefined ? '' : unit)
    setText(this.#peak, values.length === 0 ? '' : `peak ${number(peak)}`)
    this.#sparkline.draw(runs, { from: now - WINDOW_MS, to: now, max: Math.max(peak, atLeast) })
  }
}
