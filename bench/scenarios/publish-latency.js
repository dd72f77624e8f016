// @ts-check
import { redisIsMissing, startRedis } from '../redis.js'
import { startTarget } from '../target.js'
import { rotate } from './fanout.js'

/**
 * How long a durable publish takes with no other under way.
 * @param {object} shape
 * @param {string} shape.title
 * @param {string[]} shape.contenders
 * @param {Record<string, number>} shape.targets
 * @param {number} shape.count
 * @returns {import('../run.js').Scenario}
 */
export function publishLatency ({ title, contenders, targets, count }) {
  return {
    title,
    unit: 'µs from call to receipt, median',
    targets,
    missing: redisIsMissing,
    async run ({ rounds, scale, note }) {
      const few = Math.max(10, Math.round(count * scale))
      const redis = await startRedis()
      const field = await Promise.all(contenders.map((name) => startTarget(name, { redisUrl: redis.url })))
      /** @type {Record<string, number[]>} */
      const values = Object.fromEntries(contenders.map((name) => [name, []]))
      try {
        for (let round = -1; round < rounds; round++) {
          for (const { name, begin, server } of rotate(field, round)) {
            await begin()
            const took = await server('call', 'oneByOne', few)
            note(`${name}: ${took.toFixed(0)} µs`)
            if (round >= 0) values[name]?.push(took)
          }
        }
      } finally {
        await Promise.all(field.map((target) => target.stop()))
        await redis.stop()
      }
      return values
    }
  }
}
