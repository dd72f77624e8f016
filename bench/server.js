// @ts-check
import { setImmediate as immediate, setTimeout as delay } from 'node:timers/promises'
import { answerCalls } from './child.js'
import { makeEvent } from './event.js'
import { saveProfile, startProfile } from './profile.js'

/**
 * The server that runs in this process.
 * @typedef {Partial<import('./client.js').Address> & ContenderFunctions} Contender
 */

/**
 * @typedef {object} ContenderFunctions
 * @property {(chatId: string, event: ReturnType<typeof makeEvent>) => unknown} [publish]
 * @property {Record<string, (...args: any[]) => any>} [functions] Other functions that a scenario calls.
 */

/**
 * A plan of events: `ticks` times `burst` events to each of `perTick` chats, which take turns.
 * @typedef {object} Plan
 * @property {number} ticks
 * @property {number} [burst]
 * @property {number} [chats]
 * @property {number} [perTick]
 * @property {number} [everyMs] Milliseconds from one tick to the next. Default: no pause.
 */

/** @type {Contender} */
let contender
let cpu = process.cpuUsage()
/** @type {{ folder: string, name: string } | undefined} Where to save profiles. */
let profiles
let profiled = 0
/** @type {Map<string, number>} The number of events that each chat got. */
const numbers = new Map()
let turn = 0

answerCalls({
  /** Starts one of the contenders in this process. */
  async start (/** @type {string} */ file, /** @type {object} */ options, /** @type {typeof profiles} */ wanted) {
    profiles = wanted ?? undefined
    const { default: start } = await import(file)
    contender = await start(options)
    const { port, path, ready, protocol } = contender
    return { port, path, ready, protocol }
  },

  /** Calls another function of this contender. */
  call: (/** @type {string} */ name, /** @type {any[]} */ ...args) => contender.functions?.[name]?.(...args),

  /** Starts to measure. */
  async begin () {
    global.gc?.()
    if (profiles !== undefined) await startProfile()
    cpu = process.cpuUsage()
  },

  /** CPU time of all threads of this process since `begin`, in µs. */
  async end () {
    const { user, system } = process.cpuUsage(cpu)
    if (profiles !== undefined) await saveProfile(profiles.folder, profiles.name, profiled++)
    return user + system
  },

  async publish (/** @type {Plan} */ { ticks, burst = 1, chats = 1, perTick = chats, everyMs = 0 }) {
    const start = performance.now()
    for (let tick = 0; tick < ticks; tick++) {
      for (let index = 0; index < perTick; index++) publish(`chat${turn++ % chats}`, burst)
      if (everyMs > 0) await delay(Math.max(0, start + (tick + 1) * everyMs - performance.now()))
      // Two turns: work that a contender defers to the end of the turn must be done before the next tick.
      await immediate()
      await immediate()
    }
  },

  memory () {
    global.gc?.()
    const { rss, heapUsed, external } = process.memoryUsage()
    return { rss, heapUsed, external }
  },

  rss: () => process.memoryUsage.rss()
})

/**
 * @param {string} chatId
 * @param {number} burst
 */
function publish (chatId, burst) {
  const number = numbers.get(chatId) ?? 0
  numbers.set(chatId, number + burst)
  for (let index = 0; index < burst; index++) contender.publish?.(chatId, makeEvent(chatId, number + index))
}
