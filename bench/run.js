// @ts-check
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { markdown, summary } from './report.js'
import { scenarios } from './scenarios/index.js'

/**
 * @typedef {object} Context
 * @property {number} rounds
 * @property {number} scale How much of the usual work a round does.
 * @property {boolean} check Whether nobody looks at the values.
 * @property {(text: string) => void} note
 */

/**
 * One thing that is measured.
 * @typedef {object} Scenario
 * @property {string} title
 * @property {string} unit
 * @property {string | undefined} [subject] Whom the targets are about. Default: ours.
 * @property {boolean} [more] Whether more is better.
 * @property {Record<string, number>} targets What its ratio to each of the others may be.
 * @property {Record<string, number>} [limits] What a value itself may be.
 * @property {(() => string | undefined) | undefined} [missing] Why it can't be measured here, if so.
 * @property {number} [files] How many files a process has open.
 * @property {(context: Context) => Promise<Record<string, number[]>>} run Returns the values of each contender, one a round.
 */

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '7' },
    quick: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    verbose: { type: 'boolean', short: 'v', default: false },
    out: { type: 'string', default: new URL('results', import.meta.url).pathname }
  }
})

// So that what was started ends, too.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

if (!existsSync(new URL('../dist/index.js', import.meta.url))) fail('There is no dist/: run `npm run build` in the folder above first.')
const names = positionals.length === 0 ? Object.keys(scenarios) : positionals
const unknown = names.filter((name) => !(name in scenarios))
if (unknown.length > 0) fail(`There is no scenario ${unknown.join(', ')}. The scenarios are ${Object.keys(scenarios).join(', ')}.`)

// `--check` only proves that the scenarios still work.
const rounds = options.check ? 1 : options.quick ? 3 : Number(options.rounds)
const scale = options.check ? 0.02 : options.quick ? 0.3 : 1
/** @type {import('./report.js').Result[]} */
const results = []
for (const name of names) {
  const scenario = /** @type {Scenario} */ (scenarios[name])
  console.log(`\n${scenario.title}`)
  const reason = scenario.missing?.() ?? lacksFiles(scenario)
  if (reason !== undefined) {
    console.log(`Skipped: ${reason}`)
    continue
  }
  const values = await scenario.run({ rounds, scale, check: options.check, note: (text) => { if (options.verbose) console.log(`  ${text}`) } })
  const result = summary(name, scenario, values)
  results.push(result)
  console.log(options.check ? 'works' : markdown([result], { heading: false }))
  if (!options.check) save()
}

/** After each scenario, so that a run which is broken off leaves what it has found. */
function save () {
  mkdirSync(options.out, { recursive: true })
  const about = { date: new Date().toISOString().slice(0, 10), node: process.version, cpu: cpus()[0]?.model, cores: cpus().length, rounds, quick: options.quick }
  writeFileSync(`${options.out}/results.json`, JSON.stringify({ about, results }, null, 2) + '\n')
  writeFileSync(`${options.out}/results.md`, markdown(results, { about }))
}

/** @param {Scenario} scenario */
function lacksFiles ({ files = 0 }) {
  // Where there is no such file, such as on macOS, we find out by trying.
  const limit = existsSync('/proc/self/limits') ? Number(/Max open files\s+(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]) : Infinity
  return limit < files ? `it takes ${files} open files, and \`ulimit -n\` is ${limit}` : undefined
}

/** @param {string} reason */
function fail (reason) {
  console.error(reason)
  process.exit(1)
}
