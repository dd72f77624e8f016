// @ts-check

/**
 * @typedef {Record<string, unknown>} Row
 * @typedef {(sql: string, params?: unknown[]) => Promise<Row[]>} Query
 *
 * @typedef {object} Database A PostgreSQL.
 * @property {Query} query
 * @property {<T>(work: (query: Query) => Promise<T>) => Promise<T>} transaction Commits once `work` has resolved, and
 * rolls back if it rejects.
 * @property {import('fastify-realtime/outbox').Listen} listen
 * @property {() => Promise<void>} close
 *
 * @typedef {object} DatabaseOptions
 * @property {string} [url] A PostgreSQL server. Without it, the database runs in this process.
 * @property {string} dataDir Where the database of this process is stored.
 */

/** Loads only the code of the database that is used. @param {DatabaseOptions} options @returns {Promise<Database>} */
export async function openDatabase ({ url, dataDir }) {
  if (url !== undefined) return (await import('./server.js')).connect(url)
  return (await import('./embedded.js')).openEmbedded(dataDir)
}
