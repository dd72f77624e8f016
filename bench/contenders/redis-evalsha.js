// @ts-check
import { Redis } from 'ioredis'
import { Scripts } from '../../dist/pubsub/redis/scripts.js'
import { oneByOne } from '../one-by-one.js'
import startOurs from './ours.js'

/**
 * An app that only runs the script which appends an event, with the same keys and arguments. Everything else in its
 * process is the same, too.
 * @param {{ redisUrl: string }} options
 */
export default async function start ({ redisUrl }) {
  await startOurs({ redisUrl })
  const redis = new Redis(redisUrl)
  const { append } = new Scripts({
    size: 1000,
    ttlMs: 600_000,
    idempotencyTtlMs: 120_000,
    publishTimeoutMs: 5_000,
    sharded: false,
    cached: new Set()
  })
  const sha = String(await redis.script('LOAD', append.lua))
  const from = `redis-${process.pid}-${Date.now()}-0a1b2c`
  let number = 0
  const publish = (/** @type {string} */ chatId, /** @type {object} */ event) => {
    const channel = `rt:{chat:${chatId}}`
    const payload = `${from} ${Date.now()} message ${JSON.stringify({ ...event, chatId })}`
    const tag = 1 + Math.floor(Math.random() * 2 ** 46)
    const keys = [`${channel}:b:0123456789abcdef-${++number}`, `${channel}:m`, `${channel}:s`]
    return redis.evalsha(sha, 3, ...keys, '0123456789abcdef', 0, 0, channel, '-', tag, payload)
  }
  return { functions: { oneByOne: (/** @type {number} */ count) => oneByOne(publish, count) } }
}
