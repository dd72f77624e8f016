// Creates the empty database that the tests of the example app copy, and prints its path. That takes seconds, so it is
// kept for later runs.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const modules = fileURLToPath(new URL('../../node_modules/', import.meta.url))
const { version } = JSON.parse(readFileSync(`${modules}@electric-sql/pglite/package.json`, 'utf8'))
const cache = `${modules}.cache/example-app/`
const prepared = `${cache}pglite-${version}`

if (!existsSync(prepared)) {
  const { openPGlite } = await import('../../example-app/database/embedded.js')
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(`${cache}new-`)
  await (await openPGlite(folder)).close()
  try {
    renameSync(folder, prepared)
  } catch {
    // Another process was faster.
    rmSync(folder, { recursive: true })
  }
}
console.log(prepared)
