// @ts-check
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

const RESTART_MS = 1_000
/** Longer than a server takes to end its streams. */
const KILL_MS = 8_000

/**
 * @typedef {object} ChildOptions
 * @property {string} name For people.
 * @property {string} command
 * @property {string[]} args
 * @property {Record<string, string>} [env] In addition to this process's own.
 * @property {string} readyText What it prints once it can be used.
 * @property {(line: string) => void} print Takes each line that it prints before it is ready and after, and what happens to it.
 */

/** A process that is started again whenever it dies by itself, and that never outlives this one. */
export class Child {
  #options
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #process
  #ready = false
  #stopping = false
  /** @type {NodeJS.Timeout | undefined} */
  #restart
  #killAtExit = () => { this.#process?.kill('SIGKILL') }

  /** @param {ChildOptions} options */
  constructor (options) {
    this.#options = options
  }

  get name () {
    return this.#options.name
  }

  get pid () {
    return this.#process?.pid
  }

  get ready () {
    return this.#ready
  }

  /** Resolves once it is ready. Rejects if it ends before; then it is not started again. */
  async start () {
    await this.#spawn()
    this.#process?.once('exit', () => this.#died())
  }

  /** Asks it to end, and makes it end if that takes too long. Resolves once it is gone. */
  async stop () {
    this.#stopping = true
    clearTimeout(this.#restart)
    const running = this.#process
    if (running === undefined) return
    const gone = once(running, 'exit')
    const kill = setTimeout(() => running.kill('SIGKILL'), KILL_MS)
    running.kill('SIGTERM')
    await gone
    clearTimeout(kill)
  }

  async #spawn () {
    const { command, args, env, name, readyText, print } = this.#options
    // In a group of its own: Ctrl+C in a terminal would end all at once, the Redis before those who still publish to it.
    const child = spawn(command, args, { detached: true, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#process = child
    process.once('exit', this.#killAtExit)
    await new Promise((resolve, reject) => {
      const seen = /** @type {string[]} */ ([])
      /** @param {string} line */
      const read = (line) => {
        if (!this.#ready) seen.push(line)
        print(line)
        if (!line.includes(readyText)) return
        this.#ready = true
        resolve(undefined)
      }
      createInterface(child.stdout).on('line', read)
      createInterface(child.stderr).on('line', read)
      child.once('error', (error) => {
        this.#gone()
        reject(error)
      })
      child.once('exit', (code, signal) => {
        this.#gone()
        reject(new Error(`${name} ended with ${signal ?? code} before it was ready:\n${seen.slice(-5).join('\n')}`))
      })
    })
  }

  #gone () {
    this.#process = undefined
    this.#ready = false
    process.off('exit', this.#killAtExit)
  }

  #died () {
    if (this.#stopping) return
    this.#options.print('It ended by itself and is started again.')
    this.#restart = setTimeout(() => {
      this.start().catch(() => this.#died())
    }, RESTART_MS)
  }
}
