/** Removes the types of all files once before `npm test`, so that no test process has to load the compiler. */
import { readFileSync, readdirSync } from 'node:fs'
import { withoutTypes } from './without-types.js'

for (const dir of ['lib', 'test']) {
  for (const file of readdirSync(dir, { recursive: true })) {
    if (file.endsWith('.ts')) await withoutTypes(readFileSync(`${dir}/${file}`, 'utf8'))
  }
}
