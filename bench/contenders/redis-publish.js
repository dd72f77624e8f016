// @ts-check
import { Redis } from 'ioredis'
import { flood } from '../flood.js'

/**
 * Plain PUBLISH, as fast as ioredis does it: nothing is kept.
 * @param {{ redisUrl: string }} options
 */
export default async function start ({ redisUrl }) {
  const redis = new Redis(redisUrl, { enableAutoPipelining: true })
  return {
    functions: {
      flood: (/** @type {number} */ count, /** @type {number} */ chats, /** @type {number} */ inFlight) =>
        flood((chatId, event) => redis.publish(chatId, JSON.stringify(event)), count, (index) => `chat${index % chats}`, inFlight)
    }
  }
}
