// @ts-check
import { startTarget } from '../target.js'
import { takeTurns } from '../turns.js'

/**
 * Measures the time of an event from the publishing call to a client, at a rate that leaves the server idle in between.
 * @param {object} shape
 * @param {string} shape.title
 * @param {string[]} shape.contenders
 * @param {Record<string, number>} shape.targets
 * @param {number} shape.perSecond
 * @param {number} shape.seconds
 * @param {number} shape.perChat Connections.
 * @returns {import('../run.js').Scenario}
 */
export function latency ({ title, contenders, targets, perSecond, seconds, perChat }) {
  return {
    title,
    unit: 'ms, 99th percentile',
    targets,
    async run (context) {
      const { scale, note } = context
      const ticks = Math.max(2, Math.round(perSecond * seconds * scale))
      const field = await Promise.all(contenders.map((name) => startTarget(name)))
      try {
        for (const { open } of field) await open({ perChat })
        return await takeTurns(field, context, async ({ name, begin, publish, client, end }) => {
          await client('watch')
          await begin()
          await publish({ ticks, everyMs: 1000 / perSecond })
          await client('expect', ticks * perChat)
          const cpu = await end()
          const { p50, p99 } = await client('latencies')
          const times = `median ${p50.toFixed(1)} ms, 99th percentile ${p99.toFixed(1)} ms`
          note(`${name}: ${times}, ${(cpu / ticks / perChat).toFixed(2)} µs of CPU per delivery`)
          return p99
        })
      } finally {
        await Promise.all(field.map((target) => target.stop()))
      }
    }
  }
}
