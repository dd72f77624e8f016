// @ts-check
import { redisIsMissing, startRedis } from '../redis.js'
import { startTarget } from '../target.js'
import { rotate } from './fanout.js'

/**
 * How many events a process publishes in a second, all of them acknowledged.
 * @param {object} shape
 * @param {string} shape.title
 * @param {string[]} shape.contenders
 * @param {Record<string, number>} shape.targets
 * @param {number} shape.count
 * @param {number} shape.chats
 * @param {number} shape.inFlight
 * @returns {import('../run.js').Scenario}
 */
export function publishRate ({ title, contenders, targets, count, chats, inFlight }) {
  return {
    title,
    unit: 'publishes a second',
    more: true,
    targets,
    missing: redisIsMissing,
    async run ({ rounds, scale, note }) {
      const few = Math.max(inFlight, Math.round(count * scale))
      const redis = await startRedis()
      const field = await Promise.all(contenders.map((name) => startTarget(name, { redisUrl: redis.url })))
      /** @type {Record<string, number[]>} */
      const values = Object.fromEntries(contenders.map((name) => [name, []]))
      try {
        for (let round = -1; round < rounds; round++) {
          for (const { name, begin, server, end } of rotate(field, round)) {
            await begin()
            const seconds = await server('call', 'flood', few, chats, inFlight)
            note(`${name}: ${Math.round(few / seconds)} a second, ${(await end() / few).toFixed(1)} µs of CPU each`)
            if (round >= 0) values[name]?.push(few / seconds)
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
