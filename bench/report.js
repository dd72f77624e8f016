// @ts-check
import { median, ratio } from './statistics.js'

/**
 * @typedef {object} Row
 * @property {string} name
 * @property {number} value The median of the rounds.
 * @property {number} least
 * @property {number} most
 * @property {number | undefined} [ratio] The ratio of ours to this one.
 * @property {number} [target]
 * @property {boolean} [met]
 */

/** @typedef {{ name: string, title: string, unit: string, subject: string, more: boolean, rows: Row[] }} Result */

/**
 * @param {string} name
 * @param {import('./run.js').Scenario} scenario
 * @param {Record<string, number[]>} values
 * @returns {Result}
 */
export function summary (name, { title, unit, subject = 'ours', more = false, targets, limits = {} }, values) {
  const own = values[subject] ?? []
  const rows = Object.entries(values).map(([contender, rounds]) => {
    const row = { name: contender, value: median(rounds), least: Math.min(...rounds), most: Math.max(...rounds) }
    const limit = limits[contender]
    if (limit !== undefined) return { ...row, target: limit, met: row.value <= limit }
    if (contender === subject) return row
    const target = targets[contender]
    const to = own.length === 0 ? undefined : ratio(own, rounds)
    if (target === undefined || to === undefined) return { ...row, ratio: to }
    return { ...row, ratio: to, target, met: more ? to >= target : to <= target }
  })
  return { name, title, unit, subject, more, rows }
}

/**
 * @param {Result[]} results
 * @param {{ about?: Record<string, unknown>, heading?: boolean }} [options]
 */
export function markdown (results, { about, heading = true } = {}) {
  const parts = results.map(({ name, title, unit, subject, more, rows }) => [
    ...heading ? [`## ${title}`, '', `\`node bench/run.js ${name}\``, ''] : [],
    `| ${unit} | median | range | ${subject} ÷ this | target |`,
    '|---|--:|--:|--:|--:|',
    ...rows.map((row) => line(row, more)),
    ''
  ].join('\n'))
  if (about === undefined) return parts.join('\n')
  const facts = Object.entries(about).map(([key, value]) => `${key}: ${value}`).join(', ')
  return [`# Results\n\n${facts}\n`, ...parts].join('\n')
}

/**
 * @param {Row} row
 * @param {boolean} more
 */
function line (row, more) {
  const range = `${short(row.least)} – ${short(row.most)}`
  return `| ${row.name} | ${short(row.value)} | ${range} | ${cell(row.ratio)} | ${goal(row, more)} |`
}

/**
 * @param {Row} row
 * @param {boolean} more
 */
function goal ({ target, met }, more) {
  return target === undefined ? '' : `${more ? '≥' : '≤'} ${target.toFixed(2)} ${met ? '✓' : '✗'}`
}

/** @param {number | undefined} value */
function cell (value) {
  return value === undefined || !Number.isFinite(value) ? '' : value.toFixed(2)
}

/** @param {number} value */
function short (value) {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3)
}
