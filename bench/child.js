// @ts-check
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/**
 * @typedef {object} Child
 * @property {number} pid
 * @property {(name: string, ...args: any[]) => Promise<any>} call
 * @property {Promise<unknown>} exited
 * @property {() => Promise<void>} stop
 */

/**
 * Runs a file of this folder in a process of its own. Its functions are called by name.
 * @param {string} file
 * @param {string[]} [execArgv] Options of Node.
 * @returns {Child}
 */
export function startChild (file, execArgv = []) {
  // With `gc`, each measurement can begin with a clean heap.
  return childOf(fork(fileURLToPath(new URL(file, import.meta.url)), { execArgv: ['--expose-gc', ...execArgv] }))
}

/**
 * The functions of a process that runs a file of this folder.
 * @param {import('node:child_process').ChildProcess} child
 * @returns {Child}
 */
export function childOf (child) {
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
  const calls = new Map()
  // A worker of `node:cluster` loses what it is sent before it listens.
  const listens = new Promise((resolve) => child.once('message', resolve))
  let last = 0
  child.on('message', (/** @type {any} */ { id, value, error }) => {
    const call = calls.get(id)
    calls.delete(id)
    if (error === undefined) call?.resolve(value)
    else call?.reject(new Error(error))
  })
  const exited = new Promise((resolve) => child.once('exit', resolve))
  exited.then(() => {
    for (const { reject } of calls.values()) reject(new Error(`${child.spawnargs[1]} has exited`))
  })
  return {
    pid: /** @type {number} */ (child.pid),
    async call (name, ...args) {
      await listens
      return await new Promise((resolve, reject) => {
        calls.set(++last, { resolve, reject })
        child.send({ id: last, name, args }, (error) => { if (error) reject(error) })
      })
    },
    exited,
    stop: async () => {
      if (child.connected) child.disconnect()
      await exited
    }
  }
}

/**
 * Answers the calls of the process that started this one, and ends with it.
 * @param {Record<string, (...args: any[]) => any>} functions
 */
export function answerCalls (functions) {
  process.on('message', async (/** @type {any} */ { id, name, args }) => {
    try {
      process.send?.({ id, value: await functions[name]?.(...args) })
    } catch (error) {
      process.send?.({ id, error: error instanceof Error ? error.stack : String(error) })
    }
  })
  process.on('disconnect', () => process.exit())
  if (process.connected) process.send?.({})
}
