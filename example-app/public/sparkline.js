// @ts-check

const SVG = 'http://www.w3.org/2000/svg'
const WIDTH = 120
const HEIGHT = 32
/** Room for half of the line's width, above and below. */
const MARGIN = 2

/** A small chart of the last while. It is a picture of numbers that stand beside it as text. */
export class Sparkline {
  element = svg('svg', { class: 'sparkline', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true', focusable: 'false' })
  #area = svg('path', { class: 'sparkline-area' })
  #line = svg('path', { class: 'sparkline-line', 'vector-effect': 'non-scaling-stroke' })

  constructor () {
    this.element.append(this.#area, this.#line)
  }

  /**
   * @param {readonly import('./instance-history.js').Point[]} points
   * @param {{ from: number, to: number, max: number }} scale of time, and of values from 0 on
   */
  draw (points, { from, to, max }) {
    const runs = runsOf(points).map((run) => run.map(({ at, value }) => [
      round((at - from) / (to - from) * WIDTH),
      round(HEIGHT - MARGIN - value / max * (HEIGHT - 2 * MARGIN))
    ].join(' ')))
    // A point that stands alone becomes a dot, since the line's ends are round.
    this.#line.setAttribute('d', runs.map((run) => `M${run.join('L')}h0`).join(''))
    this.#area.setAttribute('d', runs.map((run) => `M${run.join('L')}V${HEIGHT}H${run[0]?.split(' ')[0]}Z`).join(''))
  }
}

/** Parts the points where there is no value. @param {readonly import('./instance-history.js').Point[]} points */
function runsOf (points) {
  /** @type {{ at: number, value: number }[][]} */
  const runs = []
  let open = false
  for (const { at, value } of points) {
    if (value === undefined) {
      open = false
    } else if (open) {
      runs.at(-1)?.push({ at, value })
    } else {
      runs.push([{ at, value }])
      open = true
    }
  }
  return runs
}

/** @param {number} value */
function round (value) {
  return Math.round(value * 10) / 10
}

/** @template {keyof SVGElementTagNameMap} Tag @param {Tag} tag @param {Record<string, string>} attributes */
function svg (tag, attributes) {
  const element = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  return element
}
