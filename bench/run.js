// @ts-check
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { describeProfiles } from './profile.js'
import { markdown, summary } from './report.js'
import { scenarios } from './scenarios/index.js'

/**
 * @typedef {object} Context
 * @property {{ least: number, most: number }} rounds More than the least follow only while ratios are uncertain.
 * @property {number} scale The share of the usual work that a round does.
 * @property {boolean} check Whether only the scenario is tested, and its values are ignored.
 * @property {(text: string) => void} note
 */

/**
 * One measurement.
 * @typedef {object} Scenario
 * @property {string} title
 * @property {string} unit
 * @property {string | undefined} [subject] The contender that has the targets. Default: ours.
 * @property {boolean} [more] Whether more is better.
 * @property {Record<string, number>} targets The limit of its ratio to each of the others.
 * @property {Record<string, number>} [limits] The maximum of a value itself.
 * @property {(() => string | undefined) | undefined} [missing] Returns why it cannot be measured here.
 * @property {boolean} [quick] Whether a quick run can measure it. Default: true.
 * @property {number} [files] The number of files that a process has open.
 * @property {(context: Context) => Promise<Record<string, number[]>>} run Resolves with the values of each
 * contender, one for each round.
 */

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    verbose: { type: 'boolean', short: 'v', default: false },
    profile: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    out: { type: 'string', default: new URL('results', import.meta.url).pathname }
  }
})

// An exit also ends the processes that were started.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

if (!existsSync(new URL('../dist/index.js', import.meta.url))) {
  fail('There is no dist/: run `npm run build` in the folder above first.')
}
const names = positionals.length === 0 ? Object.keys(scenarios) : positionals
const unknown = names.filter((name) => !(name in scenarios))
if (unknown.length > 0) {
  fail(`There is no scenario ${unknown.join(', ')}. The scenarios are ${Object.keys(scenarios).join(', ')}.`)
}

// `--check` only proves that the scenarios still work.
const few = options.check ? 1 : options.quick ? 3 : undefined
const given = options.rounds === undefined ? few : Number(options.rounds)
const rounds = { least: given ?? 4, most: given ?? 7 }
/** @param {string} text */
const note = (text) => { if (options.verbose) console.log(`  ${text}`) }
const scale = options.check ? 0.04 : options.quick ? 0.12 : 1
const about = {
  date: new Date().toISOString().slice(0, 10),
  node: process.version,
  cpu: cpus()[0]?.model,
  cores: cpus().length
}
/** The last run that was committed. */
const committed = new URL('committed.json', import.meta.url)
/** @type {import('./report.js').Run | undefined} */
const before = existsSync(committed) ? JSON.parse(readFileSync(committed, 'utf8')) : undefined
const profiles = `${options.out}/profiles`
if (options.profile) {
  rmSync(profiles, { recursive: true, force: true })
  process.env.BENCH_PROFILES = profiles
}
/** @type {import('./report.js').Result[]} */
const results = []
for (const name of names) {
  const scenario = /** @type {Scenario} */ (scenarios[name])
  console.log(`\n${scenario.title}: ${scenario.unit}`)
  const reason = scenario.missing?.() ?? lacksFiles(scenario) ?? needsTime(scenario)
  if (reason !== undefined) {
    console.log(`Skipped: ${reason}`)
    continue
  }
  const startedAt = performance.now()
  const values = await scenario.run({ rounds, scale, check: options.check, note })
  note(`took ${Math.round((performance.now() - startedAt) / 1_000)} s`)
  const result = summary(name, scenario, values)
  results.push(result)
  console.log(options.check ? 'works' : markdown([result], { heading: false, about, before }))
  if (!options.check) save()
}
if (options.profile) {
  console.log(`\nWhere each server spent its time, from ${profiles}:\n\n${describeProfiles(profiles)}`)
}

/** Saves the results after each scenario, so that an interrupted run leaves the results so far. */
function save () {
  mkdirSync(options.out, { recursive: true })
  const run = { about: { ...about, quick: options.quick }, results }
  const text = (/** @type {import('./report.js').Run} */ saved) => JSON.stringify(saved, null, 2) + '\n'
  writeFileSync(`${options.out}/results.json`, text(run))
  writeFileSync(`${options.out}/results.md`, markdown(results, { about, before }))
  if (options.keep) writeFileSync(committed, text({ ...run, results: withCommitted(results) }))
}

/**
 * The results of this run, and those of the last committed run for all other scenarios.
 * @param {import('./report.js').Result[]} results
 */
function withCommitted (results) {
  return Object.keys(scenarios).flatMap((name) => {
    const isNamed = (/** @type {{ name: string }} */ result) => result.name === name
    return results.find(isNamed) ?? before?.results.find(isNamed) ?? []
  })
}

/** @param {Scenario} scenario */
function lacksFiles ({ files = 0 }) {
  const path = '/proc/self/limits'
  // Without this file, as on macOS, the scenario is tried.
  if (!existsSync(path)) return undefined
  const limit = Number(/Max open files\s+(\d+)/.exec(readFileSync(path, 'utf8'))?.[1])
  return limit < files ? `it takes ${files} open files, and \`ulimit -n\` is ${limit}` : undefined
}

/** @param {Scenario} scenario */
function needsTime ({ quick = true }) {
  return options.quick && !quick ? 'it takes longer than a quick run' : undefined
}

/** @param {string} reason */
function fail (reason) {
  console.error(reason)
  process.exit(1)
}
