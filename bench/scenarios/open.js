// @ts-check
import { setTimeout as delay } from 'node:timers/promises'
import { redisIsMissing, startRedis } from '../redis.js'
import { startTarget } from '../target.js'
import { takeTurns } from '../turns.js'

/** The time in which a server notices that its clients have closed all streams. */
const CLOSING_MS = 500

/** @typedef {{ contender: string, throughRedis?: boolean }} Case */

/**
 * Measures the CPU time of the server for each stream that a client opens, until the client has its first event. The
 * streams are closed after each round, but for one in each chat: if there is no object of a kind when memory is
 * collected, V8 also discards the optimized code for such objects.
 * @param {object} shape
 * @param {string} shape.title
 * @param {Record<string, Case>} shape.cases
 * @param {Record<string, number>} shape.targets The maximum ratio of ours to each.
 * @param {number} shape.chats
 * @param {number} shape.perChat Connections.
 * @param {number} shape.opening Number of connections that are opened at the same time.
 * @returns {import('../run.js').Scenario}
 */
export function open ({ title, cases, targets, chats, perChat, opening }) {
  return {
    title,
    unit: 'µs of CPU per stream',
    targets,
    missing: redisIsMissing,
    async run (context) {
      const each = Math.max(1, Math.round(perChat * context.scale))
      const redis = await startRedis()
      const start = async (/** @type {string} */ name) => {
        const { contender, throughRedis = false } = /** @type {Case} */ (cases[name])
        return { name, target: await startTarget(contender, throughRedis ? { redisUrl: redis.url } : {}) }
      }
      const field = await Promise.all(Object.keys(cases).map(start))
      try {
        for (const { target } of field) await target.open({ chats })
        return await takeTurns(field, context, async ({ name, target }) => {
          await target.begin()
          await target.open({ chats, perChat: each, opening })
          const cpu = await target.end() / chats / each
          await target.begin()
          await target.client('close', chats)
          await delay(CLOSING_MS)
          const closing = await target.end() / chats / each
          context.note(`${name}: ${cpu.toFixed(1)} µs, and ${closing.toFixed(1)} µs to close`)
          return cpu
        })
      } finally {
        await Promise.all(field.map(({ target }) => target.stop()))
        await redis.stop()
      }
    }
  }
}
