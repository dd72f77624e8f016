// @ts-check
import { redisIsMissing, startRedis } from '../redis.js'
import { startTarget } from '../target.js'

/**
 * All clients of an instance come back at once on another one, which has none of what they missed.
 * @param {object} shape
 * @param {string} shape.title
 * @param {number} shape.chats
 * @param {number} shape.perChat Connections.
 * @param {number} shape.behind Events that each has missed.
 * @param {number} shape.reads What Redis may be asked for each chat.
 * @returns {import('../run.js').Scenario}
 */
export function storm ({ title, chats, perChat, behind, reads }) {
  return {
    title,
    unit: 'of ours',
    targets: {},
    limits: { 'reads of Redis per chat': reads },
    missing: redisIsMissing,
    async run ({ rounds, scale, note }) {
      const each = Math.max(2, Math.round(perChat * scale))
      /** @type {Record<string, number[]>} */
      const values = { 'reads of Redis per chat': [], 'ms until all are level': [], 'µs of CPU per client': [] }
      for (let round = 0; round < Math.ceil(rounds / 3); round++) {
        const redis = await startRedis()
        const [before, after] = await Promise.all([startTarget('ours', { redisUrl: redis.url }), startTarget('ours', { redisUrl: redis.url })])
        try {
          await before.open({ chats })
          const lastEventIds = await before.client('lastEventIds')
          await before.publish({ ticks: behind, chats })
          await before.client('expect', behind * chats)
          await before.stop()
          // Loads the code, in a chat of its own.
          await after.client('open', { ...after.address, path: after.address.path.replace(':chat', 'warm'), perChat: 100 })

          await redis.client.config('RESETSTAT')
          await after.begin()
          const start = performance.now()
          await after.open({ chats, perChat: each, lastEventIds, opening: chats * each })
          await after.client('expect', chats * each * behind)
          const ms = performance.now() - start
          const cpu = await after.end()
          const calls = callsOf(await redis.client.info('commandstats'))
          note(`${calls} reads, ${ms.toFixed(0)} ms`)
          values['reads of Redis per chat']?.push(calls / chats)
          values['ms until all are level']?.push(ms)
          values['µs of CPU per client']?.push(cpu / chats / each)
        } finally {
          await Promise.all([before.stop(), after.stop()])
          await redis.stop()
        }
      }
      return values
    }
  }
}

/**
 * How often the log was read: by scripts, since nothing is published.
 * @param {string} statistics
 */
function callsOf (statistics) {
  return [...statistics.matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g)].reduce((sum, [, calls]) => sum + Number(calls), 0)
}
