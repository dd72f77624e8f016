// @ts-check
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** @typedef {{ pid: number, call: (name: string, ...args: any[]) => Promise<any>, stop: () => Promise<void> }} Child */

/**
 * Runs a file of this folder in a process of its own. Its functions are called by name.
 * @param {string} file
 * @param {string[]} [execArgv] Options of Node.
 * @returns {Child}
 */
export function startChild (file, execArgv = []) {
  // With `gc`, each measurement can begin with a clean heap.
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), { execArgv: ['--expose-gc', ...execArgv] })
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
  const calls = new Map()
  let last = 0
  child.on('message', (/** @type {any} */ { id, value, error }) => {
    const call = calls.get(id)
    calls.delete(id)
    if (error === undefined) call?.resolve(value)
    else call?.reject(new Error(error))
  })
  const exited = new Promise((resolve) => child.once('exit', resolve))
  exited.then(() => {
    for (const { reject } of calls.values()) reject(new Error(`${file} has exited`))
  })
  return {
    pid: /** @type {number} */ (child.pid),
    call: (name, ...args) => new Promise((resolve, reject) => {
      calls.set(++last, { resolve, reject })
      child.send({ id: last, name, args }, (error) => { if (error) reject(error) })
    }),
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
}
