// @ts-check
import { execFileSync } from 'node:child_process'
import { chownSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { exists, startDaemon } from './daemon.js'
import { freePort } from './free-port.js'

const ROOT = '/usr/lib/postgresql'

/** Microseconds of a tick of the kernel's clock, in which it counts the CPU time of processes. */
const TICK = 10_000

/** Nothing waits for the disk, so the differences between the contenders are not hidden by it. */
const SETTINGS = [
  'fsync=off', 'synchronous_commit=off', 'full_page_writes=off', 'max_connections=200', 'log_min_messages=panic'
]

/** Returns why PostgreSQL cannot be started here, or `undefined`. */
export function postgresIsMissing () {
  return programs() === undefined ? 'PostgreSQL is not installed' : undefined
}

/** Starts a PostgreSQL, as its own user if this process is root. */
export async function startPostgres () {
  const bin = /** @type {string} */ (programs())
  const port = await freePort()
  const user = owner()
  const daemon = await startDaemon(join(bin, 'postgres'), (folder) => {
    if (user !== undefined) chownSync(folder, user.uid, user.gid)
    const args = ['-D', `${folder}/data`, '-U', 'postgres', '-A', 'trust', '-N', '-E', 'UTF8', '--locale=C']
    execFileSync(join(bin, 'initdb'), args, { ...user, cwd: folder, stdio: 'ignore' })
    const settings = SETTINGS.flatMap((value) => ['-c', value])
    return ['-D', `${folder}/data`, '-h', '127.0.0.1', '-p', String(port), '-k', folder, ...settings]
  }, port, { ...user, signal: 'SIGQUIT' })
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  const pool = new pg.Pool({ connectionString: url })
  // It listens before it is ready for queries.
  while (!await pool.query('SELECT').then(() => true, () => false)) await delay(50)
  return {
    url,
    pool,
    /** CPU time of all its processes so far, in µs. */
    cpu: () => cpuOf(daemon.pid),
    async stop () {
      await pool.end()
      await daemon.stop()
    }
  }
}

/** Returns the folder of the programs of the newest version. */
function programs () {
  if (!exists(ROOT)) return undefined
  const versions = readdirSync(ROOT).sort((a, b) => Number(b) - Number(a))
  return versions.map((version) => join(ROOT, version, 'bin')).find((bin) => exists(join(bin, 'initdb')))
}

/** Returns the user that the package of PostgreSQL has created, if this process is root. */
function owner () {
  if (process.getuid?.() !== 0) return undefined
  const id = (/** @type {string} */ flag) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

/**
 * Returns the CPU time of a process and of its children, including those that have ended.
 * @param {number} pid
 */
function cpuOf (pid) {
  let ticks = 0
  for (const entry of readdirSync('/proc')) {
    const [, ppid, user = 0, system = 0, endedUser = 0, endedSystem = 0] = timesOf(entry)
    if (Number(entry) === pid) ticks += user + system + endedUser + endedSystem
    else if (ppid === pid) ticks += user + system
  }
  return ticks * TICK
}

/**
 * Returns the state, the parent and the times of a process, or nothing if it has ended.
 * @param {string} entry
 */
function timesOf (entry) {
  if (!/^\d+$/.test(entry)) return []
  try {
    const stat = readFileSync(`/proc/${entry}/stat`, 'latin1')
    // The name of the program is in parentheses, and may contain anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return [fields[0], fields[1], fields[11], fields[12], fields[13], fields[14]].map(Number)
  } catch {
    return []
  }
}
