// @ts-check
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

const RESTART_MS = 1_000
/** A server needs less time than this to end its streams. */
const KILL_MS = 8_000

/**
 * @typedef {object} ChildOptions
 * @property {string} name Used in messages.
 * @property {string} command
 * @property {string[]} args
 * @property {Record<string, string>} [env] Added to the environment of this process.
 * @property {string} readyText The text that it prints when it is ready.
 * @property {(line: string) => void} print Called with each line of its output, and with what happens to the process.
 */

/** A process that is restarted when it exits by itself, and that never outlives this process. */
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

  /** Resolves when the process is ready. Rejects if it exits before that; then it is not restarted. */
  async start () {
    await this.#spawn()
    this.#process?.once('exit', () => this.#restartSoon())
  }

  /** Sends SIGTERM, and SIGKILL if that takes too long. Resolves when the process has exited. */
  async stop () {
    this.#stopping = true
    clearTimeout(this.#restart)
    const running = this.#process
    if (running === undefined) return
    const exited = once(running, 'exit')
    const kill = setTimeout(() => running.kill('SIGKILL'), KILL_MS)
    running.kill('SIGTERM')
    await exited
    clearTimeout(kill)
  }

  async #spawn () {
    const { command, args, env } = this.#options
    // In a process group of its own. Otherwise Ctrl+C would end Redis before the instances that still publish to it.
    const child = spawn(command, args, {
      detached: true, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe']
    })
    this.#process = child
    process.once('exit', this.#killAtExit)
    /** @type {string[]} */
    const output = []
    await new Promise((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr]) {
        createInterface(stream).on('line', (line) => { if (this.#read(line, output)) resolve(undefined) })
      }
      child.once('error', (error) => {
        this.#exited()
        reject(error)
      })
      child.once('exit', (code, signal) => {
        this.#exited()
        const end = output.slice(-5).join('\n')
        reject(new Error(`${this.name} exited with ${signal ?? code} before it was ready:\n${end}`))
      })
    })
  }

  /** Returns whether the process is ready. @param {string} line @param {string[]} output gets the lines before that */
  #read (line, output) {
    const { readyText, print } = this.#options
    print(line)
    if (!this.#ready) output.push(line)
    this.#ready ||= line.includes(readyText)
    return this.#ready
  }

  #exited () {
    this.#process = undefined
    this.#ready = false
    process.off('exit', this.#killAtExit)
  }

  #restartSoon () {
    if (this.#stopping) return
    this.#options.print('The process exited and is restarted.')
    this.#restart = setTimeout(() => {
      this.start().catch(() => this.#restartSoon())
    }, RESTART_MS)
  }
}
