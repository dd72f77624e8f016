import t from 'tap'
import { execFile } from 'node:child_process'
import { createRequire } from 'node:module'
import { plainNode } from '../support/plain-node.ts'

const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')

t.test('an app gets its own event types checked, by the types that are shipped', { timeout: 120_000 }, (t) => {
  execFile(...plainNode(tsc, '--noEmit', '-p', 'test/types'), { cwd: new URL('../..', import.meta.url) }, (error, stdout) => {
    t.equal(stdout, '')
    t.equal(error, null)
    t.end()
  })
})
