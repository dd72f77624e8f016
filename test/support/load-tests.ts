import t from 'tap'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Runs all test files of a folder in this process, for folders whose files take less time than the start of a process.
 * Tests begin when all files are loaded, in the order of their names.
 */
export function loadTests (folder: string): void {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.test.ts'))
  t.test('all test files of the folder load', async () => {
    for (const file of files.sort()) {
      t.comment(file)
      await import(join(folder, file))
    }
    // After those of the files, which are meant for one file each. Each wait of a test has a limit of its own.
    t.setTimeout(600_000)
  })
}
