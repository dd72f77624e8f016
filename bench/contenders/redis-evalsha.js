// @ts-check
import { Redis } from 'ioredis'
import { RedisScripts } from '../../dist/pubsub/redis-script.js'
import { oneByOne } from '../one-by-one.js'

/**
 * The script that appends a batch, here of one event, and nothing around it.
 * @param {{ redisUrl: string }} options
 */
export default async function start ({ redisUrl }) {
  const redis = new Redis(redisUrl)
  const { append } = new RedisScripts({ size: 1000, ttlMs: 600_000, idempotencyTtlMs: 120_000, publishTimeoutMs: 5_000, sharded: false })
  let number = 0
  const publish = (/** @type {string} */ chatId, /** @type {object} */ event, cold = false) => append.run(
    redis, [`{${chatId}}:i:${++number}`, `{${chatId}}:m`, `{${chatId}}:s`],
    ['0123456789abcdef', 0, `{${chatId}}`, '-', 1 + Math.floor(Math.random() * 2 ** 46), `bench ${Date.now()} message ${JSON.stringify(event)}`], cold
  )
  await publish('chat0', {}, true)
  return { functions: { oneByOne: (/** @type {number} */ count) => oneByOne(publish, count) } }
}
