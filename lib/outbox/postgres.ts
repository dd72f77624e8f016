import type { Dialect } from './dialect.ts'

/** The SQL of PostgreSQL 12 and later. `table` is quoted; `channel` is notified when a row is committed. */
export function postgres (table: string, lease: string, channel: string | undefined): Dialect {
  // One lock for each chat, held until the end of the transaction. So ids, which are drawn under the lock, are in the
  // order of the commits. Other tables of the same database have other locks.
  const lock = `pg_advisory_xact_lock(hashtextextended(${literal(`${table} `)} || $1::text, 0))`
  // As a text, since some clients can't read the type `void`.
  const notify = channel === undefined ? '' : `pg_notify(${literal(channel)}, '')::text AS notified`
  const insert = `INSERT INTO ${table} (chat, event, key) SELECT $1::text, $2::text, $3::text FROM locked
    ON CONFLICT (chat, key) WHERE error IS NULL DO NOTHING`
  const index = (suffix: string): string => indexOf(table, suffix)
  return {
    isSynchronous: false,
    migration: [[`DO $do$ BEGIN
      PERFORM pg_advisory_xact_lock(hashtextextended(${literal(`${table} migration`)}, 0));
      CREATE TABLE IF NOT EXISTS ${table} (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        chat text NOT NULL,
        event text NOT NULL,
        key text NOT NULL,
        added timestamptz NOT NULL DEFAULT clock_timestamp(),
        error text
      );
      -- A row that was set aside does not keep the app from adding its key again.
      CREATE UNIQUE INDEX IF NOT EXISTS ${index('key')} ON ${table} (chat, key) WHERE error IS NULL;
      CREATE INDEX IF NOT EXISTS ${index('aside')} ON ${table} (id) WHERE error IS NOT NULL;
      CREATE TABLE IF NOT EXISTS ${lease} (
        name text PRIMARY KEY, owner text NOT NULL, ends timestamptz NOT NULL
      );
      INSERT INTO ${lease} VALUES ('relay', '', clock_timestamp()) ON CONFLICT DO NOTHING;
    END $do$`, []]],
    add: (chatId, event, key) => [
      `WITH locked AS MATERIALIZED (SELECT ${lock})
       ${notify === '' ? insert : `, added AS (${insert}) SELECT ${notify}`}`,
      [chatId, event, key]
    ],
    claim: (owner, ms) => [
      `UPDATE ${lease} SET owner = $1::text, ends = clock_timestamp() + $2::int * interval '1 millisecond'
       WHERE name = (
         SELECT name FROM ${lease} WHERE owner = $1::text OR ends <= clock_timestamp() FOR UPDATE SKIP LOCKED
       ) RETURNING name`,
      [owner, ms]
    ],
    release: (owner) => [
      `WITH released AS (UPDATE ${lease} SET ends = clock_timestamp() WHERE owner = $1::text RETURNING name)
       SELECT ${notify === '' ? 'name' : notify} FROM released`,
      [owner]
    ],
    waiting: (limit, bytes, except) => [
      `SELECT id::text AS id, chat, event, key FROM (
         SELECT *, sum(octet_length(event)) OVER (ORDER BY id) - octet_length(event) AS before FROM (
           SELECT id, chat, event, key FROM ${table}
           WHERE error IS NULL AND chat NOT IN (SELECT json_array_elements_text($3::text::json))
           ORDER BY id LIMIT $1::int
         ) AS first
       ) AS measured WHERE before < $2::int ORDER BY measured.id`,
      [limit, bytes, JSON.stringify(except)]
    ],
    remove: (ids) => [
      `DELETE FROM ${table} WHERE id IN (SELECT json_array_elements_text($1::text::json)::bigint)`,
      [JSON.stringify(ids)]
    ],
    setAside: (id, error) => [`UPDATE ${table} SET error = $2::text WHERE id = $1::text::bigint`, [id, error]],
    stats: (most) => [
      `SELECT
         (SELECT count(*) FROM (SELECT 1 FROM ${table} WHERE error IS NULL LIMIT $1::int) AS counted)::int AS waiting,
         (SELECT count(*) FROM (SELECT 1 FROM ${table} WHERE error IS NOT NULL LIMIT $1::int) AS counted)::int AS aside,
         (SELECT extract(epoch FROM clock_timestamp() - added) FROM ${table} WHERE error IS NULL ORDER BY id LIMIT 1
         )::float8 AS age`,
      [most]
    ]
  }
}

/** The name of an index. It is in the schema of its table, so its name has none. */
function indexOf (table: string, suffix: string): string {
  return table.replace(/^.*\./, '').replace(/"$/, `_${suffix}"`)
}

/** The name of a table or channel as a string of SQL. It contains no backslash. */
function literal (name: string): string {
  return `'${name.replaceAll("'", "''")}'`
}
