import t from 'tap'
import { readdirSync } from 'node:fs'

/** All unit tests in one process. They start nothing, so a process of its own would take each longer than its tests. */
const files = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts'))
  .sort()

// Tests begin when this one has ended, so none runs while modules are loaded.
t.test('every file of unit tests loads', async () => {
  for (const file of files) {
    t.comment(file)
    await import(`./${file}`)
  }
})
