// @ts-check
import { redisIsMissing, startRedis } from '../redis.js'
import { startPair } from '../target.js'

/**
 * All clients of an instance reconnect at once to another one, which has none of the events that they missed.
 * @param {object} shape
 * @param {string} shape.title
 * @param {number} shape.chats
 * @param {number} shape.perChat Connections.
 * @param {number} shape.behind The number of events that each has missed.
 * @param {number} shape.reads The maximum number of reads of Redis for each chat.
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
      const values = { 'reads of Redis per chat': [], 'ms until all are in sync': [], 'µs of CPU per client': [] }
      for (let round = 0; round < Math.ceil(rounds.most / 3); round++) {
        const redis = await startRedis()
        const [before, after] = await startPair('ours', redis)
        try {
          await before.open({ chats })
          const lastEventIds = await before.client('lastEventIds')
          await before.publish({ ticks: behind, chats })
          await before.client('expect', behind * chats)
          await before.stop()
          // Loads the code, in a chat of its own.
          const path = after.address.path.replace(':chat', 'warm')
          await after.client('open', { ...after.address, path, perChat: 100 })

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
          values['ms until all are in sync']?.push(ms)
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
 * Returns how often the log was read. Only reads run scripts here, since nothing is published.
 * @param {string} statistics
 */
function callsOf (statistics) {
  const calls = [...statistics.matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g)]
  return calls.reduce((sum, [, count]) => sum + Number(count), 0)
}
