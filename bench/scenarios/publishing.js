// @ts-check
import { redisIsMissing, startRedis } from '../redis.js'
import { startTarget } from '../target.js'
import { takeTurns } from '../turns.js'

/**
 * Measures durable publishes through a Redis that all contenders share.
 * @param {object} shape
 * @param {string} shape.title
 * @param {string} shape.unit
 * @param {boolean} [shape.more] Whether more is better.
 * @param {string[]} shape.contenders
 * @param {Record<string, number>} shape.targets
 * @param {number} shape.count
 * @param {number} [shape.least] The minimum number of publishes in a quick round.
 * @param {(server: import('../child.js').Child['call'], count: number) => Promise<number>} shape.measure
 * @returns {import('../run.js').Scenario}
 */
export function publishing ({ title, unit, more = false, contenders, targets, count, least = 10, measure }) {
  return {
    title,
    unit,
    more,
    targets,
    missing: redisIsMissing,
    async run (context) {
      const { scale, note } = context
      const few = Math.max(least, Math.round(count * scale))
      const redis = await startRedis()
      const field = await Promise.all(contenders.map((name) => startTarget(name, { redisUrl: redis.url })))
      try {
        return await takeTurns(field, context, async ({ name, begin, server, end }) => {
          await begin()
          const value = await measure(server, few)
          note(`${name}: ${value.toFixed(0)} ${unit}, ${(await end() / few).toFixed(1)} µs of CPU each`)
          return value
        })
      } finally {
        await Promise.all(field.map((target) => target.stop()))
        await redis.stop()
      }
    }
  }
}
