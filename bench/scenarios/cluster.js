// @ts-check
import { redisIsMissing, startRedis } from '../redis.js'
import { startTarget } from '../target.js'
import { takeTurns } from '../turns.js'
import { together } from './together.js'

/**
 * Measures the CPU time of two workers of `node:cluster` behind one port, and of their primary, for each delivery. One
 * process that serves the same clients is compared with it. Both publish through Redis.
 * @param {object} shape
 * @param {string} shape.title
 * @param {Record<string, string>} shape.units
 * @param {number} shape.target
 * @param {number} shape.ticks
 * @param {number} shape.everyMs
 * @param {number} shape.perChat Connections.
 */
export function clusterOf ({ title, units, target, ticks, everyMs, perChat }) {
  return together({
    title,
    units,
    subject: 'two workers',
    targets: { 'cluster-node': { 'one process': target } },
    missing: redisIsMissing,
    async measure (context) {
      const few = Math.max(2, Math.round(ticks * context.scale))
      const deliveries = few * perChat
      const field = await Promise.all([start('two workers', 'two workers'), start('one process', 'ours')])
      try {
        for (const { target } of field) await target.open({ perChat })
        return await takeTurns(field, context, async ({ name, target, redis }) => {
          const before = await redis.statistics()
          await target.begin()
          await target.publish({ ticks: few, everyMs })
          await target.client('expect', deliveries)
          const node = await target.end() / deliveries
          const ofRedis = ((await redis.statistics()).cpu - before.cpu) / deliveries
          context.note(`${name}: ${node.toFixed(2)} µs, Redis ${ofRedis.toFixed(3)} µs`)
          return { node, redis: ofRedis }
        })
      } finally {
        await Promise.all(field.map(async ({ target, redis }) => {
          await target.stop()
          await redis.stop()
        }))
      }
    }
  })
}

/**
 * Starts a contender and a Redis of its own.
 * @param {string} name
 * @param {string} contender
 */
async function start (name, contender) {
  const redis = await startRedis()
  return { name, redis, target: await startTarget(contender, { redisUrl: redis.url }) }
}
