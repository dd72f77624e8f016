// @ts-check
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
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
  const file = join(directory, `process-${process.pid}`)
  const unlock = () => rmSync(file, { force: true })
  // Before the others are read: of two processes that start at once, at least one sees the other.
  writeFileSync(file, '')
  for (const name of readdirSync(directory)) {
    const id = Number(/^process-(\d+)$/.exec(name)?.[1])
    if (Number.isNaN(id) || id === process.pid) continue
    const other = join(directory, name)
    if (isRunning(id)) {
      unlock()
      throw new Error(`Process ${id} uses the database in ${directory}. Stop it, or set DATA_DIR to another ` +
        `directory. If process ${id} is not this app, delete ${other}.`)
    }
    rmSync(other, { force: true })
  }
  return unlock
}

/** @param {number} id */
function isRunning (id) {
  if (id === 0) return false
  try {
    return process.kill(id, 0)
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM'
  }
}
