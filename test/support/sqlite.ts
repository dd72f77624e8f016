import { DatabaseSync } from '@photostructure/sqlite'
import type { Test } from 'tap'

/** A real SQLite, which ends with the test: in memory, or in a file. `query` is what an outbox takes. */
export function openSqlite (t: Test, file = ':memory:'): { query: (sql: string, params?: unknown[]) => object[] } {
  const database = new DatabaseSync(file)
  t.teardown(() => database.close())
  return { query: (sql, params = []) => database.prepare(sql).all(...params) }
}
