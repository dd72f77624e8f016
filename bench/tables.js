// @ts-check
import { readFileSync, writeFileSync } from 'node:fs'
import { markdown } from './report.js'

/** A comment that names a scenario, and the table after it. */
const TABLE = /<!-- bench: (?<name>[\w-]+) -->\n\n(?:\|.*\n)*/g

/** @type {import('./report.js').Run} */
const { results } = JSON.parse(readFileSync(new URL('committed.json', import.meta.url), 'utf8'))
const page = new URL('../docs/performance.md', import.meta.url)
writeFileSync(page, readFileSync(page, 'utf8').replace(TABLE, (table, name) => {
  const result = results.find((one) => one.name === name)
  return result === undefined ? table : `<!-- bench: ${name} -->\n\n${markdown([result], { heading: false })}`
}))
