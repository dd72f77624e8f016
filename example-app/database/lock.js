// @ts-check
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Reserves a directory, which is created if there is none, for this process. Throws if another process has reserved it.
 * The lock of a process that was killed does not count.
 *
 * @param {string} directory
 * @returns {() => void} releases it
 */
export function lockDirectory (directory) {
  mkdirSync(directory, { recursive: true })
  const file = join(directory, 'process-id')
  const owner = ownerOf(file)
  if (owner !== undefined && isRunning(owner)) {
    throw new Error(`Process ${owner} uses the database in ${directory}. Stop it, or set DATA_DIR to another ` +
      `directory. If process ${owner} is not this app, delete ${file}.`)
  }
  rmSync(file, { force: true })
  // Fails if another process has just written it.
  writeFileSync(file, String(process.pid), { flag: 'wx' })
  return () => rmSync(file, { force: true })
}

/** @param {string} file */
function ownerOf (file) {
  try {
    return Number(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}

/** Another process. The one before a restart may have had the id of this process, in a container. @param {number} id */
function isRunning (id) {
  if (!(id > 0) || id === process.pid) return false
  try {
    return process.kill(id, 0)
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM'
  }
}
