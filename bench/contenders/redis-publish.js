// @ts-check
import { Redis } from 'ioredis'
import { flood } from '../flood.js'

/**
 * Plain PUBLISH, as fast as ioredis can send it. Nothing is stored.
 * @param {{ redisUrl: string }} options
 */
export default async function start ({ redisUrl }) {
  const redis = new Redis(redisUrl, { enableAutoPipelining: true })
  const publish = (/** @type {string} */ chatId, /** @type {object} */ event) =>
    redis.publish(chatId, JSON.stringify(event))
  return {
    functions: {
      flood: (/** @type {number} */ count, /** @type {number} */ chats, /** @type {number} */ inFlight) =>
        flood(publish, count, (index) => `chat${index % chats}`, inFlight)
    }
  }
}
