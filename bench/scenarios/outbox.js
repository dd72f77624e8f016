// @ts-check
import { postgresIsMissing, startPostgres } from '../postgres.js'
import { redisIsMissing, startRedis } from '../redis.js'
import { startTarget } from '../target.js'
import { pick, takeTurns } from '../turns.js'
import { together } from './together.js'

/** @typedef {import('../target.js').Target} Target */
/** @typedef {import('./together.js').Measured} Measured */

/** @typedef {Awaited<ReturnType<typeof startRedis>>} Redis */
/** @typedef {{ database: Awaited<ReturnType<typeof startPostgres>>, redis: Redis }} Servers */
/** @typedef {{ count: number, chats: number, bytes: number }} Shape */

const CONTENDERS = ['with an outbox', 'without an outbox', 'LISTEN/NOTIFY']
const SUBJECT = 'with an outbox'
const missing = () => postgresIsMissing() ?? redisIsMissing()

/**
 * Commits messages, each in a transaction of its own, until each is published: with an outbox until its row is deleted.
 * @param {string} title
 * @param {Shape} shape
 * @param {Record<string, string>} units
 */
export function rows (title, shape, units) {
  return runs(title, shape, units, CONTENDERS, async () => 'run')
}

/**
 * Publishes rows that were committed before, as after an outage, compared with publishes without any database.
 * @param {string} title
 * @param {Shape} shape
 * @param {Record<string, string>} units
 */
export function backlog (title, shape, units) {
  return runs(title, shape, units, CONTENDERS.slice(0, 2), async ({ name, server }, ...args) => {
    if (name === SUBJECT) await server('call', 'accumulate', ...args)
    return 'drain'
  })
}

/**
 * Measures runs of a function of the contenders, whose name `prepare` returns.
 * @param {string} title
 * @param {Shape} shape
 * @param {Record<string, string>} units
 * @param {string[]} contenders
 * @param {(target: Target, ...args: [count: number, chats: number, bytes: number]) => Promise<string>} prepare
 */
function runs (title, { count, chats, bytes }, units, contenders, prepare) {
  return together({
    title,
    units,
    subject: SUBJECT,
    more: Object.keys(units).filter((name) => name.endsWith('-rate')),
    missing,
    measure: (context) => onStage(contenders, context, async (target, servers, scale) => {
      const few = Math.max(chats, Math.round(count * scale))
      const name = await prepare(target, few, chats, bytes)
      return await metered(target, servers, few, () => target.server('call', name, few, chats, bytes))
    })
  })
}

/**
 * Measures the time from the beginning of a transaction to a client, at a rate that leaves all idle in between.
 * @param {string} title
 * @param {{ perSecond: number, seconds: number, chats: number, limit: number }} shape
 * @param {Record<string, string>} units
 */
export function rowLatency (title, { perSecond, seconds, chats, limit }, units) {
  const [median = ''] = Object.keys(units)
  return together({
    title,
    units,
    subject: SUBJECT,
    limits: { [median]: { [SUBJECT]: limit } },
    missing,
    measure: (context) => onStage(CONTENDERS, context, async ({ client, publish }, _servers, scale) => {
      const ticks = Math.max(chats, Math.round(perSecond * seconds * scale))
      await client('watch')
      await publish({ ticks, chats, perTick: 1, everyMs: 1000 / perSecond })
      await client('expect', ticks)
      return await client('latencies')
    }, chats)
  })
}

/**
 * Measures the memory that Redis takes for the key of a row, once it keeps as many events as it may.
 * @param {string} title
 * @param {Shape} shape
 * @returns {import('../run.js').Scenario}
 */
export function keyMemory (title, { count, chats, bytes }) {
  return {
    title,
    unit: 'bytes of Redis per row',
    subject: SUBJECT,
    targets: {},
    missing,
    async run (context) {
      const values = await onStage(CONTENDERS.slice(0, 1), context, async ({ server }, { redis }, scale) => {
        const few = Math.max(chats * 2, Math.round(count * scale))
        const before = (await redis.statistics()).memory
        await server('call', 'run', few, chats, bytes)
        return { memory: ((await redis.statistics()).memory - before) / few }
      }, 0, { history: { size: 10 } })
      return Object.fromEntries(Object.entries(values).map(([name, rounds]) => [name, pick(rounds, 'memory')]))
    }
  }
}

/**
 * Measures each contender in each round.
 * @param {string[]} contenders
 * @param {import('../run.js').Context} context
 * @param {(target: Target, servers: Servers, scale: number) => Promise<Measured>} measure
 * @param {number} [streams] The number of chats, each of which has a client.
 * @param {object} [options] Options of the contenders.
 */
async function onStage (contenders, context, measure, streams = 0, options = {}) {
  const servers = { database: await startPostgres(), redis: await startRedis() }
  const { database, redis } = servers
  await database.pool.query('CREATE TABLE messages (id bigserial PRIMARY KEY, chat text, text text)')
  const field = await Promise.all(contenders.map((name, index) =>
    // Each has chats of its own.
    startTarget(name, { databaseUrl: database.url, redisUrl: `${redis.url}/${index}`, ...options })))
  try {
    for (const { open } of field) await open({ chats: streams })
    return await takeTurns(field, context, async (target) => {
      const result = await measure(target, servers, context.scale)
      const figures = Object.entries(result).map(([kind, value]) => `${kind} ${value.toFixed(2)}`)
      context.note(`${target.name}: ${figures.join(', ')}`)
      return result
    })
  } finally {
    await Promise.all(field.map((target) => target.stop()))
    await Promise.all([database.stop(), redis.stop()])
  }
}

/**
 * Returns the rate of a run of `count` rows, and the CPU time in µs that each took.
 * @param {Target} target
 * @param {Servers} servers
 * @param {number} count
 * @param {() => Promise<number>} run Resolves with the seconds that it took.
 * @returns {Promise<Measured>}
 */
async function metered ({ begin, end }, { database, redis }, count, run) {
  await begin()
  const [databaseCpu, redisCpu] = [database.cpu(), (await redis.statistics()).cpu]
  const seconds = await run()
  return {
    rate: count / seconds,
    node: await end() / count,
    database: (database.cpu() - databaseCpu) / count,
    redis: ((await redis.statistics()).cpu - redisCpu) / count
  }
}
