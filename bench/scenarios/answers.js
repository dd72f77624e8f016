// @ts-check
import { bodyOf } from '../answer.js'
import { startChild } from '../child.js'
import { redisIsMissing, startRedis } from '../redis.js'
import { startPair } from '../target.js'
import { takeTurns } from '../turns.js'
import { together } from './together.js'

/**
 * @typedef {object} AnswersShape
 * @property {number} count Answers at the same time.
 * @property {number} ticks
 * @property {number} perTick Chunks of an answer.
 * @property {number} everyMs
 * @property {boolean} apart Whether each answer also has a reader on the other instance.
 */

/** @typedef {import('./together.js').Measured} Measured */

/** @typedef {Awaited<ReturnType<typeof startRedis>>} Redis */

/**
 * Streams answers of the AI SDK on one of two instances. All values are measured together.
 * @param {string} title
 * @param {AnswersShape} shape
 * @param {Record<string, string>} units The unit of each scenario, by its name.
 */
export function answers (title, shape, units) {
  return together({ title, units, missing: redisIsMissing, measure: (context) => measure(shape, context) })
}

/**
 * @param {AnswersShape} shape
 * @param {import('../run.js').Context} context
 */
async function measure (shape, context) {
  const { scale, note } = context
  const few = { ...shape, ticks: Math.max(10, Math.round(shape.ticks * scale)) }
  const redis = await startRedis()
  const contenders = ['ours', 'resumable-stream']
  const field = await Promise.all(contenders.map(async (name) => ({ name, instances: await startPair(name, redis) })))
  const client = startChild('answer-client.js')
  try {
    return await takeTurns(field, context, async ({ name, instances }, round) => {
      const result = await measureOnce(few, `${name}-${round}`, instances, client, redis)
      note(`${name}: ${Object.entries(result).map(([kind, value]) => `${kind} ${value.toFixed(2)}`).join(', ')}`)
      return result
    })
  } finally {
    await Promise.all([client, ...field.flatMap(({ instances }) => instances)].map((one) => one.stop()))
    await redis.stop()
  }
}

/**
 * @param {AnswersShape} shape
 * @param {string} id
 * @param {import('../target.js').Target[]} instances
 * @param {import('../child.js').Child} client
 * @param {Redis} redis
 * @returns {Promise<Measured>}
 */
async function measureOnce ({ count, apart, ...shape }, id, instances, client, redis) {
  const [producer, other] = /** @type {[import('../target.js').Target, import('../target.js').Target]} */ (instances)
  const [here, there] = [producer, other].map(({ address }) => `http://127.0.0.1:${address.port}/answers`)
  const shapes = Array.from({ length: count }, (_, index) => ({ ...shape, id: `${id}-${index}` }))
  // In kB, by which µs become ms per MB.
  const size = shapes.reduce((sum, each) => sum + bodyOf(each).text.length, 0) / 1e3

  const before = await memoryOf(producer, redis)
  const streaming = await meter(instances, redis)
  await client.call('open', here, 'POST', shapes)
  if (apart) await client.call('open', there, 'GET', shapes)
  await client.call('all')
  const { node, redisCpu, commands } = await streaming()
  const after = await memoryOf(producer, redis)

  const late = await meter(instances, redis)
  const start = performance.now()
  await client.call('open', there, 'GET', shapes)
  await client.call('all')
  const ms = performance.now() - start
  const catchUp = await late()
  await producer.server('call', 'releaseAnswers')
  await client.call('ended')
  return {
    node: node / size,
    redis: redisCpu / size,
    commands: commands / count,
    'node-piece': node / commands,
    'redis-piece': redisCpu / commands,
    memory: (after.node - before.node) / count / 1e6,
    'redis-memory': (after.redis - before.redis) / count / 1e6,
    late: ms / count,
    'late-node': catchUp.node / size,
    'late-redis': catchUp.redisCpu / size
  }
}

/**
 * Starts to measure. Returns a function that resolves with the CPU time of the instances and of Redis since then, in
 * µs, and the number of commands of Redis.
 * @param {import('../target.js').Target[]} instances
 * @param {Redis} redis
 */
async function meter (instances, redis) {
  await Promise.all(instances.map(({ begin }) => begin()))
  const before = await redis.statistics()
  return async () => {
    const cpu = await Promise.all(instances.map(({ end }) => end()))
    const after = await redis.statistics()
    return {
      node: cpu.reduce((sum, each) => sum + each),
      redisCpu: after.cpu - before.cpu,
      commands: after.commands - before.commands
    }
  }
}

/**
 * @param {import('../target.js').Target} target
 * @param {Redis} redis
 */
async function memoryOf ({ server }, redis) {
  const { heapUsed, external } = await server('memory')
  return { node: heapUsed + external, redis: (await redis.statistics()).memory }
}
