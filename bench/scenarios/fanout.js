// @ts-check
import { startPostTarget, startTarget } from '../target.js'
import { takeTurns } from '../turns.js'

/**
 * Measures the CPU time of the server for each delivery, while it publishes as fast as it can.
 * @param {object} shape
 * @param {string} shape.title
 * @param {string[]} shape.contenders
 * @param {Record<string, number>} shape.targets The maximum ratio of ours to each.
 * @param {number} shape.ticks
 * @param {number} [shape.burst]
 * @param {number} [shape.chats]
 * @param {number} [shape.perTick]
 * @param {number} shape.perChat Connections.
 * @param {boolean} [shape.byPost] Whether to publish over HTTP.
 * @param {() => string | undefined} [shape.missing]
 * @returns {import('../run.js').Scenario}
 */
export function fanout (shape) {
  const { title, contenders, targets, missing, ticks, perChat, byPost = false } = shape
  const { burst = 1, chats = 1, perTick = chats } = shape
  return {
    title,
    unit: 'µs of CPU per delivery',
    targets,
    missing,
    async run (context) {
      const { scale, note } = context
      const few = Math.max(1, Math.round(ticks * scale))
      const deliveries = few * burst * perTick * perChat
      const field = await Promise.all(contenders.map((name) => byPost ? startPostTarget(name) : startTarget(name)))
      try {
        for (const { open } of field) await open({ chats, perChat })
        return await takeTurns(field, context, async ({ name, begin, publish, client, end }) => {
          await begin()
          await publish({ ticks: few, burst, chats, perTick })
          const { reads } = await client('expect', deliveries)
          const each = await end() / deliveries
          note(`${name}: ${each.toFixed(2)} µs, ${(reads / deliveries).toFixed(2)} reads per delivery`)
          return each
        })
      } finally {
        await Promise.all(field.map((target) => target.stop()))
      }
    }
  }
}
