// @ts-check
import { setTimeout as delay } from 'node:timers/promises'
import { redisIsMissing, startRedis } from '../redis.js'
import { startPair } from '../target.js'

/**
 * Measures publishing while clients request all stored events of many chats, on their instance and on another one.
 * @param {object} shape
 * @param {string} shape.title
 * @param {number} shape.chats
 * @param {number} shape.events Of each chat.
 * @param {number} shape.bytes Of each event.
 * @param {number} shape.clients
 * @param {number} shape.seconds
 * @returns {import('../run.js').Scenario}
 */
export function rewind ({ title, chats, events, bytes, clients, seconds }) {
  return {
    title,
    unit: 'of ours',
    targets: {},
    limits: {
      'ms of a publish, longest': 100,
      'ms of a publish elsewhere, longest': 100,
      'publishes of unknown outcome': 0
    },
    missing: redisIsMissing,
    async run ({ scale, check, note }) {
      const count = check ? 2 : events
      const redis = await startRedis()
      const [reader, other] = await startPair('ours', redis)
      try {
        await other.server('call', 'fill', chats, count, bytes)
        const query = Array.from({ length: chats }, (_, index) => `chat=chat${index}`).join('&')
        const quiet = await other.server('call', 'beside', seconds * scale / 5)
        note(`without clients: ${describe(quiet)}`)
        const before = await numberOf(redis.client, 'used_memory')
        const rss = await reader.server('rss')
        const memory = watchMemory(redis.client, reader)
        const path = `/api/chats/events?${query}&rewind=${count}`
        const opened = reader.client('open', { ...reader.address, path, perChat: clients })
        const publishes = [reader, other].map(({ server }) => server('call', 'beside', seconds * scale))
        const [near, far] = await Promise.all(publishes)
        const most = await memory.stop()
        await opened.catch((/** @type {Error} */ error) => note(`a client: ${error.message.split('\n')[0]}`))
        note(`on the instance of the clients: ${describe(near)}; on another one: ${describe(far)}`)
        note(`Redis: ${most.redis - before} bytes more, ${most.replies} of replies`)
        note(`the instance: ${most.rss - rss} bytes more`)
        return {
          'ms of a publish, median': [near.median],
          'ms of a publish, 99th percentile': [near.p99],
          'ms of a publish, longest': [near.most],
          'ms of a publish elsewhere, median': [far.median],
          'ms of a publish elsewhere, 99th percentile': [far.p99],
          'ms of a publish elsewhere, longest': [far.most],
          'publishes of unknown outcome': [near.unknown + far.unknown],
          'MB of Redis for replies': [most.replies / 1e6],
          'MB of the instance': [(most.rss - rss) / 1e6]
        }
      } finally {
        await Promise.all([reader.stop(), other.stop()])
        await redis.stop()
      }
    }
  }
}

/** @param {{ count: number, median: number, p99: number, most: number, unknown: number, rejected: number }} outcome */
function describe ({ count, median, p99, most, unknown, rejected }) {
  const times = [median, p99, most].map((ms) => ms.toFixed(1)).join(', ')
  return `${count} publishes, median, 99th percentile and longest ${times} ms, ${unknown} unknown, ${rejected} rejected`
}

/**
 * @param {import('ioredis').Redis} client
 * @param {string} name
 */
async function numberOf (client, name) {
  return Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(await client.info('memory'))?.[1])
}

/**
 * Records the highest memory use.
 * @param {import('ioredis').Redis} client
 * @param {import('../target.js').Target} target
 */
function watchMemory (client, target) {
  const most = { redis: 0, replies: 0, rss: 0 }
  const stopping = new AbortController()
  const watching = (async () => {
    while (!stopping.signal.aborted) {
      most.redis = Math.max(most.redis, await numberOf(client, 'used_memory'))
      most.replies = Math.max(most.replies, await numberOf(client, 'mem_clients_normal'))
      most.rss = Math.max(most.rss, await target.server('rss'))
      await delay(20)
    }
    most.redis = Math.max(most.redis, await numberOf(client, 'used_memory_peak'))
    return most
  })()
  return { stop: () => { stopping.abort(); return watching } }
}
