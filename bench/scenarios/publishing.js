// @ts-check
import { redisIsMissing, startRedis } from '../redis.js'
import { startTarget } from '../target.js'
import { takeTurns } from '../turns.js'
import { together } from './together.js'

/**
 * Measures durable publishes through a Redis that all contenders share.
 * @param {object} shape
 * @param {string} shape.title
 * @param {string} shape.unit
 * @param {string[]} shape.contenders
 * @param {Record<string, number>} shape.targets
 * @param {number} shape.count
 * @param {(server: import('../child.js').Child['call'], count: number) => Promise<number>} shape.measure
 * @returns {import('../run.js').Scenario}
 */
export function publishing ({ title, unit, contenders, targets, count, measure }) {
  return {
    title,
    unit,
    targets,
    missing: redisIsMissing,
    async run (context) {
      const { scale, note } = context
      const few = Math.max(10, Math.round(count * scale))
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

/** Number of publishes that are in flight, as in an app that serves many requests. */
const IN_FLIGHT = 256

/**
 * Measures how many durable publishes a second Redis takes, and the CPU time of the publisher and of Redis for each.
 * The publishes go to each of the chats in turn, so `chats` decides how many of a batch belong to the same chat.
 * @param {string} title
 * @param {{ count: number, chats: number, targets: Record<string, Record<string, number>>,
 *   limits: Record<string, Record<string, number>> }} shape
 * @param {Record<string, string>} units
 */
export function flooding (title, { count, chats, targets, limits }, units) {
  return together({
    title,
    units,
    more: Object.keys(units).filter((name) => name.endsWith('-rate')),
    targets,
    limits,
    missing: redisIsMissing,
    async measure (context) {
      const few = Math.max(IN_FLIGHT, Math.round(count * context.scale))
      const redis = await startRedis()
      const field = await Promise.all(['ours', 'autopipelined PUBLISH'].map((name) =>
        startTarget(name, { redisUrl: redis.url })))
      try {
        return await takeTurns(field, context, async ({ begin, server, end }) => {
          await begin()
          const { cpu } = await redis.statistics()
          const seconds = await server('call', 'flood', few, chats, IN_FLIGHT)
          const [node, after] = [await end(), await redis.statistics()]
          return { rate: few / seconds, node: node / few, redis: (after.cpu - cpu) / few }
        })
      } finally {
        await Promise.all(field.map((target) => target.stop()))
        await redis.stop()
      }
    }
  })
}

/**
 * Measures the CPU time of opening chats: each gets a handler, and its log is followed.
 * @param {{ title: string, chats: number, limits: Record<string, Record<string, number>> }} shape
 * @param {Record<string, string>} units
 */
export function opening ({ title, chats, limits }, units) {
  return together({
    title,
    units,
    limits,
    missing: redisIsMissing,
    async measure (context) {
      const few = Math.max(10, Math.round(chats * context.scale))
      const redis = await startRedis()
      const target = await startTarget('ours', { redisUrl: redis.url })
      try {
        return await takeTurns([target], context, async ({ begin, server, end }, round) => {
          await begin()
          const { cpu } = await redis.statistics()
          await server('call', 'openChats', `round${round}-`, few)
          const [node, after] = [await end(), await redis.statistics()]
          return { node: node / few, redis: (after.cpu - cpu) / few }
        })
      } finally {
        await target.stop()
        await redis.stop()
      }
    }
  })
}
