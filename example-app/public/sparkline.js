// @ts-check

const SVG = 'http://www.w3.org/2000/svg'
const WIDTH = 120
const HEIGHT = 32
/** Space for half of the line's width, above and below. */
const MARGIN = 2

/** A small chart of the last minutes. It shows numbers that stand beside it as text. */
export class Sparkline {
  element = svg('svg', {
    class: 'sparkline',
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: 'none',
    'aria-hidden': 'true',
    focusable: 'false'
  })

  #area = svg('path', { class: 'sparkline-area' })
  #line = svg('path', { class: 'sparkline-line', 'vector-effect': 'non-scaling-stroke' })

  constructor () {
    this.element.append(this.#area, this.#line)
  }

  /**
   * Draws a line for each run. A point without a value lies on the base line, so a value between two such points is a
   * peak, not a dot.
   *
   * @param {readonly import('./instance-history.js').Point[][]} runs
   * @param {{ from: number, to: number, max: number }} scale of time, and of values from 0 on
   */
  draw (runs, { from, to, max }) {
    const lines = runs.filter((run) => run.length > 1).map((run) => run.map(({ at, value = 0 }) => [
      round((at - from) / (to - from) * WIDTH),
      round(HEIGHT - MARGIN - value / max * (HEIGHT - 2 * MARGIN))
    ].join(' ')))
    const paths = lines.map((line) => `M${line.join('L')}`)
    this.#line.setAttribute('d', paths.join(''))
    const areas = paths.map((path, index) => `${path}V${HEIGHT}H${lines[index]?.[0]?.split(' ')[0]}Z`)
    this.#area.setAttribute('d', areas.join(''))
  }
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
