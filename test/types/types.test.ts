import t from 'tap'
import { execFile } from 'node:child_process'
import { createRequire } from 'node:module'
import { plainNode } from '../support/plain-node.ts'

const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')

t.test('the published types check the event types of an app', { timeout: 120_000 }, (t) => {
  const cwd = new URL('../..', import.meta.url)
  execFile(...plainNode(tsc, '--noEmit', '-p', 'test/types'), { cwd }, (error, stdout) => {
    t.equal(stdout, '')
    t.equal(error, null)
    t.end()
  })
})
