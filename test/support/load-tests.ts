import t from 'tap'
import { readdirSync } from 'node:fs'

/**
 * Runs all test files of a folder of `test` in this process, for folders whose files take less time than the start of a
 * process. Tests begin when all files are loaded, in the order of their names.
 */
export function loadTests (folder: string): void {
  const root = new URL(`../${folder}/`, import.meta.url)
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.test.ts'))
  t.test('all test files of the folder load', async () => {
    for (const file of files.sort()) {
      t.comment(file)
      await import(new URL(file, root).href)
    }
    // After those of the files, which are meant for one file each. Each wait of a test has a limit of its own.
    t.setTimeout(600_000)
  })
}
