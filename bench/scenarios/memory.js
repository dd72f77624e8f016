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
          const target = await startTarget(name)
          try {
            await target.open({ perChat: check ? 1 : FIRST })
            const before = await settled(target)
            await target.open({ perChat: many })
            const after = await settled(target)
            const kB = (/** @type {number} */ bytes) => bytes / many / 1024
            note(`${name}: ${kB(after.rss - before.rss).toFixed(1)} kB, of it ${kB(after.heapUsed - before.heapUsed).toFixed(1)} kB on the heap`)
            values[name]?.push(kB(after.rss - before.rss))
          } finally {
            await target.stop()
          }
        }
      }
      return values
    }
  }
}

/** @param {import('../target.js').Target} target */
async function settled (target) {
  await delay(500)
  await target.server('memory')
  await delay(100)
  return await target.server('memory')
}
