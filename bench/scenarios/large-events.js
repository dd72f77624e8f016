// @ts-check
import { redisIsMissing, startRedis } from '../redis.js'
import { startPair } from '../target.js'

/**
 * Measures the memory of an instance with one client of many chats with large events.
 * @param {object} shape
 * @param {string} shape.title
 * @param {number} shape.chats
 * @param {number} shape.events Of each chat.
 * @param {number} shape.bytes Of each event.
 * @returns {import('../run.js').Scenario}
 */
export function largeEvents ({ title, chats, events, bytes }) {
  return {
    title,
    unit: 'MB of one instance',
    targets: {},
    missing: redisIsMissing,
    async run ({ check }) {
      const redis = await startRedis()
      const [reader, other] = await startPair('ours', redis)
      try {
        const query = Array.from({ length: chats }, (_, index) => `chat=chat${index}`).join('&')
        await reader.client('open', { ...reader.address, path: `/api/chats/events?${query}`, perChat: 1 })
        const before = await reader.server('memory')
        // In steps, so that the client keeps up.
        for (let done = 0; done < (check ? 1 : events); done += 10) {
          await other.server('call', 'fill', chats, check ? 1 : 10, bytes)
        }
        const { heapUsed, external, rss } = await reader.server('memory')
        return {
          heap: [(heapUsed - before.heapUsed) / 1e6],
          'memory outside the heap': [(external - before.external) / 1e6],
          'resident memory': [(rss - before.rss) / 1e6]
        }
      } finally {
        await Promise.all([reader.stop(), other.stop()])
        await redis.stop()
      }
    }
  }
}
