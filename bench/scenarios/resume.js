// @ts-check
import { setTimeout as delay } from 'node:timers/promises'
import { redisIsMissing, startRedis } from '../redis.js'
import { startTarget } from '../target.js'
import { takeTurns } from '../turns.js'

/** The time in which a server notices that its clients have closed all streams. */
const CLOSING_MS = 500

/**
 * @typedef {object} Case
 * @property {boolean} [throughRedis]
 * @property {boolean} [elsewhere] Whether clients resume on another instance than the one that has published.
 */

/**
 * Measures the CPU time of an instance for each client that resumes some events behind. The instance that has published
 * these events keeps them for such clients; another one reads them from Redis.
 * @param {object} shape
 * @param {string} shape.title
 * @param {Record<string, Case>} shape.cases
 * @param {Record<string, number>} shape.limits The maximum of each case.
 * @param {number} shape.chats
 * @param {number} shape.perChat Connections.
 * @param {number} shape.behind The number of events that each client has missed.
 * @param {number} shape.opening Number of connections that are opened at the same time.
 * @returns {import('../run.js').Scenario}
 */
export function resume ({ title, cases, limits, chats, perChat, behind, opening }) {
  return {
    title,
    unit: 'µs of CPU per client',
    targets: {},
    limits,
    missing: redisIsMissing,
    async run (context) {
      const each = Math.max(1, Math.round(perChat * context.scale))
      const field = await Promise.all(Object.entries(cases).map(([name, shape]) => prepare(name, shape, chats, behind)))
      try {
        return await takeTurns(field, context, async ({ name, target, lastEventIds }) => {
          await target.begin()
          await target.open({ chats, perChat: each, opening, lastEventIds })
          await target.client('expect', chats * each * behind)
          const cpu = await target.end() / chats / each
          context.note(`${name}: ${cpu.toFixed(1)} µs`)
          await target.client('close', 1)
          await delay(CLOSING_MS)
          return cpu
        })
      } finally {
        await Promise.all(field.map(({ stop }) => stop()))
      }
    }
  }
}

/**
 * Publishes the events of a case. Resolves with the instance on which clients resume, and the ids from which they do.
 * @param {string} name
 * @param {Case} shape
 * @param {number} chats
 * @param {number} behind
 */
async function prepare (name, { throughRedis = false, elsewhere = false }, chats, behind) {
  const redis = throughRedis ? await startRedis() : undefined
  const start = () => startTarget('ours with authorize', redis === undefined ? {} : { redisUrl: redis.url })
  const target = await start()
  const publisher = elsewhere ? await start() : target
  // With a handler, a chat stays open without streams.
  await publisher.server('call', 'activate', chats)
  await publisher.open({ chats })
  const lastEventIds = await publisher.client('lastEventIds')
  await publisher.publish({ ticks: behind, chats })
  await publisher.client('expect', behind * chats)
  await publisher.client('close')
  // See scenarios/open.js for why one stays open. It is in a chat of its own, so that it keeps no events of the others.
  await target.open({ from: chats })
  const stop = async () => {
    await Promise.all([...new Set([target, publisher])].map((one) => one.stop()))
    await redis?.stop()
  }
  return { name, target, lastEventIds, stop }
}
