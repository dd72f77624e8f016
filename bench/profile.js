// @ts-check
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { Session } from 'node:inspector/promises'
import { basename } from 'node:path'

/** @typedef {import('node:inspector').Profiler.Profile} Profile */

/** The process is idle, or serves the profiler. */
const IDLE = new Set(['(idle)', 'dispatch'])

/** @type {Session | undefined} */
let session

/** Starts to profile this process. */
export async function startProfile () {
  if (session === undefined) {
    session = new Session()
    session.connect()
    await session.post('Profiler.enable')
  }
  await session.post('Profiler.start')
}

/**
 * Ends the profile of this process, and saves it for `describeProfiles` and for the developer tools of Chromium.
 * @param {string} folder
 * @param {string} name
 * @param {number} number
 */
export async function saveProfile (folder, name, number) {
  const profile = (await session?.post('Profiler.stop'))?.profile
  mkdirSync(folder, { recursive: true })
  const file = `${name.replaceAll(/[^\w]+/g, '-')}.${process.pid}.${number}.cpuprofile`
  writeFileSync(`${folder}/${file}`, JSON.stringify(profile))
}

/**
 * Returns the functions of each process that took the most time while it was measured.
 * @param {string} folder
 * @param {number} [count]
 */
export function describeProfiles (folder, count = 12) {
  /** @type {Map<string, Map<string, number>>} */
  const processes = new Map()
  for (const file of readdirSync(folder).sort()) {
    const [name = '', pid] = file.split('.')
    const times = processes.get(`${name}, process ${pid}`) ?? new Map()
    processes.set(`${name}, process ${pid}`, times)
    addTimes(times, JSON.parse(readFileSync(`${folder}/${file}`, 'utf8')))
  }
  return [...processes].map(([name, times]) => {
    const total = [...times.values()].reduce((sum, ms) => sum + ms, 0)
    const lines = [...times].sort(([, a], [, b]) => b - a).slice(0, count)
      .map(([where, ms]) => `${(ms / total * 100).toFixed(1).padStart(5)} %  ${where}`)
    return [`${name}: ${(total / 1_000).toFixed(2)} s`, ...lines].join('\n')
  }).join('\n\n')
}

/**
 * Adds the ms that each function ran itself, without the time when the process was idle.
 * @param {Map<string, number>} times
 * @param {Profile} profile
 */
function addTimes (times, { nodes, samples = [], timeDeltas = [] }) {
  const names = new Map(nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => [
    id, `${functionName || '(anonymous)'}${url === '' ? '' : ` ${basename(url)}:${lineNumber + 1}`}`
  ]))
  samples.forEach((id, index) => {
    const name = names.get(id) ?? ''
    if (!IDLE.has(name)) times.set(name, (times.get(name) ?? 0) + (timeDeltas[index] ?? 0) / 1_000)
  })
}
