// @ts-check
import { spawn } from 'node:child_process'
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/**
 * Starts a server that is not a Node process. It gets a folder, which is removed with it. Resolves once it listens.
 * `signal` ends it at once.
 * @param {string} command
 * @param {(folder: string) => string[]} args
 * @param {number} port
 * @param {{ uid?: number, gid?: number, signal?: NodeJS.Signals }} [options]
 */
export async function startDaemon (command, args, port, { signal = 'SIGKILL', ...user } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'))
  const child = spawn(command, args(folder), { ...user, stdio: ['ignore', 'ignore', 'inherit'], cwd: folder })
  // Unlike the Node processes, these do not end with their parent. What they store is not needed, and nchan crashes on
  // SIGTERM.
  const kill = () => child.kill(signal)
  process.once('exit', kill)
  const exited = new Promise((resolve) => child.once('exit', resolve))
  while (!await isListening(port)) {
    if (child.exitCode !== null) throw new Error(`${command} has exited`)
    await delay(50)
  }
  return {
    pid: /** @type {number} */ (child.pid),
    async stop () {
      process.off('exit', kill)
      kill()
      await exited
      rmSync(folder, { recursive: true })
    }
  }
}

/** @param {string} command */
export function isOnPath (command) {
  const folders = [...String(process.env.PATH).split(delimiter), '/usr/sbin']
  return folders.some((folder) => exists(join(folder, command), constants.X_OK))
}

/**
 * @param {string} path
 * @param {number} [mode]
 */
export function exists (path, mode) {
  try {
    accessSync(path, mode)
    return true
  } catch {
    return false
  }
}

/**
 * @param {number} port
 * @returns {Promise<boolean>}
 */
function isListening (port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => { socket.destroy(); resolve(true) }).once('error', () => resolve(false))
  })
}
