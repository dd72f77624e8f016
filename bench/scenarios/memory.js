// @ts-check
import { setTimeout as delay } from 'node:timers/promises'
import { startTarget } from '../target.js'

/** Connections that are opened before, so that code which is loaded and compiled on first use is not counted. */
const FIRST = 500

/**
 * Measures the memory of the server's process for each idle connection. All connections are in one chat, or each is in
 * a chat of its own (`chatEach`).
 * @param {object} shape
 * @param {string} shape.title
 * @param {string} [shape.subject]
 * @param {Record<string, { contender: string, chatEach?: boolean }>} shape.cases
 * @param {Record<string, number>} shape.targets
 * @param {number} shape.connections
 * @returns {import('../run.js').Scenario}
 */
export function memory ({ title, subject, cases, targets, connections }) {
  return {
    title,
    unit: 'kB of resident memory per connection',
    subject,
    targets,
    // The memory of a fresh process varies little, so a third of the rounds is enough.
    async run ({ rounds, check, note }) {
      const many = check ? 100 : connections
      /** @type {Record<string, number[]>} */
      const values = Object.fromEntries(Object.keys(cases).map((name) => [name, []]))
      for (let round = 0; round < Math.ceil(rounds.most / 3); round++) {
        for (const [name, { contender, chatEach = false }] of Object.entries(cases)) {
          const { rss, heap } = await grow(contender, chatEach ? { chats: many, perChat: 1 } : { perChat: many }, check)
          note(`${name}: ${rss.toFixed(1)} kB, of it ${heap.toFixed(1)} kB on the heap`)
          values[name]?.push(rss)
        }
      }
      return values
    }
  }
}

/**
 * Resolves with the growth of a server for each connection that is opened, in kB.
 * @param {string} name
 * @param {import('../client.js').OpenOptions} open
 * @param {boolean} check
 */
async function grow (name, open, check) {
  const target = await startTarget(name)
  try {
    await target.open({ perChat: check ? 1 : FIRST })
    const before = await settled(target)
    await target.open(open)
    const after = await settled(target)
    const kB = (/** @type {number} */ bytes) => bytes / (open.chats ?? 1) / (open.perChat ?? 1) / 1024
    return { rss: kB(after.rss - before.rss), heap: kB(after.heapUsed - before.heapUsed) }
  } finally {
    await target.stop()
  }
}

/** @param {import('../target.js').Target} target */
async function settled (target) {
  await delay(500)
  await target.server('memory')
  await delay(100)
  return await target.server('memory')
}
