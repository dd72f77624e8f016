/**
 * What the processes of this test share: an app that keeps items in SQLite, and publishes each of them through an
 * outbox. DATABASE_FILE is its database.
 */
import { DatabaseSync } from '@photostructure/sqlite'
import { createOutbox } from 'fastify-realtime/outbox'

const { DATABASE_FILE, LEASE_MS } = process.env

process.on('unhandledRejection', (error) => { console.error(error); process.exit(70) })

export const database = new DatabaseSync(DATABASE_FILE)
// Other processes write as well, one at a time.
database.exec('PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF')

export const query = (sql, params) => database.prepare(sql).all(...params)

export const outboxOf = (query) =>
  createOutbox({ dialect: 'sqlite', query, leaseMs: Number(LEASE_MS), pollMs: 20 })
