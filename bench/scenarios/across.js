// @ts-check
import { setTimeout as delay } from 'node:timers/promises'
import { redisIsMissing, startRedis } from '../redis.js'
import { startPair } from '../target.js'
import { takeTurns } from '../turns.js'

/**
 * Measures the CPU time of an instance for each delivery of an event that another instance publishes.
 * @param {object} shape
 * @param {string} shape.title
 * @param {string[]} shape.contenders
 * @param {Record<string, number>} shape.targets
 * @param {number} shape.ticks
 * @param {number} shape.everyMs
 * @param {number} shape.perChat Connections.
 * @returns {import('../run.js').Scenario}
 */
export function across ({ title, contenders, targets, ticks, everyMs, perChat }) {
  return {
    title,
    unit: 'µs of CPU per delivery',
    targets,
    missing: redisIsMissing,
    async run (context) {
      const { scale, note } = context
      const few = Math.max(2, Math.round(ticks * scale))
      const redis = await startRedis()
      const pair = async (/** @type {string} */ name) => {
        const [publisher, deliverer] = await startPair(name, redis)
        return { name, publisher, deliverer }
      }
      const field = await Promise.all(contenders.map(pair))
      try {
        for (const { deliverer } of field) await deliverer.open({ perChat })
        // Some contenders subscribe later, and do not report when they are done.
        await delay(1_000)
        return await takeTurns(field, context, async ({ name, publisher, deliverer }) => {
          await deliverer.begin()
          await publisher.publish({ ticks: few, everyMs })
          await deliverer.client('expect', few * perChat)
          const cpu = await deliverer.end() / few / perChat
          note(`${name}: ${cpu.toFixed(2)} µs`)
          return cpu
        })
      } finally {
        await Promise.all(field.flatMap(({ publisher, deliverer }) => [publisher.stop(), deliverer.stop()]))
        await redis.stop()
      }
    }
  }
}
