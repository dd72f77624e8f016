import type { Test } from 'tap'
import pg from 'pg'
import { createOutbox, type Listen, type Outbox, type OutboxOptions } from '../../../lib/outbox/index.ts'
import type { KeptLog } from '../../support/log.ts'
import { openPool, PostgresServer, queryOf } from '../../support/postgres.ts'
import { until } from '../../support/until.ts'

/** Listens on a connection of its own. */
export const listenAt = (t: Test, url: string): Listen => async (channel, onNotify) => {
  const client = new pg.Client(url)
  client.on('error', () => {})
  await client.connect()
  client.on('notification', onNotify)
  await client.query(`LISTEN "${channel}"`)
  const end = (): Promise<void> => client.end()
  t.teardown(end)
  return end
}

export interface PostgresOutbox { server: PostgresServer, pool: pg.Pool, outbox: Outbox<'postgres'> }

/** An outbox in a PostgreSQL of its own, with notifications. */
export async function startOutbox (t: Test, options: Partial<OutboxOptions> = {}): Promise<PostgresOutbox> {
  const server = await PostgresServer.start(t)
  const pool = openPool(t, server.url)
  const outbox = createOutbox({
    query: queryOf(pool), listen: listenAt(t, server.url), ...options, dialect: 'postgres'
  })
  await outbox.migrate()
  return { server, pool, outbox }
}

/** Runs statements in one transaction, which is rolled back if `run` throws. */
export async function transaction (pool: pg.Pool, run: (client: pg.PoolClient) => Promise<unknown>): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    await run(client)
    await client.query('COMMIT')
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  } finally {
    client.release()
  }
}

/** Resolves once a message was logged. Relays keep no process alive, so something else must do that meanwhile. */
export async function logged ({ lines }: KeptLog, message: string): Promise<void> {
  await until(async () => lines.map(({ msg }) => msg), (messages) => messages.includes(message))
}
