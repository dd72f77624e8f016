/**
 * What the processes of this test share: an app that keeps items in PostgreSQL, and publishes each change through an
 * outbox. DATABASE_URL is its database, REDIS_SENTINEL has the options of ioredis as JSON.
 */
import { Redis } from 'ioredis'
import pg from 'pg'
import { createOutbox } from 'fastify-realtime/outbox'

const { DATABASE_URL, REDIS_SENTINEL, LEASE_MS } = process.env

process.on('unhandledRejection', (error) => { console.error(error); process.exit(70) })

export const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 4 })
pool.on('error', () => {})
// Also while a transaction has it.
pool.on('connect', (client) => client.on('error', () => {}))

export const queryOf = (client) => async (sql, params) => (await client.query(sql, params)).rows

export const outbox = createOutbox({
  dialect: 'postgres', query: queryOf(pool), listen, leaseMs: Number(LEASE_MS), queryTimeoutMs: 5_000
})

export function openRedis () {
  const redis = new Redis({ ...JSON.parse(REDIS_SENTINEL), failoverDetector: true, disconnectTimeout: 100 })
  redis.on('error', () => {})
  return redis
}

/** Listens on a connection of its own, and again if it breaks. */
async function listen (channel, onNotify) {
  let client
  let isStopped = false
  const connect = async () => {
    client = new pg.Client(DATABASE_URL)
    client.on('error', () => {})
    client.on('notification', onNotify)
    client.on('end', () => { if (!isStopped) setTimeout(() => connect().catch(() => {}), 200) })
    await client.connect()
    await client.query(`LISTEN "${channel}"`)
    onNotify()
  }
  await connect()
  return async () => {
    isStopped = true
    await client.end()
  }
}
