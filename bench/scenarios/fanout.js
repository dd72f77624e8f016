// @ts-check
import { startPostTarget, startTarget } from '../target.js'

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
    async run ({ rounds, scale, note }) {
      const few = Math.max(1, Math.round(ticks * scale))
      const deliveries = few * burst * perTick * perChat
      const field = await Promise.all(contenders.map((name) => byPost ? startPostTarget(name) : startTarget(name)))
      /** @type {Record<string, number[]>} */
      const values = Object.fromEntries(contenders.map((name) => [name, []]))
      try {
        for (const { open } of field) await open({ chats, perChat })
        // The first round warms up.
        for (let round = -1; round < rounds; round++) {
          for (const target of rotate(field, round)) {
            await target.begin()
            await target.publish({ ticks: few, burst, chats, perTick })
            const { reads } = await target.client('expect', deliveries)
            const cpu = await target.end()
            const each = cpu / deliveries
            note(`${target.name}: ${each.toFixed(2)} µs, ${(reads / deliveries).toFixed(2)} reads per delivery`)
            if (round >= 0) values[target.name]?.push(each)
          }
        }
      } finally {
        await Promise.all(field.map((target) => target.stop()))
      }
      return values
    }
  }
}

/**
 * Returns the list in another order for each round, so that no contender always comes first.
 * @template T
 * @param {T[]} list
 * @param {number} by
 */
export function rotate (list, by) {
  const at = (by + list.length) % list.length
  return [...list.slice(at), ...list.slice(0, at)]
}
