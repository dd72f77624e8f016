// @ts-check
import cluster from 'node:cluster'
import { fileURLToPath } from 'node:url'
import { answerCalls, childOf } from './child.js'

// The primary of `node:cluster`, whose workers run server.js behind one port.

/** @type {import('./child.js').Child[]} */
const workers = []
let cpu = process.cpuUsage()
/**
 * The arguments with which workers are started.
 * @type {[file: string, options: object, profiles: object | undefined]}
 */
let contender

/**
 * Calls a function of server.js in each worker.
 * @param {string} name
 * @returns {Promise<any[]>}
 */
const each = (name) => Promise.all(workers.map(({ call }) => call(name)))

/** Starts a worker. Resolves with its address. */
async function fork () {
  const worker = childOf(cluster.fork().process)
  workers.push(worker)
  return await worker.call('start', ...contender)
}

answerCalls({
  /** Starts one of the contenders in `count` workers. */
  async start (
    /** @type {string} */ file, /** @type {object} */ options, /** @type {any} */ profiles, /** @type {number} */ count
  ) {
    contender = [file, options, profiles]
    cluster.setupPrimary({ exec: fileURLToPath(new URL('server.js', import.meta.url)), execArgv: process.execArgv })
    const [address] = await Promise.all(Array.from({ length: count }, fork))
    return address
  },

  /** Starts to measure. */
  async begin () {
    await each('begin')
    cpu = process.cpuUsage()
  },

  /** CPU time of all threads of the primary and the workers since `begin`, in µs. */
  async end () {
    const all = await each('end')
    const { user, system } = process.cpuUsage(cpu)
    return all.reduce((sum, used) => sum + used, user + system)
  },

  publish: (/** @type {import('./server.js').Plan} */ plan) => workers[0]?.call('publish', plan),

  /** Collects garbage in all processes, and returns their ids: the primary comes first. */
  async collect () {
    global.gc?.()
    await each('memory')
    return [process.pid, ...workers.map(({ pid }) => pid)]
  },

  /** Kills a worker with SIGKILL, and starts another one. Resolves once that one listens. */
  async kill () {
    const worker = /** @type {import('./child.js').Child} */ (workers.pop())
    process.kill(worker.pid, 'SIGKILL')
    await worker.exited
    await fork()
  }
})
