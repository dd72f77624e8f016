// @ts-check
import { existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { lockDirectory } from './lock.js'

/**
 * Opens PGlite: PostgreSQL in this process.
 *
 * @param {string} dataDir
 * @returns {Promise<import('./open.js').Database>}
 */
export async function openEmbedded (dataDir) {
  const { pglite, close } = await openPGlite(dataDir)
  return {
    query: async (sql, params) => (await pglite.query(sql, params)).rows,
    transaction: (work) => pglite.transaction((transaction) => work(async (sql, params) => {
      return (await transaction.query(sql, params)).rows
    })),
    listen: (channel, onNotify) => pglite.listen(channel, onNotify),
    close
  }
}

/**
 * Throws if another process uses the directory: PGlite itself does not notice that, and the database would be damaged.
 *
 * @param {string} dataDir
 */
export async function openPGlite (dataDir) {
  const unlock = lockDirectory(dataDir)
  try {
    const pglite = await PGlite.create(await databaseIn(dataDir))
    return { pglite, close: () => pglite.close().finally(unlock) }
  } catch (error) {
    unlock()
    throw error
  }
}

/** The folder of the database, which is created if there is none. @param {string} dataDir */
async function databaseIn (dataDir) {
  const folder = join(dataDir, 'database')
  if (existsSync(folder)) return folder
  // It takes seconds. If the process is killed meanwhile, an incomplete folder must not be taken for a database.
  const incomplete = join(dataDir, 'incomplete')
  rmSync(incomplete, { recursive: true, force: true })
  await (await PGlite.create(incomplete)).close()
  renameSync(incomplete, folder)
  return folder
}
