// @ts-check
import { median, ratios, uncertainty } from './statistics.js'

/**
 * @typedef {object} Row
 * @property {string} name
 * @property {number} value The median of the rounds.
 * @property {number} least
 * @property {number} most
 * @property {number | undefined} [ratio] The median of the ratios of ours to this one.
 * @property {number | undefined} [error] The standard error of the ratio, or of the value if there is no ratio, as a
 * share of it. Unknown if there were less than three rounds.
 * @property {number} [target]
 * @property {boolean} [met]
 */

/** @typedef {{ about: Record<string, unknown>, results: Result[] }} Run What a run has saved. */

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
    const range = { least: Math.min(...rounds), most: Math.max(...rounds) }
    const row = { name: contender, value: median(rounds), ...range, error: known(uncertainty(rounds)) }
    const limit = limits[contender]
    if (limit !== undefined) return { ...row, target: limit, met: row.value <= limit }
    if (contender === subject || own.length === 0) return row
    const target = targets[contender]
    const each = ratios(own, rounds)
    const to = median(each)
    const compared = { ...row, ratio: to, error: known(uncertainty(each)) }
    return target === undefined ? compared : { ...compared, target, met: more ? to >= target : to <= target }
  })
  return { name, title, unit, subject, more, rows }
}

/**
 * @param {Result[]} results
 * @param {{ about?: Record<string, unknown>, heading?: boolean, before?: Run | undefined }} [options]
 */
export function markdown (results, { about, heading = true, before } = {}) {
  const parts = results.map(({ name, title, unit, subject, more, rows }) => [
    ...heading ? [`## ${title}: ${unit}`, '', `\`node bench/run.js ${name}\``, ''] : [],
    `| ${unit} | median | range | ${subject} ÷ this | target |${before ? ` since ${before.about.date} |` : ''}`,
    `|---|--:|--:|--:|--:|${before ? '---|' : ''}`,
    ...rows.map((row) => {
      const earlier = before?.results.find((result) => result.name === name)?.rows.find((one) => one.name === row.name)
      return line(row, more) + (before ? ` ${change(row, earlier, before.about, about)} |` : '')
    }),
    ''
  ].join('\n'))
  if (!heading || about === undefined) return parts.join('\n')
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

/**
 * Says whether a figure has moved beyond noise: by more than three standard errors of both runs, and by more than 3 %,
 * since each run starts other processes. Values without a ratio depend on the machine.
 * @param {Row} row
 * @param {Row | undefined} earlier
 * @param {Run['about']} before
 * @param {Record<string, unknown> | undefined} now
 */
function change (row, earlier, before, now) {
  if (earlier === undefined) return 'new'
  const compared = row.ratio !== undefined && earlier.ratio !== undefined
  if (!compared && (before.cpu !== now?.cpu || before.cores !== now?.cores)) return 'another machine'
  const [then, value] = compared ? [earlier.ratio, row.ratio] : [earlier.value, row.value]
  if (then === undefined || value === undefined || !(then > 0)) return ''
  const by = value / then - 1
  const noise = Math.max(0.03, 3 * ((row.error ?? Infinity) + (earlier.error ?? Infinity)))
  if (noise === Infinity) return 'too few rounds'
  const percent = `${by < 0 ? '−' : '+'}${Math.abs(by * 100).toFixed(0)} %`
  return Math.abs(by) > noise ? `**${percent}**` : `within ${(noise * 100).toFixed(0)} %`
}

/** @param {number} share */
function known (share) {
  return Number.isFinite(share) ? share : undefined
}

/** @param {number | undefined} value */
function cell (value) {
  return value === undefined || !Number.isFinite(value) ? '' : value.toFixed(2)
}

/** @param {number} value */
function short (value) {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3)
}
