import t from 'tap'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { plainNode } from '../support/plain-node.ts'
import { Document, writeSnippet } from '../support/snippets.ts'

const guide = await Document.read('docs/testing.md')

t.test('the tests of the guide pass', async (t) => {
  for (const heading of ['With node:test', 'With tap, and the client']) {
    const [code] = guide.snippets(heading)
    const folder = await writeSnippet(t, code, 'snippet.js')
    const { stdout } = await promisify(execFile)(...plainNode(`${folder}/snippet.js`), {
      env: { ...process.env, REDIS_URL: undefined, NODE_TEST_CONTEXT: undefined, TAP: '1' }
    })
    t.match(stdout, /^(# pass 1|ok 1 - the client shows a new message|✔ a posted message)/m, heading)
  }
})
