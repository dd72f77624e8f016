// @ts-check
import { redisIsMissing, startRedis } from '../redis.js'
import { startTarget } from '../target.js'
import { takeTurns } from '../turns.js'

/**
 * Measures the CPU time of a publish to a random chat, until its handler is called, while many chats have handlers.
 * @param {object} shape
 * @param {string} shape.title
 * @param {number[]} shape.chats
 * @param {number} shape.limit The maximum ratio of the most chats to each of the others.
 * @param {number} shape.count
 * @param {boolean} shape.throughRedis
 * @returns {import('../run.js').Scenario}
 */
export function activeChats ({ title, chats, limit, count, throughRedis }) {
  const names = new Map(chats.map((many) => [many, `${many.toLocaleString('en')} chats`]))
  const most = Math.max(...chats)
  return {
    title,
    unit: 'µs of CPU per publish',
    subject: names.get(most),
    targets: Object.fromEntries([...names].filter(([many]) => many !== most).map(([, name]) => [name, limit])),
    missing: throughRedis ? redisIsMissing : undefined,
    async run (context) {
      const { scale, check, note } = context
      const few = Math.max(256, Math.round(count * scale))
      const redis = throughRedis ? await startRedis() : undefined
      const start = async (/** @type {number} */ many, /** @type {number} */ index) => ({
        name: /** @type {string} */ (names.get(many)),
        many,
        target: await startTarget('ours', redis === undefined ? {} : { redisUrl: redis.url, keyPrefix: `${index}:` })
      })
      const field = await Promise.all(chats.map(start))
      try {
        for (const { many, target } of field) {
          await target.server('call', 'activate', check ? Math.min(many, 1_000) : many)
        }
        return await takeTurns(field, context, async ({ name, target }) => {
          await target.begin()
          await target.server('call', 'scatter', few)
          const cpu = await target.end() / few
          note(`${name}: ${cpu.toFixed(1)} µs`)
          return cpu
        })
      } finally {
        await Promise.all(field.map(({ target }) => target.stop()))
        await redis?.stop()
      }
    }
  }
}
