import type { Test } from 'tap'
import sqlite from 'node-sqlite3-wasm'

/** A real SQLite in memory, which ends with the test. `query` is what an outbox takes. */
export function openSqlite (t: Test): { query: (sql: string, params?: unknown[]) => object[] } {
  const database = new sqlite.Database(':memory:')
  t.teardown(() => database.close())
  // The parameters are texts and numbers.
  return { query: (sql, params = []) => database.all(sql, params as string[]) }
}
