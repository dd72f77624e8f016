import type { Dialect } from './dialect.ts'

/**
 * The SQL of SQLite 3.35 and later. It has one writer at a time, so ids are in the order of the commits. All processes
 * are on one machine and share its clock.
 */
export function sqlite (table: string, lease: string): Dialect {
  const now = (): number => Date.now()
  // An index is named with the schema, and its table without.
  const index = (suffix: string): string => `${table.replace(/"$/, `_${suffix}"`)} ON ${table.replace(/^.*\./, '')}`
  return {
    isSynchronous: true,
    migration: [
      [`CREATE TABLE IF NOT EXISTS ${table} (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        chat TEXT NOT NULL,
        event TEXT NOT NULL,
        key TEXT NOT NULL,
        added INTEGER NOT NULL,
        error TEXT
      )`, []],
      // A row that was set aside does not keep the app from adding its key again.
      [`CREATE UNIQUE INDEX IF NOT EXISTS ${index('key')} (chat, key) WHERE error IS NULL`, []],
      [`CREATE INDEX IF NOT EXISTS ${index('aside')} (id) WHERE error IS NOT NULL`, []],
      [`CREATE TABLE IF NOT EXISTS ${lease} (name TEXT PRIMARY KEY, owner TEXT NOT NULL, ends INTEGER NOT NULL)`, []],
      [`INSERT INTO ${lease} VALUES ('relay', '', 0) ON CONFLICT DO NOTHING`, []]
    ],
    add: (chatId, event, key) => [
      `INSERT INTO ${table} (chat, event, key, added) VALUES (?, ?, ?, ?)
       ON CONFLICT (chat, key) WHERE error IS NULL DO NOTHING`,
      [chatId, event, key, now()]
    ],
    claim: (owner, ms) => [
      `UPDATE ${lease} SET owner = ?, ends = ? WHERE owner = ? OR ends <= ? RETURNING name`,
      [owner, now() + ms, owner, now()]
    ],
    release: (owner) => [`UPDATE ${lease} SET ends = 0 WHERE owner = ?`, [owner]],
    waiting: (limit, bytes, except) => [
      `SELECT CAST(id AS TEXT) AS id, chat, event, key FROM (
         SELECT *, sum(bytes) OVER (ORDER BY id) - bytes AS before FROM (
           SELECT id, chat, event, key, length(CAST(event AS BLOB)) AS bytes FROM ${table}
           WHERE error IS NULL AND chat NOT IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?
         )
       ) WHERE before < ? ORDER BY CAST(id AS INTEGER)`,
      [JSON.stringify(except), limit, bytes]
    ],
    remove: (ids) => [
      `DELETE FROM ${table} WHERE id IN (SELECT CAST(value AS INTEGER) FROM json_each(?))`, [JSON.stringify(ids)]
    ],
    setAside: (id, error) => [`UPDATE ${table} SET error = ? WHERE id = CAST(? AS INTEGER)`, [error, id]],
    stats: (most) => [
      `SELECT
         (SELECT count(*) FROM (SELECT 1 FROM ${table} WHERE error IS NULL LIMIT ?)) AS waiting,
         (SELECT count(*) FROM (SELECT 1 FROM ${table} WHERE error IS NOT NULL LIMIT ?)) AS aside,
         (SELECT (? - added) / 1000.0 FROM ${table} WHERE error IS NULL ORDER BY id LIMIT 1) AS age`,
      [most, most, now()]
    ]
  }
}
