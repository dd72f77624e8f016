// @ts-check
import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

/** @typedef {import('./report.js').Result} Result */

// Draws bar charts from the results of run.js, for the scenarios that are named as arguments. Our bar comes first.

const { values: { results, out }, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    results: { type: 'string', default: new URL('results/results.json', import.meta.url).pathname },
    out: { type: 'string', default: new URL('../docs/performance.svg', import.meta.url).pathname }
  }
})

const WIDTH = 720
const LABEL = 170
const BAR = 16
const ROW = 24
const TITLE = 44

/** @type {Result[]} */
const all = JSON.parse(readFileSync(results, 'utf8')).results
const chosen = positionals.length === 0
  ? all
  : positionals.flatMap((name) => all.find((result) => result.name === name) ?? [])
let y = 0
const parts = chosen.map((result) => {
  const part = bars(result, y)
  y += TITLE + result.rows.length * ROW + 12
  return part
})
const size = `viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" height="${y}"`
const label = escape(chosen.map(({ title }) => title).join('; '))
writeFileSync(out, `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" aria-label="${label}">
<style>
text { font: 13px system-ui, sans-serif; fill: #1f2933 }
.title { font-weight: 600 }
.unit { fill: #61707f }
.bar { fill: #9aa8b5 }
.own { fill: #0b7285 }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e9ee }
  .unit { fill: #9aa8b5 }
  .bar { fill: #52606d }
  .own { fill: #22b8cf }
}
</style>
${parts.join('\n')}
</svg>
`)

/**
 * @param {Result} result
 * @param {number} top
 */
function bars ({ title, unit, subject, more, rows }, top) {
  const most = Math.max(...rows.map(({ value }) => value))
  const isOwn = (/** @type {string} */ name) => name.startsWith(subject)
  const sorted = [...rows].sort((a, b) =>
    Number(isOwn(b.name)) - Number(isOwn(a.name)) || (more ? b.value - a.value : a.value - b.value))
  return [
    `<text class="title" x="0" y="${top + 18}">${escape(title)}</text>`,
    `<text class="unit" x="0" y="${top + 35}">${escape(unit)}${more ? ', more is better' : ', less is better'}</text>`,
    ...sorted.map(({ name, value }, index) => {
      const at = top + TITLE + index * ROW
      const length = Math.max(1, value / most * (WIDTH - LABEL - 70))
      return `<text x="0" y="${at + 13}">${escape(name)}</text>` +
        `<rect class="${isOwn(name) ? 'own' : 'bar'}" ` +
        `x="${LABEL}" y="${at}" width="${length.toFixed(1)}" height="${BAR}" rx="3"/>` +
        `<text x="${(LABEL + length + 8).toFixed(1)}" y="${at + 13}">${short(value)}</text>`
    })
  ].join('\n')
}

/** @param {number} value */
function short (value) {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3)
}

/** @param {string} text */
function escape (text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}
