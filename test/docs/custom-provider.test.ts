import t from 'tap'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { EventStream } from '../support/event-stream.ts'
import { Document, serveSnippet, writeSnippet } from '../support/snippets.ts'
import { plainNode } from '../support/plain-node.ts'

const guide = await Document.read('docs/custom-provider.md')
const [provider, app] = guide.snippets('An example')
const [contract] = guide.snippets('Its tests')

t.test('the example keeps the contract, in the test runner of Node', async (t) => {
  const folder = await writeSnippet(t, contract, 'contract.test.js', { 'threads-pubsub.js': provider })
  const { stdout } = await promisify(execFile)(...plainNode('--test-reporter=tap', `${folder}/contract.test.js`))
  t.match(stdout, /^# pass (2[5-9]|[3-9]\d)$/m)
  t.match(stdout, /^# fail 0$/m)
})

t.test('an app runs on it, without ids', async (t) => {
  const url = await serveSnippet(t, app, { files: { 'threads-pubsub.js': provider } })
  t.match(await (await fetch(`${url}/api/health/pubsub`)).json(), { provider: 'threads', healthy: true })
  const stream = await EventStream.open(t, `${url}/api/chats/general/events`)
  t.match(await stream.next(), { event: 'ready', id: undefined })
})
