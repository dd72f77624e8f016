// @ts-check
import { startTarget } from '../target.js'

/** The events of one tick and its duration: 2000 events a second. */
const BURST = 10
const EVERY_MS = 5

/**
 * Measures the growth of a server's memory while some clients read nothing.
 * @param {object} shape
 * @param {string} shape.title
 * @param {string[]} shape.contenders
 * @param {Record<string, number>} shape.targets
 * @param {number} shape.seconds
 * @param {number} shape.perChat Connections.
 * @param {number} shape.stalled The number of them that read nothing.
 * @returns {import('../run.js').Scenario}
 */
export function stalled ({ title, contenders, targets, seconds, perChat, stalled }) {
  return {
    title,
    unit: 'MB of growth',
    targets,
    // The kernel's buffers for each client take some MB before the server's memory grows. So a round is never shorter.
    quick: false,
    async run ({ rounds, check, note }) {
      const ticks = check ? 20 : Math.round(seconds * 1000 / EVERY_MS)
      /** @type {Record<string, number[]>} */
      const values = Object.fromEntries(contenders.map((name) => [name, []]))
      // Memory varies little from one fresh process to the next.
      for (let round = 0; round < Math.ceil(rounds.most / 3); round++) {
        for (const name of contenders) {
          const target = await startTarget(name)
          try {
            const readers = perChat - stalled
            await target.open({ perChat: readers })
            // Compiled code and the stored events of the chat do not count as growth.
            const warmUp = Math.round(ticks / 6)
            await target.publish({ ticks: warmUp, burst: BURST, everyMs: EVERY_MS })
            await target.client('expect', warmUp * BURST * readers)
            await target.open({ perChat: stalled, stalled })
            const { rss } = await target.server('memory')
            const { samples, end } = await watch(target, ticks)
            await target.client('expect', ticks * BURST * readers, 120)
            note(`${name}: MB each second ${samples.map((sample) => Math.round((sample - rss) / 1e6)).join(' ')}`)
            values[name]?.push(Math.max(0.1, (end - rss) / 1e6))
          } finally {
            await target.stop()
          }
        }
      }
      return values
    }
  }
}

/**
 * Publishes, and records the memory meanwhile.
 * @param {import('../target.js').Target} target
 * @param {number} ticks
 */
async function watch (target, ticks) {
  /** @type {number[]} */
  const samples = []
  const timer = setInterval(async () => samples.push(await target.server('rss')), 1_000)
  await target.publish({ ticks, burst: BURST, everyMs: EVERY_MS })
  clearInterval(timer)
  const { rss } = await target.server('memory')
  return { samples, end: rss }
}
