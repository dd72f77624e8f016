// @ts-check
import pg from 'pg'

/** Several instances share a server, which has a limit of connections. */
const MOST_CONNECTIONS = 5

/** Connects to a PostgreSQL server. @param {string} connectionString @returns {import('./open.js').Database} */
export function connect (connectionString) {
  const pool = new pg.Pool({ connectionString, max: MOST_CONNECTIONS })
  // An idle connection broke. The next query opens another one.
  pool.on('error', () => {})
  // One broke in a transaction, between two statements: the next one fails.
  pool.on('connect', (client) => client.on('error', () => {}))
  return {
    query: async (sql, params) => (await pool.query(sql, params)).rows,
    transaction: (work) => transaction(pool, work),
    listen: listenTo(connectionString),
    close: () => pool.end()
  }
}

/** @template T @param {pg.Pool} pool @param {(query: import('./open.js').Query) => Promise<T>} work */
async function transaction (pool, work) {
  const client = await pool.connect()
  let failed = true
  try {
    await client.query('BEGIN')
    const result = await work(async (sql, params) => (await client.query(sql, params)).rows)
    await client.query('COMMIT')
    failed = false
    return result
  } finally {
    // A connection that is closed in a transaction rolls it back.
    client.release(failed)
  }
}

/** If the connection breaks, the outbox polls until this succeeds again. @param {string} connectionString */
function listenTo (connectionString) {
  /** @type {import('fastify-realtime/outbox').Listen} */
  return async (channel, onNotify, onLost) => {
    const client = new pg.Client({ connectionString })
    client.on('error', onLost).on('end', onLost).on('notification', onNotify)
    const stop = () => client.end()
    try {
      await client.connect()
      await client.query(`LISTEN "${channel}"`)
    } catch (error) {
      // The outbox tries again, with another connection.
      stop()
      throw error
    }
    return stop
  }
}
