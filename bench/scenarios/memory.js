// @ts-check
import { setTimeout as delay } from 'node:timers/promises'
import { startTarget } from '../target.js'

/** Opened before, so that what is loaded and compiled on first use is not counted. */
const FIRST = 500

/**
 * Memory that the server's process takes for each idle connection.
 * @param {object} shape
 * @param {string} shape.title
 * @param {string[]} shape.contenders
 * @param {Record<string, number>} shape.targets
 * @param {number} shape.connections
 * @returns {import('../run.js').Scenario}
 */
export function memory ({ title, contenders, targets, connections }) {
  return {
    title,
    unit: 'kB of resident memory per connection',
    targets,
    // One number of a fresh process varies little.
    async run ({ rounds, check, note }) {
      const many = check ? 100 : connections
      /** @type {Record<string, number[]>} */
      const values = Object.fromEntries(contenders.map((name) => [name, []]))
      for (let round = 0; round < Math.ceil(rounds / 3); round++) {
        for (const name of contenders) {
          const { rss, heap } = await grow(name, { perChat: many }, check)
          note(`${name}: ${rss.toFixed(1)} kB, of it ${heap.toFixed(1)} kB on the heap`)
          values[name]?.push(rss)
        }
      }
      return values
    }
  }
}

/**
 * Memory of an idle chat: what connections take beyond that if each has a chat of its own.
 * @param {object} shape
 * @param {string} shape.title
 * @param {number} shape.connections
 * @returns {import('../run.js').Scenario}
 */
export function roomMemory ({ title, connections }) {
  return {
    title,
    unit: 'kB of resident memory per connection',
    subject: 'a chat each',
    targets: {},
    async run ({ rounds, check, note }) {
      const many = check ? 100 : connections
      const shapes = { 'a chat each': { chats: many, perChat: 1 }, 'one chat': { perChat: many } }
      /** @type {Record<string, number[]>} */
      const values = Object.fromEntries(Object.keys(shapes).map((name) => [name, []]))
      for (let round = 0; round < Math.ceil(rounds / 3); round++) {
        for (const [name, open] of Object.entries(shapes)) {
          const { rss, heap } = await grow('ours', open, check)
          note(`${name}: ${rss.toFixed(1)} kB, of it ${heap.toFixed(1)} kB on the heap`)
          values[name]?.push(rss)
        }
      }
      return values
    }
  }
}

/**
 * How much a server grows for each of the connections that are opened, in kB.
 * @param {string} name
 * @param {import('../client.js').OpenOptions} open
 * @param {boolean} check
 */
async function grow (name, open, check) {
  const target = await startTarget(name)
  try {
    await target.open({ perChat: check ? 1 : FIRST })
    const before = await settled(target)
    await target.open(open)
    const after = await settled(target)
    const kB = (/** @type {number} */ bytes) => bytes / (open.chats ?? 1) / (open.perChat ?? 1) / 1024
    return { rss: kB(after.rss - before.rss), heap: kB(after.heapUsed - before.heapUsed) }
  } finally {
    await target.stop()
  }
}

/** @param {import('../target.js').Target} target */
async function settled (target) {
  await delay(500)
  await target.server('memory')
  await delay(100)
  return await target.server('memory')
}
